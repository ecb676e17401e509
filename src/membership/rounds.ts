/** What is done again and again while membership runs. */
import type { Clock, Timer } from '../ports/clock.ts';

export class Rounds {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next round is set before this one runs: one that fails does not end them. */
  every(intervalMs: () => number, run: () => void): void {
    const timer = this.#clock.after(intervalMs(), () => {
      this.#timers.delete(timer);
      if (this.#stopped) return;
      this.every(intervalMs, run);
      run();
    });
    this.#timers.add(timer);
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
  }
}
