/**
 * What a damaged value comes to: it is not there for anybody who reads (checked-store.ts), the record is fetched again
 * from all who are in sight, and whoever counted on this copy hears that it is gone. A record that is in memory is
 * written again from there. What nobody has stays damaged, and is told of for as long as it lies on the disk.
 */
import type { Logger } from '../base/telemetry.ts';
import type { StoreOp } from '../ports/store.ts';
import type { CheckedStore } from './checked-store.ts';
import type { StoreDirectory } from './directory.ts';
import type { Replica } from './replica.ts';
import { ASK_IDS_MAX, type Sharing } from './sharing.ts';

/** Records fetched again in one round; the next goes on. */
const ROUND_IDS_MAX = 1_024;
/** Records of which a line is logged each; a disk that has lost more is told of in one. */
const LINES_MAX = 20;
/** Read in one round: a gigabyte takes twenty minutes, and a round some ten milliseconds. */
const SCRUB_BYTES = 4 * 1_024 * 1_024;

export interface RepairDeps {
  readonly store: CheckedStore;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly directory: StoreDirectory;
  readonly log: Logger;
  /** What is held is not what was counted: to be counted anew. */
  readonly recount: () => void;
}

/** The record that a key of the store belongs to; undefined for what can be done without. */
const recordOf = (key: string): string | undefined => {
  // What the Merkle trees know of it is written again with it.
  if (key.startsWith('x/')) return key.slice(key.lastIndexOf('/') + 1);
  return key.startsWith('r/') || key.startsWith('b/') ? key.slice(2) : undefined;
};

export class Repair {
  readonly #deps: RepairDeps;
  /** Told to the log already. */
  readonly #told = new Set<string>();
  #repaired = 0;
  #running = false;

  constructor(deps: RepairDeps) {
    this.#deps = deps;
  }

  /** Values that are damaged now. */
  get damaged(): number {
    return this.#deps.store.damaged().length;
  }

  /** Records that were damaged and are whole again, since the start. */
  get repaired(): number {
    return this.#repaired;
  }

  /** A piece of the store is read for its own sake. */
  scrub(): void {
    this.#deps.store.scrub(SCRUB_BYTES);
  }

  /** One round, when there is something to do; answers how many records are whole again. */
  async round(): Promise<number> {
    const { store } = this.#deps;
    const keys = store.damaged();
    if (keys.length === 0 || this.#running) return 0;
    this.#running = true;
    try {
      if (this.#tell(keys)) this.#deps.recount();
      await this.#removeOthers(keys.filter((key) => recordOf(key) === undefined));
      const ids = new Set(keys.flatMap((key) => recordOf(key) ?? []));
      const lost = [...ids].slice(0, ROUND_IDS_MAX);
      for (const id of lost) await this.#rewrite(id);
      for (let i = 0; i < lost.length; i += ASK_IDS_MAX)
        await this.#fetch(lost.slice(i, i + ASK_IDS_MAX));
      const still = new Set(store.damaged().flatMap((key) => recordOf(key) ?? []));
      const healed = lost.filter((id) => !still.has(id)).length;
      this.#repaired += healed;
      return healed;
    } finally {
      this.#running = false;
    }
  }

  /** Whether there is news among them. */
  #tell(keys: readonly string[]): boolean {
    const { log } = this.#deps;
    const news = keys.filter((key) => !this.#told.has(key));
    for (const key of news.slice(0, LINES_MAX))
      log.log('error', 'a damaged value was set aside', { key });
    if (news.length > LINES_MAX)
      log.log('error', 'damaged values were set aside', { count: news.length });
    this.#told.clear();
    for (const key of keys) this.#told.add(key);
    return news.length > 0;
  }

  /** Tombstones, tails: others have them, or nobody needs them. */
  async #removeOthers(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#deps.store.append(keys.map((del): StoreOp => ({ del })));
  }

  /** Of unfinished records the whole version is in memory. */
  async #rewrite(id: string): Promise<void> {
    await this.#deps.replica.change(id, ({ current }) =>
      current === undefined ? { value: false } : { value: true, next: { ...current } },
    );
  }

  async #fetch(ids: readonly string[]): Promise<void> {
    const { replica, sharing, directory } = this.#deps;
    for (const store of directory.present()) {
      const peer = directory.peerOf(store);
      if (peer === undefined) continue;
      const copies = await sharing.ask(peer, ids, true, undefined, true);
      if (!copies.ok) continue;
      for (const { record, blob } of copies.value) {
        const standIn = replica.isStandIn(record.id);
        await sharing.accept({ record, blob, fresh: false, standIn });
      }
    }
  }
}
