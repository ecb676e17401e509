/**
 * How long this store has run, and for how much of that time each other store was out of touch. Tombstones are kept for
 * `tombstone_ttl` of the same count. So a store that was away for less finds a tombstone of everything that was dropped
 * meanwhile; one that was away for longer may hold tasks that ran to their end and were forgotten.
 *
 * Not wall time, nor boot time alone: a mesh that slept together, or was switched off, has forgotten nothing.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue } from '../wire/codec.ts';
import type { StoreId } from './record.ts';

const TICK_MS = 1_000;
/** More than this between two ticks this process did not run, whatever the clock says. */
const TICK_MS_MAX = 2 * TICK_MS;
/** What a crash makes forgotten; it makes every count shorter, and all alike. */
const PERSIST_MS_MAX = 60_000;
/** Of `tombstone_ttl`. */
const PERSIST_SHARE = 10;
/** Stores remembered; those that were away for longest are forgotten first. */
const STORES_MAX = 10_000;

const RUNNING_KEY = 'm/run';
const SEEN = 'm/seen/';
const APART = 'm/apart/';

/** Two sides of a partition meet member by member, some of them after a restart: so long it is remembered who was where. */
export const BACK_TOGETHER_MS = 600_000;

export class Absences {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly ttlMs: number;
  /** By store: the running time when it was last in touch. */
  readonly #seen = new Map<StoreId, number>();
  readonly #dirty = new Set<StoreId>();
  /** By store: the running time when a long absence between the two was settled or told of. */
  readonly #apart = new Map<StoreId, number>();
  #countedMs: number;
  #tickedMs: number;
  #writtenMs: number;
  #timer: Timer | undefined;

  constructor(deps: { readonly store: Store; readonly clock: Clock; readonly ttlMs: number }) {
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.ttlMs = deps.ttlMs;
    this.#countedMs = readMs(deps.store.get(RUNNING_KEY)) ?? 0;
    this.#writtenMs = this.#countedMs;
    this.#tickedMs = deps.clock.nowMs();
    const range = { from: SEEN, to: prefixEnd(SEEN), limit: STORES_MAX };
    for (const { key, value } of deps.store.range(range))
      this.#seen.set(key.slice(SEEN.length), readMs(value) ?? 0);
    const apart = { from: APART, to: prefixEnd(APART), limit: STORES_MAX };
    for (const { key, value } of deps.store.range(apart))
      this.#apart.set(key.slice(APART.length), readMs(value) ?? 0);
  }

  /**
   * `inTouch`: the stores that are linked now. `out`: those that are not. One of them of which nothing is noted here (a
   * crash came before that was written) is away from now on: else it would never be.
   */
  start(inTouch: () => readonly StoreId[], out: () => readonly StoreId[]): void {
    const tick = (): void => {
      this.#countedMs = this.runningMs;
      this.#tickedMs = this.#clock.nowMs();
      for (const store of inTouch()) this.touch(store);
      for (const store of out()) if (!this.#seen.has(store)) this.settled(store);
      this.#timer = this.#clock.after(TICK_MS, tick);
      if (this.#countedMs - this.#writtenMs < Math.min(PERSIST_MS_MAX, this.ttlMs / PERSIST_SHARE))
        return;
      void this.#write();
    };
    this.#timer = this.#clock.after(TICK_MS, tick);
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#countedMs = this.runningMs;
    await this.#write();
  }

  get runningMs(): number {
    const elapsedMs = this.#clock.nowMs() - this.#tickedMs;
    return this.#countedMs + Math.min(Math.max(0, elapsedMs), TICK_MS_MAX);
  }

  /** Of this store's running time; 0 for one that was never seen. */
  absenceMs(store: StoreId): number {
    return Math.max(0, this.runningMs - (this.#seen.get(store) ?? this.runningMs));
  }

  /** Away for so long that what it holds may have been forgotten here; until it has settled that. */
  isLong(store: StoreId): boolean {
    return this.absenceMs(store) > this.ttlMs;
  }

  /** It is in touch. One that was away for too long is away until `settled`. */
  touch(store: StoreId): void {
    if (!this.isLong(store)) this.settled(store);
  }

  settled(store: StoreId): void {
    if (!this.#seen.has(store) && this.#seen.size >= STORES_MAX) this.#forgetOne();
    this.#seen.set(store, this.runningMs);
    this.#dirty.add(store);
  }

  /**
   * The two were apart for too long until now. Written at once: a store that starts anew amid the meeting of two large
   * sides would else take those that were with it for members of the other side.
   */
  wereApart(store: StoreId): void {
    if (!this.#apart.has(store) && this.#apart.size >= STORES_MAX) return;
    const runningMs = this.runningMs;
    this.#apart.set(store, runningMs);
    void this.#append([{ put: APART + store, value: encodeValue(runningMs) }]);
  }

  /** Apart for too long until lately. */
  wasApart(store: StoreId): boolean {
    const atMs = this.#apart.get(store);
    return atMs !== undefined && this.runningMs - atMs < BACK_TOGETHER_MS;
  }

  #forgetOne(): void {
    const [longest] = [...this.#seen].sort(([, a], [, b]) => a - b);
    if (longest !== undefined) this.#seen.delete(longest[0]);
  }

  async #write(): Promise<void> {
    const stores = [...this.#dirty];
    const runningMs = this.#countedMs;
    const batch: StoreOp[] = [{ put: RUNNING_KEY, value: encodeValue(runningMs) }];
    for (const store of stores)
      batch.push({ put: SEEN + store, value: encodeValue(this.#seen.get(store) ?? 0) });
    for (const store of this.#apart.keys()) {
      if (this.wasApart(store)) continue;
      batch.push({ del: APART + store });
      this.#apart.delete(store);
    }
    this.#dirty.clear();
    this.#writtenMs = runningMs;
    if (!(await this.#append(batch))) for (const store of stores) this.#dirty.add(store);
  }

  /** Not written, it is as after a crash: counted once more, from less. A broken disk is found by whoever writes next. */
  async #append(batch: StoreOp[]): Promise<boolean> {
    return (await this.#store.append(batch)).ok;
  }
}

function readMs(bytes: Uint8Array | undefined): number | undefined {
  const decoded = bytes === undefined ? undefined : decodeValue(bytes);
  return decoded?.ok === true && typeof decoded.value === 'number' ? decoded.value : undefined;
}
