/**
 * What a damaged value comes to: it is not there for anybody who reads (checked-store.ts), the record is fetched again
 * from all who are in sight, and whoever counted on this copy hears that it is gone. A record that is in memory is
 * written again from there. What nobody has stays damaged, and is told of for as long as it lies on the disk.
 *
 * What is fetched is shown when all who are in sight have answered, as their join: one of them may have an older version,
 * and a client that read a final here must not find the task running.
 */
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import type { StoreOp } from '../ports/store.ts';
import { type CheckedStore, DAMAGED_MAX } from './checked-store.ts';
import type { Copy } from './copies.ts';
import type { StoreDirectory } from './directory.ts';
import { joinRecords } from './record.ts';
import type { Replica } from './replica.ts';
import { ASK_IDS_MAX, type Sharing } from './sharing.ts';
import { SEQ_KEY } from './store-identity.ts';

/** Records fetched again in one round; the next goes on. */
const ROUND_IDS_MAX = 1_024;
/** Records of which a line is logged each; a disk that has lost more is told of in one. */
const LINES_MAX = 20;
/** A member in sight that has not answered by then is not waited for. */
export const ANSWERS_WITHIN_MS = 10_000;
/** Members asked at once; one that does not answer must not keep a thousand others waiting. */
const ASKS_AT_ONCE = 8;
/** Of damaged values, for which the right key is looked for in one round: a quarter of a second. */
const RIGHTS_BYTES_MAX = 1_024 * 1_024;
/** Entries of the Merkle trees held against the records in one slice. */
const INDEX_PAGE = 320;
/** Read in one slice, which takes some milliseconds: all that waits meanwhile is that much later. */
const SCRUB_BYTES = 256 * 1_024;
/** Slices in one round: a gigabyte takes twenty minutes. */
export const SCRUB_SLICES = 16;

export interface RepairDeps {
  readonly store: CheckedStore;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly directory: StoreDirectory;
  readonly log: Logger;
  readonly clock: Clock;
  readonly sync: { recount(): void };
  /** What is hidden is told to nobody until it is revealed. */
  readonly visibility: () => {
    hide(id: string): void;
    /** Over a restart too. */
    keepHidden(ids: readonly string[]): Promise<void>;
    reveal(id: string): void;
  };
}

/** The record that a key of the store belongs to; undefined for what can be done without. */
const recordOf = (key: string): string | undefined => {
  // What the Merkle trees know of it is written again with it.
  if (key.startsWith('x/')) return key.slice(key.lastIndexOf('/') + 1);
  return key.startsWith('r/') || key.startsWith('b/') ? key.slice(2) : undefined;
};

export class Repair {
  readonly #deps: RepairDeps;
  /** Lost here, and not shown before all have answered: since when. */
  readonly #hidden = new Map<string, number>();
  /** Of which something is under no key any more: the damage was in the key. */
  readonly #missing = new Set<string>();
  /** Where the comparison with the Merkle trees goes on. */
  #indexMark = '';
  /** Found since the last round. */
  #found: string[] = [];
  /** Told to the log already. */
  readonly #told = new Set<string>();
  /** Of damaged keys: what they were written under, if that could be told. */
  readonly #rights = new Map<string, string | undefined>();
  /** Of the records that were tried in the last round. */
  #last = '';
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

