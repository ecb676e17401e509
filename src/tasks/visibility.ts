/**
 * What may be told of a record. A final that this store has just written is hidden until enough stores have it:
 * a client that heard "completed" must never find the task running again because one disk was lost.
 * A final that came from another store is shown at once: then two have it.
 *
 * A restart must not forget what is hidden. So a final is written with a mark, `h/ID`, and the mark goes a moment after
 * enough stores have it; what is marked when a store is opened stays hidden until they do.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import type { RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import { taskOf } from './task.ts';

/** `before`: the version that could be told before, if there was one. */
type ToldListener = (id: string, before: RecordState | undefined) => void;

interface Hidden {
  count: number;
  readonly before: RecordState | undefined;
}

const PREFIX = 'h/';
const MARK = new Uint8Array(0);
/** Marks are removed together: one write of the disk, not one for each final. */
const UNMARK_AFTER_MS = 1_000;
const PAGE_MAX = 1_000;

export interface VisibilityDeps {
  readonly replica: Replica;
  readonly store: Store;
  readonly clock: Clock;
}

export class Visibility {
  readonly #deps: VisibilityDeps;
  readonly #hidden = new Map<string, Hidden>();
  readonly #listeners: ToldListener[] = [];
  /** Marked on the disk, … */
  readonly #marked = new Set<string>();
  /** … and enough stores have it: the mark is to be removed. */
  #confirmed: string[] = [];
  #timer: Timer | undefined;
  #closed = false;

  constructor(deps: VisibilityDeps) {
    this.#deps = deps;
    deps.replica.onVisible((after, before) => {
      if (!this.#hidden.has(after.id)) this.#tell(after.id, before);
    });
    deps.replica.onGone(({ id }) => this.#marked.delete(id));
  }

  /** Hides what was hidden when the store was closed. Once, after the replica was loaded; answers the ids. */
  load(): string[] {
    const { store, replica } = this.#deps;
    const ids: string[] = [];
    for (let from = PREFIX; ; ) {
      const page = store.range({ from, to: prefixEnd(PREFIX), limit: PAGE_MAX });
      for (const { key } of page) ids.push(key.slice(PREFIX.length));
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_MAX) break;
      from = `${last.key}\x00`;
    }
    for (const id of ids) {
      const record = replica.get(id);
      this.#marked.add(id);
      // The read may have found it damaged, and hidden it itself.
      const hidden = this.#hidden.get(id) ?? { count: 0, before: record && beforeItsEnd(record) };
      hidden.count += 1;
      this.#hidden.set(id, hidden);
    }
    return ids;
  }

  /** To be written with a version that makes a task final. */
  mark(before: RecordState, after: RecordState): StoreOp[] {
    if (taskOf(before).final !== undefined || taskOf(after).final === undefined) return [];
    this.#marked.add(after.id);
    return [{ put: PREFIX + after.id, value: MARK }];
  }

  /** Called for every change that may be told, after it may be told. */
  onTold(listener: ToldListener): void {
    this.#listeners.push(listener);
  }

  /** From now on nothing is told: what is hidden stays so, since nobody brings it to enough stores any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#unmark();
  }

  hide(id: string): void {
    const hidden = this.#hidden.get(id) ?? { count: 0, before: this.#deps.replica.get(id) };
    hidden.count += 1;
    this.#hidden.set(id, hidden);
  }

  /** What was hidden for another reason than a final of this store: a restart hides it too. */
  async keepHidden(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    for (const id of ids) this.#marked.add(id);
    await this.#deps.store.append(ids.map((id): StoreOp => ({ put: PREFIX + id, value: MARK })));
  }

  reveal(id: string): void {
    const hidden = this.#hidden.get(id);
    if (hidden === undefined || this.#closed) return;
    hidden.count -= 1;
    if (hidden.count > 0) return;
    this.#hidden.delete(id);
    if (this.#marked.delete(id)) this.#unmarkSoon(id);
    if (this.#deps.replica.get(id) !== hidden.before) this.#tell(id, hidden.before);
  }

  #unmarkSoon(id: string): void {
    this.#confirmed.push(id);
    this.#timer ??= this.#deps.clock.after(UNMARK_AFTER_MS, () => {
      this.#timer = undefined;
      void this.#unmark();
    });
  }

  /** A mark that could not be removed costs the next start a question; on a full disk it is tried again. */
  async #unmark(): Promise<void> {
    const ids = this.#confirmed;
    this.#confirmed = [];
    if (ids.length === 0) return;
    const done = await this.#deps.store.append(ids.map((id): StoreOp => ({ del: PREFIX + id })));
    if (!done.ok && done.code === 'full' && !this.#closed)
      for (const id of ids) this.#unmarkSoon(id);
  }

  /** A final of it is held back: what may be told is older than what the store holds. */
  isHidden(id: string): boolean {
    return this.#hidden.has(id);
  }

  /** The version that may be told. */
  get(id: string): RecordState | undefined {
    const hidden = this.#hidden.get(id);
    return hidden === undefined ? this.#deps.replica.get(id) : hidden.before;
  }

  #tell(id: string, before: RecordState | undefined): void {
    if (this.#closed) return;
    for (const listener of this.#listeners) listener(id, before);
  }
}

/** As it could be told before: without its final, and without the end that made it final. */
function beforeItsEnd(record: RecordState): RecordState {
  const finals = record.facts.filter(({ value }) => value.t === 'final');
  const runs = new Set(finals.map(({ value }) => value.run_id));
  const isOfTheEnd = ({ t, run_id: runId }: RecordState['facts'][number]['value']): boolean =>
    t === 'final' || (t === 'end' && runs.has(runId));
  return { ...record, facts: record.facts.filter(({ value }) => !isOfTheEnd(value)) };
}
