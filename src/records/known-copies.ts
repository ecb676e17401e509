/**
 * What other stores confirmed to hold of a record, so that a change travels as its new facts alone. In memory only:
 * forgetting it costs a larger message, never a copy.
 */
import {
  clockOf,
  covers,
  factsBeyond,
  type RecordState,
  type StoreId,
  type VersionVector,
} from './record.ts';

/** Records remembered; the oldest are forgotten. */
const RECORDS_MAX = 200_000;

interface KnownCopy {
  /** The other store has all facts of ours up to here, … */
  readonly clock: VersionVector;
  /** … which were so many. */
  readonly facts: number;
  /** It said that they are on its disk. Not so of who merely sent the record: its own disk may be full. */
  readonly confirmed: boolean;
}

export class KnownCopies {
  readonly #known = new Map<string, Map<StoreId, KnownCopy>>();

  /** The store confirmed this version. */
  confirmed(record: RecordState, store: StoreId): void {
    this.#set(record.id, store, {
      clock: clockOf(record),
      facts: record.facts.length,
      confirmed: true,
    });
  }

  /** The store knows the record, in which version is not known; whether it holds it is for it to say. */
  mentioned(id: string, store: StoreId): void {
    if (this.#known.get(id)?.has(store) !== true)
      this.#set(id, store, { clock: {}, facts: 0, confirmed: false });
  }

  /** The store said that it has all of this record. Only then may it count without being asked. */
  hasAll(record: RecordState, store: StoreId): boolean {
    const base = this.baseAt(record, store);
    const isConfirmed = this.#known.get(record.id)?.get(store)?.confirmed === true;
    return isConfirmed && base !== undefined && covers(base, clockOf(record));
  }

  /**
   * The clock up to which the other store has all that this record holds. None if a gap below it has been filled
   * since: a start that came with its end, before the facts that its author wrote earlier.
   */
  baseAt(record: RecordState, store: StoreId): VersionVector | undefined {
    const known = this.#known.get(record.id)?.get(store);
    if (known === undefined) return undefined;
    const covered = record.facts.length - factsBeyond(record, known.clock).length;
    return covered === known.facts ? known.clock : undefined;
  }

  /** The store said that it does not hold the record any more. */
  lost(id: string, store: StoreId): void {
    this.#known.get(id)?.delete(store);
  }

  forget(id: string): void {
    this.#known.delete(id);
  }

  #set(id: string, store: StoreId, copy: KnownCopy): void {
    let stores = this.#known.get(id);
    if (stores === undefined) {
      const oldest = this.#known.keys().next();
      if (this.#known.size >= RECORDS_MAX && !oldest.done) this.#known.delete(oldest.value);
      stores = new Map();
      this.#known.set(id, stores);
    }
    stores.set(store, copy);
  }
}
