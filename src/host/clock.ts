/**
 * The Clock port on the system's clocks.
 *
 * `performance.now()` (CLOCK_MONOTONIC) stands still while a host is suspended; `os.uptime()`
 * counts on but is a system call with a resolution of 10 ms. So time is `performance.now()` plus
 * the suspends seen so far, and a suspend shows as wall time running away from it: only then
 * `os.uptime()` is asked whether the host slept or somebody set the clock. Do not derive time from
 * the wall clock itself: NTP and people move it.
 */
import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';
import { type QueuedTimer, TimerQueue } from '../base/timer-queue.ts';
import type { Clock, Timer } from '../ports/clock.ts';

/** A wall clock that ran away by this much is looked into; NTP slews by 0.5 ms a second. */
const WALL_STEP_MS = 250;
/** Below this, uptime and monotonic time differ by the resolution of uptime alone. */
const SUSPEND_MS_MIN = 100;
/**
 * Longer timers may come late by an eighth of their delay, so that several share one wake-up: a process that wakes up
 * costs more than what it does then. Never early, and never later than this.
 */
const SLACK_FROM_MS = 250;
const SLACK_SHARE = 1 / 8;
const SLACK_MS_MAX = 100;
/** The one system timer runs at most this long: after a suspend, due timers fire within it. */
const SYSTEM_TIMER_MS_MAX = 1_000;

/** Where the system's time comes from; tests replace it to suspend the host. */
export interface TimeSources {
  monotonicMs(): number;
  uptimeMs(): number;
  wallMs(): number;
}

const SYSTEM_TIME: TimeSources = {
  monotonicMs: () => performance.now(),
  uptimeMs: () => uptime() * 1_000,
  wallMs: () => Date.now(),
};

interface Entry {
  readonly callback: () => void;
  canceled: boolean;
  /** When the system has to wake us for it at the latest. */
  readonly deadline: QueuedTimer<void>;
}

const slackMs = (delayMs: number): number =>
  delayMs < SLACK_FROM_MS ? 0 : Math.min(SLACK_MS_MAX, delayMs * SLACK_SHARE);

export class HostClock implements Clock {
  readonly #sources: TimeSources;
  readonly #queue = new TimerQueue<Entry>();
  readonly #deadlines = new TimerQueue<void>();
  /** Boot time at monotonic 0, so that the values read as time since boot. */
  readonly #bootOffsetMs: number;
  #suspendedMs = 0;
  #wallDeltaMs: number;
  #systemTimeout: NodeJS.Timeout | undefined;
  #systemImmediate: NodeJS.Immediate | undefined;
  /** When the system will wake us. */
  #wakeMs = Number.POSITIVE_INFINITY;

  constructor(sources: TimeSources = SYSTEM_TIME) {
    this.#sources = sources;
    const monotonicMs = sources.monotonicMs();
    this.#bootOffsetMs = sources.uptimeMs() - monotonicMs;
    this.#wallDeltaMs = sources.wallMs() - monotonicMs;
  }

  nowMs(): number {
    const monotonicMs = this.#sources.monotonicMs();
    const wallDeltaMs = this.#sources.wallMs() - monotonicMs;
    if (Math.abs(wallDeltaMs - this.#wallDeltaMs) > WALL_STEP_MS) {
      this.#wallDeltaMs = wallDeltaMs;
      const sleptMs =
        this.#sources.uptimeMs() - monotonicMs - this.#bootOffsetMs - this.#suspendedMs;
      if (sleptMs > SUSPEND_MS_MIN) this.#suspendedMs += sleptMs;
    }
    return this.#bootOffsetMs + this.#suspendedMs + monotonicMs;
  }

  wallMs(): number {
    return this.#sources.wallMs();
  }

  after(delayMs: number, callback: () => void): Timer {
    if (Number.isNaN(delayMs)) throw new RangeError('a delay must be a number');
    const dueMs = this.nowMs() + Math.max(0, delayMs);
    const deadline = this.#deadlines.add(dueMs + slackMs(delayMs), undefined);
    const entry: Entry = { callback, canceled: false, deadline };
    const timer = this.#queue.add(dueMs, entry);
    this.#arm();
    return {
      cancel: () => {
        entry.canceled = true;
        if (!this.#queue.remove(timer)) return;
        this.#deadlines.remove(deadline);
        if (this.#queue.size === 0) this.#disarm();
      },
    };
  }

  #disarm(): void {
    clearTimeout(this.#systemTimeout);
    clearImmediate(this.#systemImmediate);
    this.#wakeMs = Number.POSITIVE_INFINITY;
  }

  /**
   * Sees to it that the system wakes us for the first timer; a slice at a time, so any delay is
   * possible.
   */
  #arm(): void {
    const first = this.#deadlines.peek();
    if (!first || first.dueMs >= this.#wakeMs) return;
    this.#disarm();
    const nowMs = this.nowMs();
    const delayMs = Math.min(Math.ceil(first.dueMs - nowMs), SYSTEM_TIMER_MS_MAX);
    this.#wakeMs = nowMs + delayMs;
    // setTimeout(0) waits a whole millisecond; what is due now shall run in the next turn.
    if (delayMs <= 0) this.#systemImmediate = setImmediate(() => this.#wake());
    else this.#systemTimeout = setTimeout(() => this.#wake(), delayMs);
  }

  /**
   * Each due callback gets a turn of its own: the first one this turn, the others a `setImmediate` each, which run in
   * order, with microtasks drained between them, so that promises resolved by one callback run before the next, as in the
   * simulator. (A setImmediate for the first one too would cost another round of the event loop at each wake-up.) What a
   * callback throws is an uncaught exception: it ends the process, as it must.
   */
  #wake(): void {
    this.#disarm();
    const nowMs = this.nowMs();
    const setBefore = this.#queue.nextOrder;
    let first: Entry | undefined;
    for (let timer = this.#queue.peek(); timer; timer = this.#queue.peek()) {
      if (timer.dueMs > nowMs || timer.order >= setBefore) break;
      this.#queue.remove(timer);
      const entry = timer.value;
      this.#deadlines.remove(entry.deadline);
      if (first === undefined) first = entry;
      else
        setImmediate(() => {
          if (!entry.canceled) entry.callback();
        });
    }
    this.#arm();
    if (first?.canceled === false) first.callback();
  }
}
