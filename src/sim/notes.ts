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

/** A fact of a type, or with members, that the version of now does not know. */
export interface LaterFact {
  readonly id: string;
  readonly store: StoreId;
  readonly seq: number;
  readonly hash: string;
}

interface Dropped {
  readonly record: RecordState;
  /** By the first store. */
  readonly atMs: number;
}

export class Notes {
  /** By the operator's word; each stays so for good. */
  readonly forgotten = new Set<StoreId>();
  readonly laterFacts: LaterFact[] = [];
  readonly #dropped = new Map<string, Dropped>();
  /** By host: when its daemon went down for longer than its neighbours remember what is over. */
  readonly #awaySinceMs = new Map<string, number>();

  /** A store lets a record go that is over. */
  drop(record: RecordState, atMs: number): void {
    const known = this.#dropped.get(record.id);
    const joined = known === undefined ? record : joinRecords(known.record, record);
    this.#dropped.set(record.id, { record: joined, atMs: known?.atMs ?? atMs });
  }

  /** All that was known of it to those that let it go. */
  dropped(id: string): RecordState | undefined {
    return this.#dropped.get(id)?.record;
  }

  get allDropped(): ReadonlyMap<string, RecordState> {
    return new Map([...this.#dropped].map(([id, { record }]) => [id, record]));
  }

  goesAway(host: string, atMs: number): void {
    this.#awaySinceMs.set(host, atMs);
  }

  /** It was away when the task was over and let go, and nobody may have told it so: it must not run it now. */
  missedItsEnd(host: string, id: string): boolean {
    const sinceMs = this.#awaySinceMs.get(host) ?? Number.POSITIVE_INFINITY;
    return (this.#dropped.get(id)?.atMs ?? Number.NEGATIVE_INFINITY) > sinceMs;
  }

  wroteLater(id: string, fact: Fact): void {
    this.laterFacts.push({ id, store: fact.store, seq: fact.seq, hash: factHash(fact) });
  }
}