  /** A read found it damaged. What is in memory as well is not lost. */
  found(key: string): void {
    const { replica, visibility, clock } = this.#deps;
    const id = key.slice(2);
    if (!key.startsWith('r/') || this.#hidden.has(id) || replica.isUnfinished(id)) return;
    this.#hidden.set(id, clock.nowMs());
    this.#found.push(id);
    visibility().hide(id);
  }

  /** A slice of the store is read for its own sake. True at the end of a pass. */
  scrub(): boolean {
    this.#findMissing();
    return this.#deps.store.scrub(SCRUB_BYTES);
  }

  /**
   * A bit that turned in a key leaves a value under a key that nobody asks for, and nothing under its own. Partners see
   * equal sums, which are made of other entries: so each entry is held against what it stands for.
   */
  #findMissing(): void {
    const { store, replica, log } = this.#deps;
    const page = replica.shared.page(this.#indexMark, INDEX_PAGE);
    this.#indexMark = page.mark;
    for (const { id, dropAtMs } of page.entries) {
      const isMarked = dropAtMs !== Number.POSITIVE_INFINITY || store.get(`u/${id}`) !== undefined;
      const isHere = isMarked && store.get(`r/${id}`) !== undefined;
      if (isHere || replica.isChanging(id) || this.#missing.has(id)) continue;
      if (this.#missing.size >= DAMAGED_MAX) return;
      this.#missing.add(id);
      this.found(`r/${id}`);
      if (this.#missing.size <= LINES_MAX) log.log('error', 'a key is damaged', { record: id });
    }
  }

  /** One round, when there is something to do; answers how many records are whole again. */
  async round(): Promise<number> {
    const { store, replica } = this.#deps;
    const keys = store.damaged();
    const isWhole = keys.length === 0 && this.#hidden.size === 0 && this.#missing.size === 0;
    if (isWhole || this.#running) return 0;
    this.#running = true;
    try {
      if (this.#tell(keys)) this.#recount();
      this.#lookForRights(keys);
      // Before anything is fetched: a copy that is whole again, and old, shows nothing of what it was.
      await this.#deps.visibility().keepHidden(this.#found.splice(0));
      await this.#removeOthers(keys);
      const damaged = keys.flatMap((key) => this.#recordsOf(key));
      const lost = this.#inTurn(new Set([...this.#hidden.keys(), ...this.#missing, ...damaged]));
      for (const id of lost) await this.#rewrite(id);
      // A tree that was built meanwhile lacks it, and a change of a record that it lacks leaves it lacking.
      const left = new Set(store.damaged());
      if (keys.some((key) => key.startsWith('x/') && !left.has(key))) this.#deps.sync.recount();
      for (let i = 0; i < lost.length; i += ASK_IDS_MAX)
        await this.#fetch(lost.slice(i, i + ASK_IDS_MAX));
      for (const id of this.#missing)
        if (store.get(`r/${id}`) !== undefined || replica.shared.get(id) === undefined)
          this.#missing.delete(id);
      await this.#removeMisplaced();
      const still = new Set([
        ...this.#missing,
        ...store.damaged().flatMap((key) => this.#recordsOf(key)),
      ]);
      const healed = lost.filter((id) => !still.has(id)).length;
      this.#repaired += healed;
      if (healed > 0)
        this.#deps.log.log('info', 'what was damaged was fetched again', { records: healed });
      return healed;
    } finally {
      this.#running = false;
    }
  }

  /** What nobody has must not keep the rest from its turn. */
  #inTurn(ids: ReadonlySet<string>): string[] {
    const all = [...ids].sort();
    const next = all.filter((id) => id > this.#last);
    const lost = [...next, ...all.filter((id) => id <= this.#last)].slice(0, ROUND_IDS_MAX);
    this.#last = lost.at(-1) ?? '';
    return lost;
  }

  /** Of a key in which a bit has turned, the record that its value is of lacks it. */
  #recordsOf(key: string): string[] {
    return [key, this.#rights.get(key)].flatMap((one) => (one && recordOf(one)) ?? []);
  }

  /** What is held is not what was counted. */
  #recount(): void {
    this.#deps.replica.recount();
    this.#deps.sync.recount();
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

  /**
   * Before anything is removed: what lies under a key of which a bit has turned may be the payload of a record, or what the
   * Merkle trees know of it. Nothing else tells that the record is without it, and partners would take it for whole.
   */
  #lookForRights(keys: readonly string[]): void {
    const { store } = this.#deps;
    const damaged = new Set(keys);
    for (const key of this.#rights.keys()) if (!damaged.has(key)) this.#rights.delete(key);
    let bytes = 0;
    for (const key of keys) {
      if (this.#rights.has(key)) continue;
      if (bytes >= RIGHTS_BYTES_MAX) return;
      const { right, valueBytes } = store.writtenUnder(key);
      bytes += valueBytes;
      this.#rights.set(key, right);
      if (right !== undefined && store.get(right) === undefined) this.found(right);
    }
  }

  /** What lies under a key of which a bit has turned is nobody's, once there is something under the right one again. */
  async #removeMisplaced(): Promise<void> {
    const { store, log } = this.#deps;
    const damaged = new Set(store.damaged());
    for (const [key, right] of this.#rights) {
      if (right === undefined || !damaged.has(key) || store.get(right) === undefined) continue;
      const removed = await store.append([{ del: key }]);
      if (removed.ok) log.log('info', 'what lay under a damaged key was removed', { key, right });
    }
  }

  /** Tombstones, tails: others have them, or nobody needs them. Without its counter the store would seem to have gone back. */
  async #removeOthers(keys: readonly string[]): Promise<void> {
    const { store, replica } = this.#deps;
    const others = keys.filter(
      (key) => (this.#rights.has(key) || key === SEQ_KEY) && this.#recordsOf(key).length === 0,
    );
    if (others.length > 0)
      await store.append(others.map((del) => (del === SEQ_KEY ? replica.counterOp() : { del })));
  }

  /** Of unfinished records the whole version is in memory. Its mark may be what was damaged: no other change writes it. */
  async #rewrite(id: string): Promise<void> {
    const { replica } = this.#deps;
    const mark: StoreOp = { put: `u/${id}`, value: new Uint8Array(0) };
    await replica.change(id, ({ current }) =>
      current === undefined
        ? { value: false }
        : { value: true, next: { ...current }, extra: replica.isUnfinished(id) ? [mark] : [] },
    );
  }

  async #fetch(ids: readonly string[]): Promise<void> {
    const { replica, sharing, directory } = this.#deps;
    const copies = new Map<string, Copy>();
    let isComplete = true;
    const others = directory.present().filter((store) => store !== replica.storeId);
    const left = others.values();
    const askSome = async (): Promise<void> => {
      for (const store of left) {
        const peer = directory.peerOf(store);
        const answer =
          peer === undefined ? undefined : await sharing.ask(peer, ids, true, undefined, true);
        if (!answer?.ok) isComplete = false;
        else for (const copy of answer.value) join(copies, copy);
      }
    };
    await Promise.all(Array.from({ length: ASKS_AT_ONCE }, askSome));
    for (const { record, blob } of copies.values()) {
      const standIn = replica.isStandIn(record.id);
      await sharing.accept({ record, blob, fresh: false, standIn });
    }
    for (const id of ids) this.#show(id, isComplete);
  }

  #show(id: string, isComplete: boolean): void {
    const { clock, visibility } = this.#deps;
    const sinceMs = this.#hidden.get(id);
    if (sinceMs === undefined) return;
    if (!isComplete && clock.nowMs() - sinceMs < ANSWERS_WITHIN_MS) return;
    this.#hidden.delete(id);
    visibility().reveal(id);
  }
}

function join(copies: Map<string, Copy>, copy: Copy): void {
  const known = copies.get(copy.record.id);
  const record = known === undefined ? copy.record : joinRecords(known.record, copy.record);
  const isOther = record.blobDigest !== copy.record.blobDigest;
  copies.set(record.id, { record, blob: isOther ? known?.blob : (copy.blob ?? known?.blob) });
}
