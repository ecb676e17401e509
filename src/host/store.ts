/**
 * The Store port on LMDB.
 *
 * lmdb-js by default shows data before it is durable and resolves writes before the sync;
 * `overlappingSync: false` changes that, and opening checks that it did. Grouping is done here, not
 * by lmdb-js: one transaction is under way at a time, and what is appended meanwhile makes up the
 * next. So order and the fate of every append are known when a disk fills or fails, and
 * `eventTurnBatching` is off, because its hidden promise rejects unhandled on a failed commit and
 * ends the process.
 */
import { err, ok, type Result } from '../base/result.ts';
import { MIB } from '../base/units.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import {
  FREE_BYTES_MIN,
  type Purpose,
  type Room,
  roomAfter,
  type Space,
  takes,
} from '../ports/room.ts';
import type { StoreOp } from '../ports/store.ts';
import { type AppendResult, checkBatch, type RangeQuery, type Store } from '../ports/store.ts';
import { type Outcome, outcomeOf } from './deadline.ts';
import { lockDataDirectory, type OpenError, syncDirectory, textOf } from './directory-lock.ts';
import {
  CommitError,
  causeOf,
  type Engine,
  FULL_CODES,
  LmdbEngine,
  openLmdb,
  provesDurable,
} from './lmdb-engine.ts';

/**
 * A disk that has not answered for so long has failed: better to exit than to hang with claims
 * open.
 */
export const DISK_DEADLINE_MS = 30_000;
/** One transaction; a larger group would only make everybody in it wait longer. */
const GROUP_BYTES_MAX = 16 * 1_024 * 1_024;
/** Waiting appends; callers wait for their own, so only a stalled disk gets near it. */
const QUEUE_BYTES_MAX = 256 * 1_024 * 1_024;
/** How old what `room` says may be when nothing is written: a daemon that has nothing to do shall do nothing. */
const LOOK_INTERVAL_MS = 2_000;
const LOOK_AMPLE_MS = 5_000;
/**
 * A look at the file system is one thread's turn and back, as long as the rest of a small commit. What was seen is good for
 * this long, as far as the disk cannot have been filled since: so many bytes are taken off for what others write.
 */
const SPACE_TTL_MS = 250;
const FILLED_BYTES_MAX = 1_024 * MIB;
/** What an operation may take beside its value: a leaf is copied, and a share of the branches above it. */
const OP_BYTES = 2 * 4_096;

interface Waiting {
  readonly ops: readonly StoreOp[];
  readonly purpose: Purpose;
  readonly bytes: number;
  /** What a commit of it may take of the disk. */
  readonly needBytes: number;
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
  #room: Room = 'ample';
  /** When it was looked last how much is free, and how much it was. */
  #seen: { readonly space: Space; readonly atMs: number } | undefined;
  #looking: Timer | undefined;

  constructor(engine: Engine, clock: Clock, deadlineMs = DISK_DEADLINE_MS) {
    this.#engine = engine;
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
    this.#lookLater();
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

  room(): Room {
    return this.#room;
  }

  append(batch: readonly StoreOp[], purpose: Purpose = 'settle'): Promise<AppendResult> {
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
    const needBytes = bytes + OP_BYTES * ops.length;
    return new Promise((resolve) => {
      this.#queue.push({ ops, purpose, bytes, needBytes, resolve });
      this.#queueBytes += bytes;
      this.#writing ??= this.#writeAll();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#looking?.cancel();
    await this.#writing;
    // A commit that never ends would make closing wait for ever; the process is about to exit.
    if (this.#failure === undefined) await this.#engine.close();
  }

  /** Others fill and free the disk too, while nothing is written here. */
  #lookLater(): void {
    const delayMs = this.#room === 'ample' ? LOOK_AMPLE_MS : LOOK_INTERVAL_MS;
    this.#looking = this.#clock.after(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    if (this.#writing === undefined) {
      // A disk that does not say how much is free is judged by the next commit.
      const outcome = await this.#bounded(this.#engine.space());
      if (outcome.kind === 'done') this.#room = roomAfter(this.#room, outcome.value);
    }
    if (!this.#closed && this.#failure === undefined) this.#lookLater();
  }

  /** As it was a moment ago, if that is far more than is needed for the next append, too; else as it is. */
  async #spaceNow(): Promise<Outcome<Space>> {
    const seen = this.#seen;
    const ageMs = this.#clock.nowMs() - (seen?.atMs ?? Number.NEGATIVE_INFINITY);
    if (seen !== undefined && this.#room === 'ample' && ageMs < SPACE_TTL_MS) {
      const freeBytes = seen.space.freeBytes - FILLED_BYTES_MAX;
      const space = { ...seen.space, freeBytes };
      const isEnough = freeBytes >= FREE_BYTES_MIN + (this.#queue[0]?.needBytes ?? 0);
      if (isEnough && roomAfter('ample', space) === 'ample') return { kind: 'done', value: space };
    }
    // From before the look: how long it took is part of how old it is.
    const atMs = this.#clock.nowMs();
    const outcome = await this.#bounded(this.#engine.space());
    this.#seen = outcome.kind === 'done' ? { space: outcome.value, atMs } : undefined;
    return outcome;
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.length > 0) {
      // Whatever else this turn of the event loop appends joins the group.
      await new Promise((resolve) => setImmediate(resolve));
      const space = await this.#spaceNow();
      if (space.kind === 'done') await this.#writeGroup(space.value);
      else this.#refuseQueue(await this.#resultOf(space, FREE_BYTES_MIN));
    }
    this.#writing = undefined;
  }

  /** Writes what there is room for of the next appends; refuses by their purpose those for which there is too little. */
  async #writeGroup(space: Space): Promise<void> {
    this.#room = roomAfter(this.#room, space);
    const room = this.#room;
    const group = this.#takeGroup(room, space.freeBytes);
    const taken = group.filter((waiting) => takes(room, waiting.purpose));
    const result = await this.#commit(taken, space.freeBytes);
    for (const waiting of group) {
      const isRefused = result.ok && waiting.ops.length > 0 && !takes(room, waiting.purpose);
      waiting.resolve(isRefused ? full('the disk is nearly full') : result);
    }
    // In this turn: whoever hears of the failure may append again, and that is not behind it any more.
    if (!result.ok) this.#refuseQueue(result);
  }

  #takeGroup(room: Room, freeBytes: number): Waiting[] {
    let bytes = 0;
    let count = 0;
    let needBytes = 0;
    for (const waiting of this.#queue) {
      const isTaken = takes(room, waiting.purpose);
      if (isTaken) bytes += waiting.bytes;
      if (isTaken) needBytes += waiting.needBytes;
      const isTooMuch = bytes > GROUP_BYTES_MAX || needBytes > freeBytes - FREE_BYTES_MIN;
      if (count > 0 && isTooMuch) break;
      count++;
    }
    const group = this.#queue.splice(0, count);
    this.#queueBytes -= group.reduce((sum, waiting) => sum + waiting.bytes, 0);
    return group;
  }

