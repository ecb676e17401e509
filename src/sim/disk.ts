/**
 * A simulated disk: the Store port for one incarnation of a peer after another.
 *
 * What was appended becomes durable, group by group and in order, when its simulated sync ends, as
 * in the real store. A crash forgets the rest; the one group whose sync was under way is *either*
 * kept or lost, by a draw when the disk is opened again: a write that nobody acknowledged may well
 * be there after a restart.
 */
import { type Random, randomBelow, randomFloat } from '../base/random.ts';
import type { Clock } from '../ports/clock.ts';
import { type Purpose, type Room, roomAfter, type Space, takes } from '../ports/room.ts';
import type { StoreOp } from '../ports/store.ts';
import { type AppendResult, checkBatch, type RangeQuery, type Store } from '../ports/store.ts';
import type { Trace } from './clock.ts';
import { copyOf } from './copy-of.ts';
import { SortedMap } from './sorted-map.ts';

/** As in the real store: a disk that takes longer has failed. */
const DISK_DEADLINE_MS = 30_000;

export interface SimDiskOptions {
  /** The world's clock, not a peer's: the disk outlives its peers. */
  readonly clock: Clock;
  readonly random: Random;
  readonly trace?: Trace;
  readonly syncMsMin?: number;
  readonly syncMsMax?: number;
}

export const AMPLE: Space = { freeBytes: 1e12, totalBytes: 1e12, reusableBytes: 0 };

/** All that a disk holds, for a restart with old data. */
export type DiskImage = readonly (readonly [string, Uint8Array])[];

export class SimDisk {
  readonly #options: SimDiskOptions;
  #durable = new SortedMap<Uint8Array>();
  /** The group whose sync was cut off: there or not, nobody knows before the next start. */
  #limbo: readonly StoreOp[] = [];
  #current: SimStore | undefined;
  /** Appends answer `full`. */
  full = false;
  /** What there is room for follows from it, as on a real disk. */
  space: Space = AMPLE;
  #room: Room = 'ample';
  /** Appends that were refused for want of room. */
  refused = 0;
  /** Something is or was wrong with it. */
  get isTroubled(): boolean {
    return this.room() === 'full' || this.hasFailed;
  }

  room(): Room {
    this.#room = roomAfter(this.#room, this.space);
    return this.full ? 'full' : this.#room;
  }

  /** Called with what is refused although there is some room. */
  onRefused: ((ops: readonly StoreOp[]) => void) | undefined;
  /** Called when a sync starts. */
  onSync: (() => void) | undefined;
  /** The next sync fails: the store is `failed` until it is opened again. */
  failNextSync = false;
  /** A sync of it failed: its daemon has every reason to exit. */
  hasFailed = false;
  /** Added to the duration of every sync that starts. */
  stallMs = 0;

  /** A sync that was struck by a stall goes on, or what waited behind it is not on the disk yet: nobody shows it. */
  get isStalled(): boolean {
    return this.#current?.isStalled === true;
  }

  constructor(options: SimDiskOptions) {
    this.#options = options;
  }

  /** The store for a new incarnation; the one before must have crashed or been closed. */
  openStore(): Store {
    if (this.#current?.isOpen) throw new Error('this disk is in use');
    if (this.#limbo.length > 0 && randomBelow(this.#options.random, 2) === 1) {
      this.#apply(this.#limbo);
    }
    this.#limbo = [];
    this.#current = new SimStore(this, this.#options);
    return this.#current;
  }

  /** The host or the daemon is gone: calls of this incarnation never settle. */
  crash(): void {
    const syncing = this.#current?.crash();
    if (syncing) this.#limbo = syncing;
    this.#current = undefined;
  }

  snapshot(): DiskImage {
    return this.#durable.entries().map(([key, value]) => [key, value.slice()] as const);
  }

  /** Puts other contents in place: an old backup, a copy of another disk, or nothing. */
  restore(image: DiskImage): void {
    if (this.#current?.isOpen) throw new Error('this disk is in use');
    this.#limbo = [];
    this.#durable = new SortedMap();
    for (const [key, value] of image) this.#durable.set(key, value.slice());
  }

  wipe(): void {
    this.restore([]);
  }

  /** Turns one bit of what lies on the disk; answers the key whose value it belongs to, none if nothing lies there. */
  flipBit(random: Random): string | undefined {
    const entries = this.#durable.entries().filter(([, value]) => value.length > 0);
    const entry = entries[randomBelow(random, Math.max(1, entries.length))];
    if (entry === undefined) return undefined;
    const [key, value] = entry;
    const flipped = value.slice();
    const at = randomBelow(random, flipped.length);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << randomBelow(random, 8));
    this.#durable.set(key, flipped);
    return key;
  }

  /**
   * After a crash in a sync: what was under way is there, but for one value, of which the disk has kept the beginning
   * alone. Answers its key; none if nothing was under way.
   */
  tear(random: Random): string | undefined {
    const ops = this.#limbo;
    this.#limbo = [];
    this.#apply(ops);
    const puts = ops.flatMap((op) => ('put' in op && op.value.length > 0 ? [op] : []));
    const torn = puts[randomBelow(random, Math.max(1, puts.length))];
    if (torn === undefined) return undefined;
    const value = torn.value.slice();
    const at = randomBelow(random, value.length);
    // What was there before shows behind the tear; one bit differs in any case.
    value[at] = (value[at] ?? 0) ^ 0xff;
    value.fill(0, at + 1);
    this.#durable.set(torn.put, value);
    return torn.put;
  }

  /** For the store alone. */
  read(): SortedMap<Uint8Array> {
    return this.#durable;
  }

  /** For the store alone: how the sync of this group ends, and what it leaves on the disk. */
  finishSync(ops: readonly StoreOp[], delayMs: number): AppendResult {
    if (this.room() === 'full') {
      this.refused += 1;
      return { ok: false, code: 'full', detail: 'the disk is full' };
    }
    if (this.failNextSync || delayMs >= DISK_DEADLINE_MS) {
      this.failNextSync = false;
      this.hasFailed = true;
      this.#limbo = ops;
      return { ok: false, code: 'failed', detail: 'the disk failed' };
    }
    this.#apply(ops);
    return { ok: true };
  }

  #apply(ops: readonly StoreOp[]): void {
    for (const op of ops) {
      if ('put' in op) this.#durable.set(op.put, op.value);
      else this.#durable.delete(op.del);
    }
  }
}

