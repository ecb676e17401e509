/**
 * What the real store needs of LMDB, and no more: one transaction at a time, reads, and what room there is.
 * No `*Sync` call may be made after opening.
 */
import { statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { open, type RootDatabase } from 'lmdb';
import type { Clock } from '../ports/clock.ts';
import { FREE_BYTES_MIN, type Space } from '../ports/room.ts';
import { KEY_BYTES_MAX, type RangeQuery, type StoreOp } from '../ports/store.ts';
import { outcomeOf } from './deadline.ts';
import { type DirectoryLock, textOf } from './directory-lock.ts';

/** How long to wait for lmdb-js to say why a commit failed. */
const CAUSE_DEADLINE_MS = 1_000;
export const FULL_CODES: ReadonlySet<unknown> = new Set([28, 122, -30_792, 'ENOSPC', 'EDQUOT']);

/** What the store needs of LMDB; tests put a failing one in its place. */
export interface Engine {
  /**
   * Applies the operations in one transaction; resolves when it is synced, rejects when it was
   * undone.
   */
  commit(ops: readonly StoreOp[]): Promise<void>;
  get(key: string): Uint8Array | undefined;
  range(query: RangeQuery): { key: string; value: Uint8Array }[];
  usedBytes(): number;
  /** What room there is. */
  space(): Promise<Space>;
  /** Asked when a commit failed for an unclear reason: is there room for so many bytes? */
  hasRoom(bytes: number): Promise<boolean>;
  close(): Promise<void>;
}

/** Why a commit failed, with the system's error number where there is one. */
export class CommitError extends Error {
  readonly code: unknown;

  constructor(message: string, code: unknown) {
    super(message);
    this.code = code;
  }
}

/** LMDB itself. */
export class LmdbEngine implements Engine {
  readonly #db: RootDatabase<Uint8Array, string>;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #lock: DirectoryLock;

  constructor(
    db: RootDatabase<Uint8Array, string>,
    clock: Clock,
    directory: string,
    lock: DirectoryLock,
  ) {
    this.#db = db;
    this.#clock = clock;
    this.#directory = directory;
    this.#lock = lock;
  }

  async commit(ops: readonly StoreOp[]): Promise<void> {
    try {
      // The promises of single operations inside a batch are lmdb-js's shared "resolved" one.
      await this.#db.batch(() => {
        for (const op of ops) {
          if ('put' in op) void this.#db.put(op.put, op.value);
          else void this.#db.remove(op.del);
        }
      });
    } catch (error) {
      throw await causeOf(this.#clock, error);
    }
    this.#db.resetReadTxn();
  }

  get(key: string): Uint8Array | undefined {
    // Asked for by another member, perhaps: lmdb-js throws at a key that is longer than a page holds.
    if (key.length > KEY_BYTES_MAX) return undefined;
    const value = this.#db.getBinary(key);
    return value && copyOf(value);
  }

  range(query: RangeQuery): { key: string; value: Uint8Array }[] {
    const entries: { key: string; value: Uint8Array }[] = [];
    const { from, to, limit } = query;
    // Reversed, lmdb-js starts at the upper bound and includes it, and stops above the lower one.
    const bounds = query.reverse
      ? { start: to, end: from, reverse: true, exclusiveStart: true, inclusiveEnd: true }
      : { start: from, end: to };
    for (const { key, value } of this.#db.getRange({ ...bounds, limit })) {
      entries.push({ key, value: copyOf(value) });
    }
    return entries;
  }

  usedBytes(): number {
    const stats: { pageSize?: number; lastPageNumber?: number } = this.#db.getStats();
    return (stats.pageSize ?? 0) * ((stats.lastPageNumber ?? 0) + 1);
  }

  async space(): Promise<Space> {
    // Before the await: LMDB may be closed behind it.
    const reusableBytes = this.#reusableBytes();
    const { bavail, blocks, bsize } = await statfs(this.#directory);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, reusableBytes };
  }

  /** Pages of the file that hold nothing any more; the last ones freed cannot be used before the next commits. */
  #reusableBytes(): number {
    const stats: TreeStats & { root?: TreeStats; free?: TreeStats } = this.#db.getStats();
    const inUse = 2 + pagesOf(stats.root) + pagesOf(stats.free);
    return Math.max(0, this.usedBytes() - inUse * (stats.pageSize ?? 0));
  }

  /**
   * LMDB reports a write cut short by a full disk as EIO, which a broken disk gives too. So try: a
   * file of that size either fits or says ENOSPC.
   */
  async hasRoom(bytes: number): Promise<boolean> {
    const probePath = join(this.#directory, 'room-probe');
    try {
      if ((await this.space()).freeBytes < FREE_BYTES_MIN + bytes) return false;
      await writeFile(probePath, new Uint8Array(bytes), { flush: true });
      return true;
    } catch (error) {
      return !(error instanceof Error && 'code' in error && FULL_CODES.has(error.code));
    } finally {
      await unlink(probePath).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    await this.#db.close();
    this.#lock.release();
  }
}

/**
 * lmdb-js hands out windows on buffers that it uses again, of which only `length` is true (it is
 * overridden): `new Uint8Array(value)` would copy the whole 16 MiB behind.
 */
const copyOf = (value: Uint8Array): Uint8Array =>
  new Uint8Array(value.buffer, value.byteOffset, value.length).slice();

interface TreeStats {
  readonly pageSize?: number;
  readonly treeBranchPageCount?: number;
  readonly treeLeafPageCount?: number;
  readonly overflowPages?: number;
}

const pagesOf = (tree: TreeStats | undefined): number =>
  (tree?.treeBranchPageCount ?? 0) + (tree?.treeLeafPageCount ?? 0) + (tree?.overflowPages ?? 0);

/** lmdb-js rejects with a shell of an error whose `commitError` promise rejects with the cause. */
export async function causeOf(clock: Clock, error: unknown): Promise<CommitError> {
  const inner = error instanceof Error && 'commitError' in error ? error.commitError : error;
  const outcome = await outcomeOf(clock, CAUSE_DEADLINE_MS, toPromise(inner));
  const cause = outcome.kind === 'error' ? outcome.error : error;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return new CommitError(textOf(cause), code);
}

const toPromise = async (value: unknown): Promise<unknown> => await value;

export function openLmdb(directory: string): RootDatabase<Uint8Array, string> {
  const umask = process.umask(0o077);
  try {
    const options = {
      path: directory,
      noSubdir: false,
      overlappingSync: false,
      separateFlushed: true,
      eventTurnBatching: false,
      // After a crash trust only what was synced, also when the host did not reboot. (Not in lmdb's
      // types.)
      safeRestore: true,
      encoding: 'binary',
      // Strings are stored as their own bytes, so the order is that of the bytes.
      keyEncoding: 'ordered-binary',
      cache: false,
      compression: false,
    } as const;
    return open<Uint8Array, string>(options);
  } finally {
    process.umask(umask);
  }
}

/** A write that tells by its promises whether this LMDB shows data before it is durable; throws if it does. */
export function provesDurable(db: RootDatabase<Uint8Array, string>): Promise<unknown> {
  const probe = db.remove('open-probe');
  // With `separateFlushed`, lmdb-js gives a write one promise for "visible" and "durable" only if
  // they are one.
  if (!('flushed' in probe) || probe.flushed !== probe) {
    throw new Error('lmdb-js would show data before it is durable (overlappingSync is on)');
  }
  return probe;
}
