/**
 * What may be told of a record. A final that this store has just written is hidden until enough stores have it:
 * a client that heard "completed" must never find the task running again because one disk was lost.
 * A final that came from another store is shown at once: then two have it.
 */
import type { RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';

interface Hidden {
  count: number;
  readonly before: RecordState | undefined;
}

export class Visibility {
  readonly #replica: Replica;
  readonly #hidden = new Map<string, Hidden>();
  readonly #listeners: ((id: string) => void)[] = [];

  constructor(replica: Replica) {
    this.#replica = replica;
    replica.onVisible((after) => {
      if (!this.#hidden.has(after.id)) this.#tell(after.id);
    });
  }

  /** Called for every change that may be told, after it may be told. */
  onTold(listener: (id: string) => void): void {
    this.#listeners.push(listener);
  }

  hide(id: string): void {
    const hidden = this.#hidden.get(id) ?? { count: 0, before: this.#replica.get(id) };
    hidden.count += 1;
    this.#hidden.set(id, hidden);
  }

  reveal(id: string): void {
    const hidden = this.#hidden.get(id);
    if (hidden === undefined) return;
    hidden.count -= 1;
    if (hidden.count > 0) return;
    this.#hidden.delete(id);
    if (this.#replica.get(id) !== hidden.before) this.#tell(id);
  }

  /** The version that may be told. */
  get(id: string): RecordState | undefined {
    const hidden = this.#hidden.get(id);
    return hidden === undefined ? this.#replica.get(id) : hidden.before;
  }

  #tell(id: string): void {
    for (const listener of this.#listeners) listener(id);
  }
}
