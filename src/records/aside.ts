/**
 * Records that this store has set aside, under `q/`: nobody here runs, offers or counts them, and whoever asks is told.
 * The value keeps the checksum of the key that it had, as renewed stores write it (store-identity.ts).
 */
import type { Store, StoreOp } from '../ports/store.ts';
import { seal, unseal } from './checked-store.ts';
import { keysOf } from './keys.ts';
import { decodeRecord, encodeRecord, type RecordState } from './record.ts';

const ASIDE = 'q/';

export class AsideRecords {
  readonly #store: Store;
  readonly #ids = new Set<string>();
  /** For a while they are not taken back from anybody: who offers them may have been away as well. */
  isHeld: (id: string) => boolean = () => false;

  constructor(store: Store) {
    this.#store = store;
  }

  load(): void {
    for (const id of keysOf(this.#store, ASIDE)) this.#ids.add(id);
  }

  get count(): number {
    return this.#ids.size;
  }

  ids(): string[] {
    return [...this.#ids];
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  get(id: string): RecordState | undefined {
    const sealed = this.#ids.has(id) ? this.#store.get(ASIDE + id) : undefined;
    const bytes = sealed === undefined ? undefined : unseal(`r/${id}`, sealed);
    return bytes === undefined ? undefined : decodeRecord(bytes);
  }

  /** To be written behind the removal of the record: the payload stays where it was. */
  putOps(record: RecordState, blob: Uint8Array | undefined): StoreOp[] {
    const { id } = record;
    const value = seal(`r/${id}`, encodeRecord(record));
    const kept: StoreOp[] = blob === undefined ? [] : [{ put: `b/${id}`, value: blob }];
    return [{ put: ASIDE + id, value }, ...kept];
  }

  /** To be written with what brings the record back. */
  removalOps(id: string): StoreOp[] {
    return this.#ids.has(id) ? [{ del: ASIDE + id }] : [];
  }

  /** What was written is durable. */
  written(id: string, isAside: boolean): void {
    if (isAside) this.#ids.add(id);
    else this.#ids.delete(id);
  }
}
