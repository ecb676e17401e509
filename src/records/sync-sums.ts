/** The sums of a tree as they travel between partners: read with care, compared place by place. */
import type { WireValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import {
  differingSums,
  LEAVES_OF_SLOT,
  type MerkleTree,
  SLOTS,
  SUM_BYTES,
  sumBytes,
} from './merkle-tree.ts';

/** A wall time; undefined when it is none. */
export const readCut = (value: WireValue | undefined): number | undefined =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;

/** Whether these are the bytes of the sum. */
export const isBytes = (value: WireValue | undefined, sum: bigint): boolean =>
  value instanceof Uint8Array && differingSums(value, sumBytes(sum))?.length === 0;

/** Whole numbers below the limit, each once. */
export function numberList(value: WireValue | undefined, below: number): number[] {
  const list = Array.isArray(value) ? (value as WireValue[]) : [];
  const isPlace = (item: WireValue): item is number =>
    Number.isSafeInteger(item) && Number(item) >= 0 && Number(item) < below;
  return [...new Set(list.filter(isPlace))];
}

/** The sums of all leaves of these slots, one row after the other. */
export function leavesOf(tree: MerkleTree, slots: readonly number[]): Uint8Array {
  const row = LEAVES_OF_SLOT * SUM_BYTES;
  const bytes = new Uint8Array(slots.length * row);
  for (const [i, slot] of slots.entries()) bytes.set(tree.leafSums(slot), i * row);
  return bytes;
}

/** Slots that differ; undefined if the body is malformed. */
export function answerSlots(tree: MerkleTree, body: WireMap): number[] | undefined {
  return body.sums instanceof Uint8Array ? differingSums(body.sums, tree.slotSums()) : undefined;
}

/** Places in the rows of the slots asked about that differ; undefined if the body is malformed. */
export function answerLeaves(tree: MerkleTree, body: WireMap): number[] | undefined {
  const slots = numberList(body.slots, SLOTS);
  if (!(body.sums instanceof Uint8Array)) return undefined;
  return differingSums(body.sums, leavesOf(tree, slots));
}
