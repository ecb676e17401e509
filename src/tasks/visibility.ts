/**
 * What may be told of a record. A final that this store has just written is hidden until enough stores have it:
 * a client that heard "completed" must never find the task running again because one disk was lost.
 * A final that came from another store is shown at once: then two have it.
 */
import type { RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';

/** `before`: the version that could be told before, if there was one. */
type ToldListener = (id: string, before: RecordState | undefined) => void;

interface Hidden {
  count: number;
  readonly before: RecordState | undefined;
}

export class Visibility {
  readonly #replica: Replica;
  readonly #hidden = new Map<string, Hidden>();
  readonly #listeners: ToldListener[] = [];
  #closed = false;

  constructor(replica: Replica) {
    this.#replica = replica;
    replica.onVisible((after, before) => {
      if (!this.#hidden.has(after.id)) this.#tell(after.id, before);
    });
  }

  /** Called for every change that may be told, after it may be told. */
  onTold(listener: ToldListener): void {
    this.#listeners.push(listener);
  }

  /** From now on nothing is told: what is hidden stays so, since nobody brings it to enough stores any more. */
  close(): void {
    this.#closed = true;
  }

  hide(id: string): void {
    const hidden = this.#hidden.get(id) ?? { count: 0, before: this.#replica.get(id) };
    hidden.count += 1;
    this.#hidden.set(id, hidden);
  }

  reveal(id: string): void {
    const hidden = this.#hidden.get(id);
    if (hidden === undefined || this.#closed) return;
    hidden.count -= 1;
    if (hidden.count > 0) return;
    this.#hidden.delete(id);
    if (this.#replica.get(id) !== hidden.before) this.#tell(id, hidden.before);
  }

  /** A final of it is held back: what may be told is older than what the store holds. */
  isHidden(id: string): boolean {
    return this.#hidden.has(id);
  }

  /** The version that may be told. */
  get(id: string): RecordState | undefined {
    const hidden = this.#hidden.get(id);
    return hidden === undefined ? this.#replica.get(id) : hidden.before;
  }

  #tell(id: string, before: RecordState | undefined): void {
    if (this.#closed) return;
    for (const listener of this.#listeners) listener(id, before);
  }
}
