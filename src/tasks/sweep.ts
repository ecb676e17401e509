/**
 * A walk over very many tasks in slices, with a turn of the event loop between two: heartbeats, answers and clients must
 * not wait until a hundred thousand tasks have been looked at. What asks for another walk while one is under way gets
 * one from the beginning, behind it.
 *
 * Do not begin anew at each call: members that come and go faster than a walk takes would keep it from ever coming to
 * its end.
 */
import type { Clock, Timer } from '../ports/clock.ts';

/** Tasks looked at in one turn: 5 to 10 ms where each is looked at for the first time, one ms later on. */
export const SLICE_MAX = 250;

export class Sweep<T> {
  readonly #clock: Clock;
  readonly #all: () => Iterator<T>;
  readonly #visit: (item: T) => void;
  /** What is left of the walk that is under way. */
  #left: Iterator<T> | undefined;
  #again = false;
  #timer: Timer | undefined;

  /** `all` may go along with what changes meanwhile, as the iterator of a map does. */
  constructor(clock: Clock, all: () => Iterator<T>, visit: (item: T) => void) {
    this.#clock = clock;
    this.#all = all;
    this.#visit = visit;
  }

  /** Everything that is there now is visited; the first slice before this returns. */
  run(): void {
    if (this.#left !== undefined) {
      this.#again = true;
      return;
    }
    this.#left = this.#all();
    this.#slice(this.#left);
  }

  close(): void {
    this.#timer?.cancel();
    this.#left = undefined;
    this.#again = false;
  }

  #slice(left: Iterator<T>): void {
    for (let visited = 0; visited < SLICE_MAX; visited++) {
      const next = left.next();
      if (next.done === true) {
        this.#left = undefined;
        break;
      }
      this.#visit(next.value);
    }
    if (this.#left === undefined && this.#again) {
      this.#again = false;
      this.#left = this.#all();
    }
    const rest = this.#left;
    if (rest !== undefined) this.#timer = this.#clock.after(0, () => this.#slice(rest));
  }
}
