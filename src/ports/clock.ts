/**
 * Time. The one source of durations, timers and wall time.
 *
 * Guarantees: `nowMs` never goes back and counts the time a host was suspended (boot time, not process time);
 * values of two hosts are never compared. `wallMs` may jump either way and is for ids and display alone. A
 * timer never fires before its delay, never twice, and never after `cancel`; timers due at the same moment
 * fire in the order they were set. A callback must not throw: what it throws is a broken invariant.
 */
export interface Clock {
  /** Milliseconds of boot time, with fractions. */
  nowMs(): number;
  /** Whole milliseconds since the Unix epoch. */
  wallMs(): number;
  /** Calls `callback` once, `delayMs` or more from now (0 and less: in a later turn of the event loop). */
  after(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** A promise that resolves `delayMs` from now. */
export const sleep = (clock: Clock, delayMs: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
