/**
 * One Merkle tree: sums of content hashes over 64 slots × 256 leaves. A record counts in the leaf of its id; a leaf
 * is the sum of its records modulo 2^64, a slot that of its leaves, the root that of the slots. A sum does not
 * depend on the order of its parts and can be taken back, so a change costs one subtraction and one addition.
 *
 * The slot of a task is the time of its id, its leaf in the slot the random part (docs/decisions/0014): what
 * changes together was mostly made together, so old slots stay as they are, and what was made in one moment does not
 * end up in one leaf.
 */
import { hash64 } from '../base/hash.ts';
import { TASK_ID_LENGTH } from '../base/task-id.ts';

export const SLOTS = 64;
export const LEAVES_OF_SLOT = 256;
export const LEAVES = SLOTS * LEAVES_OF_SLOT;
/** Bytes of a sum on the wire, big endian. */
export const SUM_BYTES = 8;

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const MASK = (1n << 64n) - 1n;

/** A number of `length` characters of an id; negative if one of them is not of the alphabet. */
function digits(id: string, from: number, length: number): number {
  let value = 0;
  for (let i = from; i < from + length; i++) {
    const digit = ALPHABET.indexOf(id.charAt(i));
    if (digit < 0) return -1;
    value = value * 32 + digit;
  }
  return value;
}

/** Part of the protocol: both partners must come to the same leaf. */
export function leafOf(id: string): number {
  if (id.length === TASK_ID_LENGTH) {
    // 195 bits of text for 192 of the id: the first six characters end with bit 21 of the milliseconds.
    const time = digits(id, 0, 6);
    const random = digits(id, TASK_ID_LENGTH - 2, 2);
    if (time >= 0 && random >= 0)
      return ((time >> 1) % SLOTS) * LEAVES_OF_SLOT + (random % LEAVES_OF_SLOT);
  }
  return Number(hash64(id) >> 50n);
}

export class MerkleTree {
  /** Rows of leaves, made when something first falls into the slot: most partners share a few hours of tasks. */
  readonly #rows = new Map<number, BigUint64Array>();
  readonly #slots = new BigUint64Array(SLOTS);
  #root = 0n;

  get root(): bigint {
    return this.#root;
  }

  /** For display: what the sums take in memory. */
  get bytes(): number {
    return (SLOTS + this.#rows.size * LEAVES_OF_SLOT) * SUM_BYTES;
  }

  add(leaf: number, hash: bigint): void {
    const slot = Math.floor(leaf / LEAVES_OF_SLOT);
    let row = this.#rows.get(slot);
    if (row === undefined) {
      row = new BigUint64Array(LEAVES_OF_SLOT);
      this.#rows.set(slot, row);
    }
    // The arrays wrap by themselves.
    row[leaf % LEAVES_OF_SLOT] = (row[leaf % LEAVES_OF_SLOT] ?? 0n) + hash;
    this.#slots[slot] = (this.#slots[slot] ?? 0n) + hash;
    this.#root = (this.#root + hash) & MASK;
  }

  subtract(leaf: number, hash: bigint): void {
    this.add(leaf, -hash & MASK);
  }

  slotSums(): Uint8Array {
    return bytesOf(this.#slots);
  }

  leafSums(slot: number): Uint8Array {
    return bytesOf(this.#rows.get(slot) ?? new BigUint64Array(LEAVES_OF_SLOT));
  }
}

function bytesOf(sums: BigUint64Array): Uint8Array {
  const bytes = new Uint8Array(sums.length * SUM_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [i, sum] of sums.entries()) view.setBigUint64(i * SUM_BYTES, sum);
  return bytes;
}

export const sumBytes = (sum: bigint): Uint8Array => bytesOf(BigUint64Array.of(sum));

/** Places at which two lists of sums differ; undefined if they are not of one length. */
export function differingSums(a: Uint8Array, b: Uint8Array): number[] | undefined {
  if (a.length !== b.length || a.length % SUM_BYTES !== 0) return undefined;
  const places: number[] = [];
  for (let at = 0; at < a.length; at += SUM_BYTES) {
    for (let i = at; i < at + SUM_BYTES; i++) {
      if (a[i] === b[i]) continue;
      places.push(at / SUM_BYTES);
      break;
    }
  }
  return places;
}