interface Waiting {
  readonly ops: readonly StoreOp[];
  readonly purpose: Purpose;
  readonly resolve: (result: AppendResult) => void;
}

class SimStore implements Store {
  readonly #disk: SimDisk;
  readonly #options: SimDiskOptions;
  #state: 'open' | 'failed' | 'closed' | 'crashed' = 'open';
  #queue: Waiting[] = [];
  #syncing: Waiting[] = [];
  #scheduled = false;
  /** `close` was called; the state follows when what was appended before is on the disk. */
  #closing = false;
  readonly #onIdle: (() => void)[] = [];
  isStalled = false;

  constructor(disk: SimDisk, options: SimDiskOptions) {
    this.#disk = disk;
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'failed';
  }

  get #isClosed(): boolean {
    return this.#closing && this.#state !== 'crashed';
  }

  get(key: string): Uint8Array | undefined {
    this.#options.trace?.('store.get', key);
    return this.#isClosed ? undefined : this.#copy(this.#disk.read().get(key));
  }

  #copy(value: Uint8Array | undefined): Uint8Array | undefined {
    return value === undefined ? undefined : copyOf(value);
  }

  range(query: RangeQuery): { key: string; value: Uint8Array }[] {
    this.#options.trace?.('store.range', query);
    if (this.#isClosed) return [];
    const { from, to, limit, reverse } = query;
    return this.#disk
      .read()
      .range(from, to, Math.max(0, limit), reverse ?? false)
      .map(([key, value]) => ({ key, value: copyOf(value) }));
  }

  usedBytes(): number {
    if (this.#isClosed) return 0;
    return this.#disk
      .read()
      .entries()
      .reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  }

  room(): Room {
    return this.#disk.room();
  }

  append(batch: readonly StoreOp[], purpose: Purpose = 'settle'): Promise<AppendResult> {
    this.#options.trace?.('store.append', batch, purpose);
    if (this.#state === 'crashed') return never();
    checkBatch(batch);
    if (this.#isClosed) {
      return Promise.resolve({ ok: false, code: 'closed', detail: 'the store is closed' });
    }
    if (this.#state === 'failed') {
      return Promise.resolve({ ok: false, code: 'failed', detail: 'the disk failed' });
    }
    const ops = batch.map((op) => ('put' in op ? { put: op.put, value: copyOf(op.value) } : op));
    return new Promise((resolve) => {
      this.#queue.push({ ops, purpose, resolve });
      this.#schedule();
    });
  }

  async close(): Promise<void> {
    if (this.#state === 'crashed') return never();
    this.#options.trace?.('store.close');
    this.#closing = true;
    if (this.#scheduled) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    this.#state = 'closed';
  }

  /** Stops this incarnation; the group whose sync was under way, if any. */
  crash(): readonly StoreOp[] | undefined {
    const wasOpen = this.#state === 'open';
    this.#state = 'crashed';
    this.#queue = [];
    return wasOpen ? this.#syncing.flatMap((waiting) => waiting.ops) : undefined;
  }

  /** Like the real store: one sync at a time; what the same turn appends joins the group. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => this.#startSync());
  }

  #startSync(): void {
    if (this.#state === 'crashed') return;
    this.#syncing = this.#takeGroup();
    if (this.#disk.stallMs > 0) this.isStalled = true;
    const { clock, random, syncMsMin = 0.2, syncMsMax = 3 } = this.#options;
    const delayMs = syncMsMin + (syncMsMax - syncMsMin) * randomFloat(random) + this.#disk.stallMs;
    clock.after(Math.min(delayMs, DISK_DEADLINE_MS), () => this.#endSync(delayMs));
    this.#disk.onSync?.();
  }

  /** All that waits; what there is too little room for is refused. */
  #takeGroup(): Waiting[] {
    const room = this.#disk.room();
    const group = this.#queue;
    this.#queue = [];
    if (room === 'full') return group;
    const result: AppendResult = { ok: false, code: 'full', detail: 'the disk is nearly full' };
    return group.filter(({ ops, purpose, resolve }) => {
      if (takes(room, purpose)) return true;
      this.#disk.refused += 1;
      this.#disk.onRefused?.(ops);
      resolve(result);
      return false;
    });
  }

  #endSync(delayMs: number): void {
    if (this.#state === 'crashed') return;
    const group = this.#syncing;
    this.#syncing = [];
    const ops = group.flatMap((waiting) => waiting.ops);
    const result: AppendResult =
      ops.length === 0 ? { ok: true } : this.#disk.finishSync(ops, delayMs);
    this.#options.trace?.('store.synced', group.length, result);
    if (!result.ok && result.code === 'failed') this.#state = 'failed';
    for (const waiting of group) waiting.resolve(result);
    if (!result.ok) {
      for (const waiting of this.#queue) waiting.resolve(result);
      this.#queue = [];
    }
    this.#scheduled = false;
    if (this.#queue.length === 0) this.isStalled = false;
    if (this.#queue.length > 0) this.#schedule();
    else for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}

/** What a crashed incarnation waits for does not come. */
const never = <T>(): Promise<T> => new Promise(() => undefined);
