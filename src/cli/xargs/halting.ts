/** What becomes of each task that is over, for `--halt` and the exit code: counted when it ends, not when it is printed. */
import { type Counts, exitOfHalt, type Halt, isReached } from './halt.ts';
import type { Finished } from './job.ts';
import { type Ended, endedOf } from './joblog.ts';

export class Halting {
  readonly #halt: Halt | undefined;
  readonly #total: () => number | undefined;
  readonly #reached = Promise.withResolvers<Halt['when']>();
  #completed = 0;
  #failed = 0;
  #last: Ended = { exit: 0, signal: 0 };
  /** At the moment at which it was reached: what ends later, since it was running, does not change the exit code. */
  #exit: number | undefined;

  constructor(halt: Halt | undefined, total: () => number | undefined) {
    this.#halt = halt;
    this.#total = total;
  }

  /** Settles when the run is to be ended, if ever. */
  get reached(): Promise<Halt['when']> {
    return this.#reached.promise;
  }

  get isReached(): boolean {
    return this.#exit !== undefined;
  }

  /** Of a run that was halted. */
  get exit(): number {
    return this.#exit ?? 0;
  }

  finished(finished: Finished): void {
    const { ending } = finished;
    if (ending.kind === 'task' && ending.task.state === 'completed') this.#completed += 1;
    else this.#failed += 1;
    this.#last = endedOf(finished);
    this.#check();
  }

  #check(): void {
    if (this.#halt === undefined || this.#exit !== undefined) return;
    const counts: Counts = {
      completed: this.#completed,
      failed: this.#failed,
      total: this.#total(),
    };
    if (!isReached(this.#halt, counts)) return;
    this.#exit = exitOfHalt(this.#halt, counts, this.#last);
    this.#reached.resolve(this.#halt.when);
  }
}
