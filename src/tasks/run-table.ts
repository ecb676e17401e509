/** What a runner holds, by run and by task: a start and a takeover ask by task, and there may be thousands of runs. */
import type { RunOrder } from './order.ts';

export class RunTable<R extends { readonly order: RunOrder }> {
  readonly #byRun = new Map<string, R>();
  readonly #byTask = new Map<string, R[]>();

  get size(): number {
    return this.#byRun.size;
  }

  has(runId: string): boolean {
    return this.#byRun.has(runId);
  }

  get(runId: string): R | undefined {
    return this.#byRun.get(runId);
  }

  values(): Iterable<R> {
    return this.#byRun.values();
  }

  ofTask(id: string): readonly R[] {
    return this.#byTask.get(id) ?? [];
  }

  add(run: R): void {
    const { id, runId } = run.order;
    this.#byRun.set(runId, run);
    this.#byTask.set(id, [...this.ofTask(id), run]);
  }

  delete(run: R): void {
    const { id, runId } = run.order;
    this.#byRun.delete(runId);
    const left = this.ofTask(id).filter((other) => other !== run);
    if (left.length === 0) this.#byTask.delete(id);
    else this.#byTask.set(id, left);
  }
}
