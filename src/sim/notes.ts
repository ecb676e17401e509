/**
 * What a world must remember because the mesh may forget it: tasks whose records were dropped after their end, stores
 * that an operator removed, hosts that were away for too long, facts that daemons of later versions wrote.
 */
import {
  type Fact,
  factHash,
  joinRecords,
  type RecordState,
  type StoreId,
} from '../records/record.ts';
import { taskOf } from '../tasks/task.ts';
import { startName } from './losses.ts';

/** A fact of a type, or with members, that the version of now does not know. */
export interface LaterFact {
  readonly id: string;
  readonly store: StoreId;
  readonly seq: number;
  readonly hash: string;
}

export class Notes {
  /** By the operator's word; each stays so for good. */
  readonly forgotten = new Set<StoreId>();
  readonly laterFacts: LaterFact[] = [];
  /** Tasks of which a client was told so. */
  readonly acknowledged = new Set<string>();
  /** Hosts that are away for too long just now. */
  readonly away = new Set<string>();
  /** By task: names of the starts that a tombstone made forgotten. */
  readonly overtaken = new Map<string, ReadonlySet<string>>();
  readonly #dropped = new Map<string, RecordState>();
  /** By host: what it held unfinished when it came back, and everybody else had let go. */
  readonly #missed = new Map<string, ReadonlySet<string>>();

  /** A store lets a record go that is over. */
  drop(record: RecordState): void {
    const known = this.#dropped.get(record.id);
    this.#dropped.set(record.id, known === undefined ? record : joinRecords(known, record));
  }

  /** All that was known of it to those that let it go. */
  dropped(id: string): RecordState | undefined {
    return this.#dropped.get(id);
  }

  get allDropped(): ReadonlyMap<string, RecordState> {
    return this.#dropped;
  }

  /** A copy that was not final gave way to the tombstone of one that was: what only it knew is gone with it. */
  overtake(record: RecordState): void {
    const names = taskOf(record).attempts.map(({ start }) => startName(start.run_id));
    const known = this.overtaken.get(record.id) ?? [];
    this.overtaken.set(record.id, new Set([...known, ...names]));
  }

  /** A host comes back after it was away for too long; `isHeld`: another one has that task unfinished. */
  comesBack(host: string, unfinished: readonly string[], isHeld: (id: string) => boolean): void {
    const missed = unfinished.filter((id) => this.#dropped.has(id) && !isHeld(id));
    this.#missed.set(host, new Set(missed));
  }

  /** It was away when the task was over and let go, and nobody can tell it so: it must not run it now. */
  missedItsEnd(host: string, id: string): boolean {
    return this.#missed.get(host)?.has(id) === true;
  }

  wroteLater(id: string, fact: Fact): void {
    this.laterFacts.push({ id, store: fact.store, seq: fact.seq, hash: factHash(fact) });
  }
}