  /** What was appended behind a failed write must not overtake it. */
  #refuseQueue(result: AppendResult): void {
    const refused = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    for (const waiting of refused) waiting.resolve(result);
  }

  /**
   * A full disk is refused before LMDB meets it: for each write that fails, lmdb-js 3.5.6 formats a text into 100
   * bytes that may not hold it (mdb.c, mdb_page_flush), and sooner or later the process dies of its broken heap.
   */
  async #commit(group: readonly Waiting[], freeBytes: number): Promise<AppendResult> {
    const ops = group.flatMap((waiting) => waiting.ops);
    if (this.#room === 'full') return full('the disk is full');
    if (ops.length === 0) return OK;
    const needBytes = group.reduce((sum, waiting) => sum + waiting.needBytes, 0);
    if (freeBytes < FREE_BYTES_MIN + needBytes)
      return full('the disk is full: less is free than a commit may need');
    return this.#resultOf(await this.#bounded(this.#engine.commit(ops)), needBytes);
  }

  #bounded<T>(work: Promise<T>): Promise<Outcome<T>> {
    return outcomeOf(this.#clock, this.#deadlineMs, work);
  }

  async #resultOf(outcome: Outcome<unknown>, bytes: number): Promise<AppendResult> {
    if (outcome.kind === 'done') return OK;
    // What was seen is not so any more: the next commit must not meet a full disk as well.
    this.#seen = undefined;
    if (outcome.kind === 'late') {
      this.#failure = `the disk did not answer within ${this.#deadlineMs} ms`;
      return failed(this.#failure);
    }
    const { error } = outcome;
    const code = error instanceof CommitError ? error.code : undefined;
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

export interface StoreOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly deadlineMs?: number;
  /** Something between this store and LMDB: for tests, a disk with less room or with faults. */
  readonly wrap?: (engine: Engine) => Engine;
}

/** Opens, or creates with mode 0700, the store in a directory that no other live process uses. */
export async function openStore(options: StoreOptions): Promise<Result<Store, OpenError>> {
  const { directory, clock } = options;
  const lock = await lockDataDirectory(directory);
  if (!lock.ok) return lock;
  let db: ReturnType<typeof openLmdb> | undefined;
  try {
    db = openLmdb(directory);
    const probe = provesDurable(db);
    const engine = new LmdbEngine(db, clock, directory, lock.value);
    const outcome = await outcomeOf(clock, options.deadlineMs ?? DISK_DEADLINE_MS, probe);
    if (outcome.kind === 'late') throw new Error('the disk does not answer');
    if (outcome.kind === 'error') throw outcome.error;
    await syncDirectory(directory);
    return ok(new HostStore(options.wrap?.(engine) ?? engine, clock, options.deadlineMs));
  } catch (error) {
    const cause = await causeOf(clock, error);
    // Else this process would get the same broken file again when another one lies there.
    await db?.close().catch(() => undefined);
    lock.value.release();
    return err({ code: 'failed', detail: `cannot open ${directory}: ${cause.message}` });
  }
}
