/** Run ids that are over at their runner, remembered for a while: an order or a question about them may come late. */

/** The oldest are forgotten. */
export const ENDED_KEPT_MAX = 16_384;

/**
 * ended: a home store has its end. given_up: it ran, and nobody would take its end; an owner that were told `ended` would
 * look for that end for ever. void: it never ran here, and never will.
 */
export type Over = 'ended' | 'given_up' | 'void';

export class RunsOver {
  readonly #over = new Map<string, Over>();

  get(runId: string): Over | undefined {
    return this.#over.get(runId);
  }

  add(runId: string, how: Over): void {
    this.#over.set(runId, how);
    const oldest = this.#over.keys().next();
    if (this.#over.size > ENDED_KEPT_MAX && !oldest.done) this.#over.delete(oldest.value);
  }
}
