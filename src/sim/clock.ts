/**
 * Virtual time: the Clock port of a simulated world, in which nothing happens but what `step` lets
 * happen.
 *
 * `step` fires the earliest timer, then waits until every promise that follows from it has run. It
 * does so by waiting for one real `setImmediate`, kept from before the simulator traps it: Node runs
 * an immediate only when the microtask queue is empty, and a simulated world does no real I/O that
 * could slip in between, so what runs is the same in every run. A fixed number of chained
 * microtasks would cut long promise chains in two. Immediates are set many at a time: Node empties
 * the microtask queue between two of them, and a turn of the event loop for each timer would cost more
 * than many a timer does.
 *
 * Time moves on a grid of 1/1024 ms. Sums of such numbers are exact in a double; without the grid,
 * `start + delay` and "now" may differ in the last bit, and a caller that waits for a deadline sets
 * timers of no length for ever.
 */
import { setImmediate } from 'node:timers';
import { type QueuedTimer, TimerQueue } from '../base/timer-queue.ts';
import type { Clock, Timer } from '../ports/clock.ts';

/** Told of every port call and event, in order: the raw material of the trace hash. */
export type Trace = (event: string, ...args: unknown[]) => void;

const GRID_PER_MS = 1_024;
/** 2026-01-01T00:00:00Z: where simulated wall clocks start. */
const WALL_START_MS = 1_767_225_600_000;

const ceilToGrid = (ms: number): number => Math.ceil(ms * GRID_PER_MS) / GRID_PER_MS;
/** Immediates set at once; those left over when a run ends do nothing. */
const TURNS_AHEAD = 64;

/** How one host's clock differs from the world's. */
export interface Skew {
  /** Boot time when the world starts: two hosts' values are never comparable. */
  readonly bootMs?: number;
  /** Added to wall time. */
  readonly wallOffsetMs?: number;
  /** Local milliseconds per millisecond of the world: 1.001 runs fast. */
  readonly rate?: number;
}

/** What a timer belongs to; `undefined` once its owner was dropped. */
interface Owner {
  readonly tag: string;
  alive: boolean;
}

interface Entry {
  readonly owner: Owner;
  readonly callback: () => void;
}

export class SimClock implements Clock {
  readonly #queue = new TimerQueue<Entry>();
  readonly #world: Owner = { tag: '', alive: true };
  #owners: Owner[] = [];
  readonly #trace: Trace | undefined;
  #nowMs = 0;
  #stepping = false;
  readonly #turns = new Turns();
  /** Added to the wall time of every host. */
  wallOffsetMs = 0;

  /** `trace` is told of every timer that fires, and when. */
  constructor(trace?: Trace) {
    this.#trace = trace;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(WALL_START_MS + this.#nowMs + this.wallOffsetMs);
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#set(this.#nowMs + Math.max(0, delayMs), this.#world, callback);
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#queue.size;
  }

  /** When the next timer is due, if any is set. */
  nextDueMs(): number | undefined {
    return this.#queue.peek()?.dueMs;
  }

  /** A clock for one incarnation of one peer, whose timers `dropOwner` takes away together. */
  forOwner(tag: string, skew: Skew = {}): OwnedClock {
    const owner: Owner = { tag, alive: true };
    this.#owners.push(owner);
    return new OwnedClock(this, skew, (dueMs, callback) => this.#set(dueMs, owner, callback));
  }

  /**
   * The owner crashed: its timers never fire, and code of it that still runs sets timers in vain. A
   * later `forOwner` with the same tag is a new owner.
   */
  dropOwner(tag: string): void {
    for (const owner of this.#owners) if (owner.tag === tag) owner.alive = false;
    this.#owners = this.#owners.filter((owner) => owner.alive);
    this.#queue.removeWhere((entry) => !entry.owner.alive);
  }

  #set(dueMs: number, owner: Owner, callback: () => void): Timer {
    if (Number.isNaN(dueMs)) throw new RangeError('a delay must be a number');
    if (!owner.alive) return { cancel: () => undefined };
    const timer = this.#queue.add(ceilToGrid(dueMs), { owner, callback });
    return {
      cancel: () => {
        this.#queue.remove(timer);
      },
    };
  }

  /** Fires the next timer and lets everything that follows from it run. False: no timer is set. */
  async step(): Promise<boolean> {
    let fired = 0;
    return this.#run(Number.POSITIVE_INFINITY, () => ++fired > 1);
  }

  /** Fires what is due within `ms` from now; afterwards it is `ms` later. */
  async runFor(ms: number): Promise<void> {
    await this.runUntil(() => false, ms);
  }

  /**
   * Steps until `condition` holds: true. False: `limitMs` have passed (it is that much later then).
   * The condition is asked before the first step and after each.
   */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = ceilToGrid(this.#nowMs + limitMs);
    if (await this.#run(endMs, condition)) return true;
    this.#nowMs = Math.max(this.#nowMs, endMs);
    return condition();
  }

  /** Fires timer after timer, all promises in between, until `isDone` (true) or none is due any more (false). */
  async #run(endMs: number, isDone: () => boolean): Promise<boolean> {
    if (this.#stepping) throw new Error('the clock is already being stepped');
    this.#stepping = true;
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const turn = (): void => {
          try {
            if (isDone()) resolve(true);
            else if (this.#fireNext(endMs)) this.#turns.next(turn);
            else resolve(false);
          } catch (thrown) {
            reject(thrown);
          }
        };
        this.#turns.next(turn);
      });
    } finally {
      this.#stepping = false;
    }
  }

