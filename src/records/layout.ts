/**
 * The layout of `store/` and the way from older ones. All steps from an old layout to this one are one batch, so
 * that a crash leaves the old store or the new one and nothing between; the batch also carries the new number.
 *
 * Do not let a step read the store itself: the second of two steps must see what the first has written, which is
 * on no disk yet.
 */
import { err, ok, type Result } from '../base/result.ts';
import { prefixEnd, type RangeQuery, type StoreOp } from '../ports/store.ts';
import { IDENTITY_KEY, seal } from './checked-store.ts';
import { recordsAsParts } from './layout-3.ts';
import { entriesOf, type Readable } from './pages.ts';

/** From one layout to the next: what to write, given what lies there. */
export type Migration = (store: Readable) => readonly StoreOp[];

export interface Layout {
  /** Of the keys and encodings that this software writes. */
  readonly version: number;
  /** From layout n to n + 1, by n. */
  readonly migrations: Readonly<Record<number, Migration>>;
}

/** Raise the version with every change of a key or an encoding, and add the step from the one before. */
export const LAYOUT: Layout = { version: 3, migrations: { 1: sealAll, 2: recordsAsParts } };

/** Layout 2: every value carries a checksum. All of a store passes through memory here, once. */
function sealAll(store: Readable): StoreOp[] {
  const ops: StoreOp[] = [];
  for (const { key, value } of entriesOf(store, ' ', prefixEnd('')))
    if (key !== IDENTITY_KEY && value.length > 0) ops.push({ put: key, value: seal(key, value) });
  return ops;
}

/** What brings a store of layout `from` to this one; nothing if it is there already. */
export function migrationOps(
  store: Readable,
  from: number,
  layout: Layout,
): Result<StoreOp[], string> {
  if (!Number.isSafeInteger(from)) return err('the layout of the store is unreadable');
  if (from > layout.version) {
    return err(
      `the store was written by a newer Covey (layout ${from}, this one knows ${layout.version}); upgrade this daemon`,
    );
  }
  const batch: StoreOp[] = [];
  for (let version = from; version < layout.version; version++) {
    const migrate = layout.migrations[version];
    if (migrate === undefined) {
      return err(`there is no way from store layout ${version} to ${version + 1}`);
    }
    batch.push(...migrate(withBatch(store, batch)));
  }
  return ok(batch);
}

/** The store as it will be after the batch. */
function withBatch(store: Readable, batch: readonly StoreOp[]): Readable {
  const changed = new Map<string, Uint8Array | undefined>();
  for (const op of batch) {
    if ('put' in op) changed.set(op.put, op.value);
    else changed.set(op.del, undefined);
  }
  const within = (key: string, query: RangeQuery): boolean => key >= query.from && key < query.to;
  return {
    get: (key) => (changed.has(key) ? changed.get(key) : store.get(key)),
    range: (query) => {
      const written = [...changed].filter(([key]) => within(key, query));
      // As many more as the batch may have removed from the answer.
      const lying = store.range({ ...query, limit: query.limit + written.length });
      const entries = new Map(lying.map(({ key, value }) => [key, value]));
      for (const [key, value] of written) {
        if (value === undefined) entries.delete(key);
        else entries.set(key, value);
      }
      const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
      if (query.reverse === true) sorted.reverse();
      return sorted.slice(0, query.limit).map(([key, value]) => ({ key, value }));
    },
  };
}
