/**
 * Durable, ordered key-value storage. Two instances exist on a host: `identity/` (key, allow-list, peer book)
 * and `store/` (records).
 *
 * Guarantees:
 * - `append` applies the whole batch or nothing; it resolves only when the batch has been synced to the disk.
 * - Batches become durable in the order of the `append` calls; of two overlapping calls the later is never
 *   durable without the earlier.
 * - While room is scarce a batch is taken or refused by its purpose (room.ts), on the room there is when its turn comes.
 *   One that is refused for that alone takes with it nothing of what waits behind.
 * - `get` and `range` show durable data only: nothing that a crash could take back.
 * - A full disk answers `full`: nothing was written, reads go on, and later appends may succeed. Appends that
 *   were called before that answer and wait behind it answer `full` too, so that none overtakes another.
 *   Any other failure answers `failed`: what was written is unknown, no later append succeeds, and the daemon
 *   must stop acknowledging and exit.
 * - Values are copied both ways: the caller may change what it passed or was given.
 * - Once `close` has been called, reads show nothing and appends answer `closed`, without a throw: timers and rounds
 *   that were under way find a store that is empty, not one that fails. So nobody may be told what they find: a daemon
 *   stops answering others before it closes its stores.
 * Keys are printable ASCII of at most KEY_BYTES_MAX bytes, in byte order. Values are at most VALUE_BYTES_MAX.
 * A batch that breaks this is a broken invariant: `append` throws.
 */
import type { Purpose, Room } from './room.ts';

export const KEY_BYTES_MAX = 400;
/** A task's header, payload and result at their limits, with room. */
export const VALUE_BYTES_MAX = 8 * 1_024 * 1_024;

export type StoreOp =
  | { readonly put: string; readonly value: Uint8Array }
  | { readonly del: string };

export type AppendResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'full' | 'failed' | 'closed'; readonly detail: string };

export interface RangeQuery {
  /** First key, included. */
  readonly from: string;
  /** End key, excluded. */
  readonly to: string;
  /** At most so many entries. */
  readonly limit: number;
  /** From the end of the range backwards. */
  readonly reverse?: boolean;
}

export interface Store {
  get(key: string): Uint8Array | undefined;
  range(query: RangeQuery): { key: string; value: Uint8Array }[];
  /** Without a purpose a batch settles something: it is taken for as long as anything is. */
  append(batch: readonly StoreOp[], purpose?: Purpose): Promise<AppendResult>;
  /** As the last commit found it, or a look some seconds ago. */
  room(): Room;
  /** Bytes in use on the disk, for display. */
  usedBytes(): number;
  /** Waits for the appends that were called before. */
  close(): Promise<void>;
}

/** The end of the range of all keys that start with `prefix` (ASCII: `~` is the last printable character). */
export const prefixEnd = (prefix: string): string => `${prefix}\x7f`;

/** Throws when a batch breaks the rules of keys and values: both twins call it first. */
export function checkBatch(batch: readonly StoreOp[]): void {
  for (const op of batch) {
    const key = 'put' in op ? op.put : op.del;
    if (key.length > KEY_BYTES_MAX || !/^[\x20-\x7e]+$/.test(key)) {
      throw new RangeError(`not a store key: ${JSON.stringify(key.slice(0, KEY_BYTES_MAX))}`);
    }
    if ('put' in op && op.value.length > VALUE_BYTES_MAX) {
      throw new RangeError(`the value of ${key} has ${op.value.length} bytes`);
    }
  }
}