  #fireNext(endMs: number): boolean {
    const timer: QueuedTimer<Entry> | undefined = this.#queue.peek();
    if (!timer || timer.dueMs > endMs) return false;
    this.#queue.remove(timer);
    this.#nowMs = timer.dueMs;
    this.#trace?.('fire', timer.dueMs, timer.order);
    timer.value.callback();
    return true;
  }
}

/** Moments at which no promise waits to run; one caller at a time. */
class Turns {
  #waiting: (() => void) | undefined;
  #ahead = 0;
  readonly #turn = (): void => {
    this.#ahead -= 1;
    const run = this.#waiting;
    this.#waiting = undefined;
    run?.();
  };

  next(run: () => void): void {
    this.#waiting = run;
    if (this.#ahead > 0) return;
    for (let i = 0; i < TURNS_AHEAD; i++) setImmediate(this.#turn);
    this.#ahead = TURNS_AHEAD;
  }
}

/** The clock of one host; its wall clock may be set while it runs. */
export class OwnedClock implements Clock {
  readonly #world: SimClock;
  readonly #set: (dueMs: number, callback: () => void) => Timer;
  /** Local time when the rate was set last, and the world's. */
  #bootMs: number;
  #startMs: number;
  #rate: number;
  wallOffsetMs: number;

  constructor(world: SimClock, skew: Skew, set: (dueMs: number, callback: () => void) => Timer) {
    this.#world = world;
    this.#set = set;
    this.#rate = skew.rate ?? 1;
    this.#startMs = this.#world.nowMs();
    this.#bootMs = ceilToGrid(skew.bootMs ?? 0) + this.#startMs;
    this.wallOffsetMs = skew.wallOffsetMs ?? 0;
  }

  #localAt(worldMs: number): number {
    return this.#bootMs + (worldMs - this.#startMs) * this.#rate;
  }

  /** From now on it runs so fast. */
  setRate(rate: number): void {
    this.#bootMs = this.nowMs();
    this.#startMs = this.#world.nowMs();
    this.#rate = rate;
  }

  nowMs(): number {
    return this.#localAt(this.#world.nowMs());
  }

  wallMs(): number {
    return Math.floor(this.#world.wallMs() + this.wallOffsetMs);
  }

  after(delayMs: number, callback: () => void): Timer {
    const localDueMs = this.nowMs() + Math.max(0, delayMs);
    const timer = this.#set(this.#dueMs(delayMs, localDueMs), () => ring());
    let current = timer;
    // A clock that became slower meanwhile has not come to that time yet.
    const ring = (): void => {
      const leftMs = localDueMs - this.nowMs();
      if (leftMs <= 0) callback();
      else current = this.#set(this.#dueMs(leftMs, localDueMs), ring);
    };
    return { cancel: () => current.cancel() };
  }

  #dueMs(delayMs: number, localDueMs: number): number {
    let dueMs = ceilToGrid(this.#world.nowMs() + Math.max(0, delayMs) / this.#rate);
    // Rounding of the rate must not let a timer fire before its delay by this host's own clock.
    if (this.#localAt(dueMs) < localDueMs) dueMs += 1 / GRID_PER_MS;
    return dueMs;
  }
}
