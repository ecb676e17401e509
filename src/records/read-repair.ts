/**
 * Read repair (Dynamo §4.5): a read that saw different versions of a record brings the stores whose version was older
 * up to the join. An accelerator only: what is skipped here, anti-entropy finds within seconds.
 */
import type { Messaging } from '../wire/messaging.ts';
import type { StoreDirectory } from './directory.ts';
import { contentHash, encodeRecord, type RecordState, type StoreId } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';

/** Repairs under way; a read beyond that repairs nothing. */
export const REPAIRS_AT_ONCE = 8;
/** Repairs remembered, so that many reads of one record send it once. */
const RECENT_MAX = 1_000;

export class ReadRepair {
  readonly #replica: Replica;
  readonly #sharing: Sharing;
  readonly #messaging: Messaging;
  readonly #directory: StoreDirectory;
  /** `id store` → the version that was sent there last. */
  readonly #recent = new Map<string, string>();
  #running = 0;

  constructor(deps: {
    replica: Replica;
    sharing: Sharing;
    messaging: Messaging;
    directory: StoreDirectory;
  }) {
    this.#replica = deps.replica;
    this.#sharing = deps.sharing;
    this.#messaging = deps.messaging;
    this.#directory = deps.directory;
  }

  /** What a read was told by each store, and the join of all of it. */
  saw(joined: RecordState, copies: ReadonlyMap<StoreId, RecordState>): void {
    const version = contentHash(joined);
    for (const [store, copy] of copies) {
      // Another payload would have to travel with it; anti-entropy does that.
      if (contentHash(copy) === version || copy.blobDigest !== joined.blobDigest) continue;
      const key = `${joined.id} ${store}`;
      if (this.#running >= REPAIRS_AT_ONCE || this.#recent.get(key) === version) continue;
      this.#remember(key, version);
      this.#running += 1;
      void this.#repair(store, joined).then((done) => {
        this.#running -= 1;
        if (!done) this.#recent.delete(key);
      });
    }
  }

  #remember(key: string, version: string): void {
    this.#recent.delete(key);
    this.#recent.set(key, version);
    const oldest = this.#recent.keys().next();
    if (this.#recent.size > RECENT_MAX && !oldest.done) this.#recent.delete(oldest.value);
  }

  async #repair(store: StoreId, record: RecordState): Promise<boolean> {
    if (store === this.#replica.storeId) {
      const own = { record, blob: undefined, fresh: false, standIn: false };
      return (await this.#sharing.accept(own)).ok;
    }
    const peer = this.#directory.peerOf(store);
    if (peer === undefined) return false;
    const body = { record: encodeRecord(record), fresh: false, stand_in: false };
    return (await this.#messaging.call(peer, 'rec.put', body)).ok;
  }
}
