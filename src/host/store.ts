/**
 * The Store port on LMDB.
 *
 * lmdb-js by default shows data before it is durable and resolves writes before the sync;
 * `overlappingSync: false` changes that, and opening checks that it did. Grouping is done here, not
 * by lmdb-js: one transaction is under way at a time, and what is appended meanwhile makes up the
 * next. So order and the fate of every append are known when a disk fills or fails, and
 * `eventTurnBatching` is off, because its hidden promise rejects unhandled on a failed commit and
 * ends the process. No `*Sync` call may be made after opening.
 */
import { statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { open, type RootDatabase } from 'lmdb';
import { err, ok, type Result } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import type { StoreOp } from '../ports/store.ts';
import { type AppendResult, checkBatch, type RangeQuery, type Store } from '../ports/store.ts';
import {
  type DirectoryLock,
  lockDataDirectory,
  type OpenError,
  syncDirectory,
  textOf,
} from './directory-lock.ts';

/**
 * A disk that has not answered for so long has failed: better to exit than to hang with claims
 * open.
 */
export const DISK_DEADLINE_MS = 30_000;
/** How long to wait for lmdb-js to say why a commit failed. */
const CAUSE_DEADLINE_MS = 1_000;
/** One transaction; a larger group would only make everybody in it wait longer. */
const GROUP_BYTES_MAX = 16 * 1_024 * 1_024;
/** Waiting appends; callers wait for their own, so only a stalled disk gets near it. */
const QUEUE_BYTES_MAX = 256 * 1_024 * 1_024;
/** A disk with less than this is taken for full: before a commit, and when one fails for no clear reason. */
const FREE_BYTES_MIN = 1_024 * 1_024;
const FULL_CODES: ReadonlySet<unknown> = new Set([28, 122, -30_792, 'ENOSPC', 'EDQUOT']);

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

interface Waiting {
  readonly ops: readonly StoreOp[];
  readonly bytes: number;
  readonly resolve: (result: AppendResult) => void;
}

export class HostStore implements Store {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  #queue: Waiting[] = [];
  #queueBytes = 0;
  #writing: Promise<void> | undefined;
  #failure: string | undefined;
  #closed = false;

  constructor(engine: Engine, clock: Clock, deadlineMs = DISK_DEADLINE_MS) {
    this.#engine = engine;
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
  }

  get(key: string): Uint8Array | undefined {
    return this.#closed ? undefined : this.#engine.get(key);
  }

  range(query: RangeQuery): { key: string; value: Uint8Array }[] {
    const isEmpty = query.from >= query.to || query.limit <= 0;
    return this.#closed || isEmpty ? [] : this.#engine.range(query);
  }

  usedBytes(): number {
    return this.#closed ? 0 : this.#engine.usedBytes();
  }

  append(batch: readonly StoreOp[]): Promise<AppendResult> {
    checkBatch(batch);
    if (this.#closed) return Promise.resolve(CLOSED);
    if (this.#failure !== undefined) return Promise.resolve(failed(this.#failure));
    // LMDB reads the values from another thread, later: they must not change meanwhile.
    const ops = batch.map((op) =>
      'put' in op ? { put: op.put, value: new Uint8Array(op.value) } : op,
    );
    const bytes = bytesOf(ops);
    if (this.#queueBytes > 0 && this.#queueBytes + bytes > QUEUE_BYTES_MAX) {
      return Promise.resolve(full('too much waits to be written'));
    }
    return new Promise((resolve) => {
      this.#queue.push({ ops, bytes, resolve });
      this.#queueBytes += bytes;
      this.#writing ??= this.#writeAll();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    // A commit that never ends would make closing wait for ever; the process is about to exit.
    if (this.#failure === undefined) await this.#engine.close();
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.length > 0) {
      // Whatever else this turn of the event loop appends joins the group.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#takeGroup();
      const ops = group.flatMap((waiting) => waiting.ops);
      const result = ops.length === 0 ? OK : await this.#commit(ops, group);
      for (const waiting of group) waiting.resolve(result);
      if (!result.ok) this.#refuseQueue(result);
    }
    this.#writing = undefined;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      if (count > 0 && bytes + waiting.bytes > GROUP_BYTES_MAX) break;
      bytes += waiting.bytes;
      count++;
    }
    this.#queueBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  /** What was appended behind a failed write must not overtake it. */
  #refuseQueue(result: AppendResult): void {
    const refused = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    for (const waiting of refused) waiting.resolve(result);
  }

  async #commit(ops: readonly StoreOp[], group: readonly Waiting[]): Promise<AppendResult> {
    const outcome = await withDeadline(this.#clock, this.#deadlineMs, this.#engine.commit(ops));
    if (outcome.kind === 'done') return OK;
    if (outcome.kind === 'late') {
      this.#failure = `the disk did not answer within ${this.#deadlineMs} ms`;
      return failed(this.#failure);
    }
    const { error } = outcome;
    const code = error instanceof CommitError ? error.code : undefined;
    const bytes = group.reduce((sum, waiting) => sum + waiting.bytes, 0);
    if (FULL_CODES.has(code) || !(await this.#engine.hasRoom(bytes))) {
      return full(`the disk is full (${textOf(error)})`);
    }
    this.#failure = `writing failed: ${textOf(error)}`;
    return failed(this.#failure);
  }
}

const bytesOf = (ops: readonly StoreOp[]): number =>
  ops.reduce((sum, op) => sum + ('put' in op ? op.value.length + 64 : 64), 0);

const OK: AppendResult = { ok: true };
const CLOSED: AppendResult = { ok: false, code: 'closed', detail: 'the store is closed' };
const full = (detail: string): AppendResult => ({ ok: false, code: 'full', detail });
const failed = (detail: string): AppendResult => ({ ok: false, code: 'failed', detail });

type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'late' }
  | { readonly kind: 'error'; readonly error: unknown };

function withDeadline(clock: Clock, ms: number, work: Promise<unknown>): Promise<Outcome> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve({ kind: 'late' }));
    work.then(
      () => {
        timer.cancel();
        resolve({ kind: 'done' });
      },
      (error: unknown) => {
        timer.cancel();
        resolve({ kind: 'error', error });
      },
    );
  });
}

/** LMDB itself. */
class LmdbEngine implements Engine {
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

  /**
   * A full disk is refused before LMDB meets it: for each write that fails, lmdb-js 3.5.6 formats a text into 100
   * bytes that may not hold it (mdb.c, mdb_page_flush), and sooner or later the process dies of its broken heap.
   */
  async commit(ops: readonly StoreOp[]): Promise<void> {
    const stats = await statfs(this.#directory);
    if (stats.bavail * stats.bsize < FREE_BYTES_MIN + 2 * bytesOf(ops))
      throw new CommitError('less is free than a commit may need', 'ENOSPC');
    try {
      // The promises of single operations inside a batch are lmdb-js's shared "resolved" one.
      await this.#db.batch(() => {
        for (const op of ops) {
          if ('put' in op) void this.#db.put(op.put, op.value);
          else void this.#db.remove(op.del);
        }
      });
    } catch (error) {
      throw await this.#causeOf(error);
    }
    this.#db.resetReadTxn();
  }

  /**
   * lmdb-js rejects with a shell of an error whose `commitError` promise rejects with the cause.
   */
  async #causeOf(error: unknown): Promise<CommitError> {
    const inner = error instanceof Error && 'commitError' in error ? error.commitError : error;
    const outcome = await withDeadline(this.#clock, CAUSE_DEADLINE_MS, toPromise(inner));
    const cause = outcome.kind === 'error' ? outcome.error : error;
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    return new CommitError(textOf(cause), code);
  }

  get(key: string): Uint8Array | undefined {
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

  /**
   * LMDB reports a write cut short by a full disk as EIO, which a broken disk gives too. So try: a
   * file of that size either fits or says ENOSPC.
   */
  async hasRoom(bytes: number): Promise<boolean> {
    const probePath = join(this.#directory, 'room-probe');
    try {
      const stats = await statfs(this.#directory);
      if (stats.bavail * stats.bsize < FREE_BYTES_MIN + bytes) return false;
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

const toPromise = async (value: unknown): Promise<unknown> => await value;

export interface StoreOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

/** Opens, or creates with mode 0700, the store in a directory that no other live process uses. */
export async function openStore(options: StoreOptions): Promise<Result<Store, OpenError>> {
  const { directory, clock } = options;
  const lock = await lockDataDirectory(directory);
  if (!lock.ok) return lock;
  try {
    const db = openLmdb(directory);
    const probe = db.remove('open-probe');
    // With `separateFlushed`, lmdb-js gives a write one promise for "visible" and "durable" only if
    // they are one.
    if (!('flushed' in probe) || probe.flushed !== probe) {
      throw new Error('lmdb-js would show data before it is durable (overlappingSync is on)');
    }
    const engine = new LmdbEngine(db, clock, directory, lock.value);
    const outcome = await withDeadline(clock, options.deadlineMs ?? DISK_DEADLINE_MS, probe);
    if (outcome.kind === 'late') throw new Error('the disk does not answer');
    if (outcome.kind === 'error') throw outcome.error;
    await syncDirectory(directory);
    return ok(new HostStore(engine, clock, options.deadlineMs));
  } catch (error) {
    lock.value.release();
    return err({ code: 'failed', detail: `cannot open ${directory}: ${textOf(error)}` });
  }
}

function openLmdb(directory: string): RootDatabase<Uint8Array, string> {
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
