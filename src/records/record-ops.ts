/** What a change of a record writes and removes beside the record itself: one batch, so that its marks never lie. */
import type { StoreOp } from '../ports/store.ts';
import { WIRE_ITEMS_MAX } from '../wire/codec.ts';
import type { KindRules } from './change.ts';
import { dropKey } from './drop-times.ts';
import { entryOps, entryRemoval, type SharedEntry, sharedEntry } from './partner-index.ts';
import { decodeRecord, encodeRecord, FACTS_MAX, type RecordState, type StoreId } from './record.ts';

const NOTHING = new Uint8Array(0);

export function writeOps(
  self: StoreId,
  rules: KindRules,
  change: {
    readonly current: RecordState | undefined;
    readonly next: RecordState | undefined;
    readonly blob: Uint8Array | undefined;
    /** Known to be marked as unfinished on the disk. */
    readonly isMarked: boolean;
  },
): StoreOp[] {
  const { current, next, blob, isMarked } = change;
  if (next === undefined || next === current) return [];
  const { id } = next;
  const dropAt = rules.dropAtMs(next);
  const ops: StoreOp[] = [
    { put: `r/${id}`, value: encodeRecord(next) },
    ...entryOps(sharedEntry(self, next, dropAt)),
  ];
  if (blob !== undefined && blob.length > 0) ops.push({ put: `b/${id}`, value: blob });
  if (!rules.isFinal(next)) {
    // From its first version to its end. One that was found unfinished without its mark gets it with its next change.
    return isMarked ? ops : [...ops, { put: `u/${id}`, value: NOTHING }];
  }
  ops.push({ del: `u/${id}` });
  const dropBefore = current === undefined ? undefined : rules.dropAtMs(current);
  if (dropBefore !== undefined && dropBefore !== dropAt) ops.push({ del: dropKey(dropBefore, id) });
  if (dropAt !== undefined) ops.push({ put: dropKey(dropAt, id), value: NOTHING });
  return ops;
}

export function removalOps(rules: KindRules, record: RecordState): StoreOp[] {
  const { id } = record;
  const dropAt = rules.dropAtMs(record);
  const marks = marksRemoval(id);
  return dropAt === undefined ? marks : [...marks, { del: dropKey(dropAt, id) }];
}

const marksRemoval = (id: string): StoreOp[] => [
  ...['r', 'b', 'u', 's', 'h'].map((mark) => ({ del: `${mark}/${id}` })),
  entryRemoval(id),
];

/** Of a record of which nothing can be read here but what the trees know of it; none if they know nothing. */
export function remainsOps(id: string, entry: SharedEntry | undefined): StoreOp[] {
  if (entry === undefined) return [];
  const { dropAtMs } = entry;
  const isDated = Number.isFinite(dropAtMs);
  return [...marksRemoval(id), ...(isDated ? [{ del: dropKey(dropAtMs, id) }] : [])];
}

/** What stands in the way of a version: each of two copies may be within the limits, and their join not. */
export function tooLarge(next: RecordState | undefined, batch: readonly StoreOp[]) {
  if (next === undefined) return undefined;
  const { id, facts } = next;
  if (facts.length > FACTS_MAX) return `record ${id} would have more than ${FACTS_MAX} facts`;
  return isReadBack(id, batch) ? undefined : `record ${id} would have more items than can be read`;
}

/** An item takes a byte at least. */
function isReadBack(id: string, batch: readonly StoreOp[]): boolean {
  const op = batch.find((item) => 'put' in item && item.put === `r/${id}`);
  if (op === undefined || !('put' in op) || op.value.length <= WIRE_ITEMS_MAX) return true;
  return decodeRecord(op.value) !== undefined;
}
