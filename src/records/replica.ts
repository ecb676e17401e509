/**
 * The records of this store: one queue per record, durable before visible.
 *
 * Every change of a record passes `change`: its decision runs on the newest durable version, alone, and what it
 * decides is synced before anybody sees it. Nothing may be decided outside from a version read earlier.
 *
 * Keys:  r/ID record   b/ID blob   u/ID marks the unfinished   d/MS/ID final records by drop time
 *        t/ID tombstone   s/ID marks a counted stand-in copy   x/LEAF/ID is what partner-index.ts says
 *        h/ID marks a final that too few stores have (visibility.ts of the tasks room)
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Room } from '../ports/room.ts';
import { type AppendResult, prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { AsideRecords } from './aside.ts';
import type { Change, Decision, KindRules } from './change.ts';
import { DropTimes } from './drop-times.ts';
import { buried, dropped } from './endings.ts';
import { keysOf } from './keys.ts';
import { PartnerIndex } from './partner-index.ts';
import {
  contentHash,
  joinRecords,
  KEY_PREFIX,
  type RecordKind,
  type RecordState,
} from './record.ts';
import { RecordCache } from './record-cache.ts';
import { remainsOps, removalOps, tooLarge, writeOps } from './record-ops.ts';
import type { StoreIdentity } from './store-identity.ts';
import { stoneOp, type Tombstone, Tombstones } from './tombstone.ts';

/** Changes of one record that wait for the disk; a client that repeats itself faster gets BUSY. */
export const RECORD_QUEUE_MAX = 512;
/** Unfinished records of one store: each is held in memory (about 2 KiB without its payload). */
export const UNFINISHED_MAX = 1_000_000;
/** Dedupe keys of one store: on the disk alone, about 0.5 KiB each, but a start reads all of them once. */
export const KEYS_MAX = 1_000_000;

export type { Change, Decision, KindRules } from './change.ts';

export type VisibleListener = (after: RecordState, before: RecordState | undefined) => void;
export type GoneListener = (record: RecordState) => void;

export class Replica {
  /** What is shared with whom, for the Merkle trees. */
  readonly shared: PartnerIndex;
  /** What is held here and out of everybody's way. */
  readonly aside: AsideRecords;
  readonly #store: Store;
  readonly #identity: StoreIdentity;
  readonly #rules: Readonly<Record<RecordKind, KindRules>>;
  readonly #onFailed: (detail: string) => void;
  readonly #runningMs: () => number;
  readonly #unfinished = new Map<string, RecordState>();
  readonly #cache = new RecordCache();
  readonly #stones: Tombstones;
  readonly #dropTimes: DropTimes;
  /** As everybody sees them, while another version is on its way to the disk, or there already. */
  readonly #writing = new Map<string, RecordState>();
  readonly #queues = new Map<string, { tail: Promise<void>; length: number }>();
  readonly #listeners: VisibleListener[] = [];
  readonly #goneListeners: GoneListener[] = [];
  #held = 0;
  #heldKeys = 0;
  #failed = false;
  #closed = false;

  constructor(deps: {
    store: Store;
    identity: StoreIdentity;
    rules: Readonly<Record<RecordKind, KindRules>>;
    /** The disk failed: nothing may be acknowledged any more. */
    onFailed: (detail: string) => void;
    /** How long this store has run: what tombstones are stamped with. */
    runningMs: () => number;
  }) {
    this.#store = deps.store;
    this.#stones = new Tombstones(deps.store);
    this.#dropTimes = new DropTimes(deps.store);
    this.shared = new PartnerIndex(deps.store);
    this.#identity = deps.identity;
    this.#rules = deps.rules;
    this.#onFailed = deps.onFailed;
    this.#runningMs = deps.runningMs;
    this.aside = new AsideRecords(deps.store);
  }

  /** Reads the unfinished records into memory. Once, before anything else. */
  load(): void {
    for (const id of keysOf(this.#store, 'u/')) {
      const record = this.#read(id);
      // Damaged: not held here, until it was fetched again (repair.ts).
      if (record !== undefined) this.#unfinished.set(id, record);
    }
    this.aside.load();
    this.recount();
  }

  /** What is held, counted anew: some of it was found damaged. */
  recount(): void {
    this.#held = 0;
    this.#heldKeys = 0;
    for (const id of keysOf(this.#store, 'r/')) this.#count(id, 1);
  }

  get storeId(): string {
    return this.#identity.storeId;
  }

  #count(id: string, more: 1 | -1): void {
    this.#held += more;
    if (id.startsWith(KEY_PREFIX)) this.#heldKeys += more;
  }

  /** Records held here, final ones and keys included. */
  get heldCount(): number {
    return this.#held;
  }

  /** Dedupe keys among them. */
  get heldKeys(): number {
    return this.#heldKeys;
  }

  /** What the disk has room for. */
  get room(): Room {
    return this.#store.room();
  }

  onVisible(listener: VisibleListener): void {
    this.#listeners.push(listener);
  }

  /** Called with every record that was forgotten here. */
  onGone(listener: GoneListener): void {
    this.#goneListeners.push(listener);
  }

  /** Whether a record that came from elsewhere can be read by the rules of its kind. */
  isReadable(record: RecordState): boolean {
    return this.#rules[record.kind].isReadable(record);
  }

  /** The durable version. */
  get(id: string): RecordState | undefined {
    return this.#unfinished.get(id) ?? this.#read(id);
  }

  unfinished(): IterableIterator<RecordState> {
    return this.#unfinished.values();
  }

  isUnfinished(id: string): boolean {
    return this.#unfinished.has(id);
  }

  get unfinishedCount(): number {
    return this.#unfinished.size;
  }

  blob(id: string): Uint8Array | undefined {
    return this.#store.get(`b/${id}`);
  }

  isStandIn(id: string): boolean {
    return this.#store.get(`s/${id}`) !== undefined;
  }

  tombstone(id: string): Tombstone | undefined {
    return this.#stones.get(id);
  }

  /** Ids of held records in order; `before` and `after` are exclusive. */
  ids(query: { after?: string; before?: string; limit: number; newestFirst?: boolean }): string[] {
    return this.#store
      .range({
        from: query.after === undefined ? 'r/' : `r/${query.after}\x00`,
        to: query.before === undefined ? prefixEnd('r/') : `r/${query.before}`,
        limit: query.limit,
        reverse: query.newestFirst ?? false,
      })
      .map((entry) => entry.key.slice(2));
  }

  /** Ids of final records whose drop time has passed, the earliest first. */
  droppable(nowWallMs: number, limit: number): string[] {
    return this.#dropTimes.passed(nowWallMs, limit);
  }

  /** Ids of final records whose drop time lies behind `fromMs` and not behind `toMs`. */
  droppingBetween(fromMs: number, toMs: number, limit: number): string[] {
    return this.#dropTimes.between(fromMs, toMs, limit);
  }

  /** Final records whatever their drop time, page by page. */
  byDropTime(mark: string, limit: number): { readonly mark: string; readonly id: string }[] {
    return this.#dropTimes.from(mark, limit);
  }

  /** A key that nobody has used for so long that everybody forgets it (tasks have tombstones); what was set aside. */
  isForgotten(record: RecordState, nowWallMs: number): boolean {
    if (this.aside.has(record.id) && this.aside.isHeld(record.id)) return true;
    if (record.kind !== 'key') return false;
    return (this.#rules.key.dropAtMs(record) ?? nowWallMs) < nowWallMs;
  }

  /**
   * Before the store is closed: every later change is refused. Rounds that were under way (anti-entropy, hand-off,
   * retention) come to it after their next answer, and would write to a closed store.
   */
  close(): void {
    this.#closed = true;
  }

  dropAtMs(record: RecordState): number | undefined {
    return this.#rules[record.kind].dropAtMs(record);
  }

  /** What is read of the record's entries may be durable and not visible yet, or the other way round. */
  isChanging(id: string): boolean {
    return this.#queues.has(id);
  }

  /** What everybody sees of records of which the disk may show something else by now. */
  beingWritten(): Iterable<RecordState> {
    return this.#writing.values();
  }

  /** Resolves when no change of the record is under way. */
  async settled(id: string): Promise<void> {
    await this.#queues.get(id)?.tail;
  }

  /** Runs the decision when it is the record's turn; resolves when what it decided is durable and visible. */
  async change<T>(
    id: string,
    decide: (change: Change) => Decision<T>,
  ): Promise<Result<T, CoveyError>> {
    const queue = this.#queues.get(id) ?? { tail: Promise.resolve(), length: 0 };
    if (queue.length >= RECORD_QUEUE_MAX) {
      return err(coveyError('BUSY', { what: `changes of ${id}`, retry_after_ms: 100 }));
    }
    this.#queues.set(id, queue);
    queue.length += 1;
    const run =
      queue.length === 1 ? this.#apply(id, decide) : queue.tail.then(() => this.#apply(id, decide));
    queue.tail = run.then(
      () => this.#leave(id, queue),
      () => this.#leave(id, queue),
    );
    return run;
  }

  #leave(id: string, queue: { length: number }): void {
    queue.length -= 1;
    if (queue.length === 0) this.#queues.delete(id);
  }

  async #apply<T>(
    id: string,
    decide: (change: Change) => Decision<T>,
  ): Promise<Result<T, CoveyError>> {
    if (this.#closed) return err(coveyError('STOPPING'));
    const current = this.get(id);
    const tombstone = current === undefined ? this.tombstone(id) : undefined;
    const decision = decide({
      current,
      tombstone,
      fact: (value) => ({ store: this.#identity.storeId, seq: this.#identity.nextSeq(), value }),
    });
    const aside = current === undefined ? this.aside.get(id) : undefined;
    // Back again: what only this store knew of it is joined.
    const next = decision.next && aside ? joinRecords(decision.next, aside) : decision.next;
    const forgotten = decision.forget === true ? current : undefined;
    if ((next === undefined || next === current) && forgotten === undefined) {
      // Extra operations alone (a marker) are written too.
      if (decision.extra === undefined || decision.extra.length === 0) return ok(decision.value);
    }
    const counter = this.#identity.seqOp();
    const batch = [
      counter.op,
      ...this.#opsOf(current, forgotten, { ...decision, next }),
      ...(next === undefined || next === current ? [] : this.aside.removalOps(id)),
      ...(decision.extra ?? []),
    ];
    const why = tooLarge(next, batch);
    if (why !== undefined) return err(coveyError('INVALID_PARAMS', { why }));
    if (current !== undefined) this.#writing.set(id, current);
    const written = await this.#store.append(batch, decision.purpose);
    this.#writing.delete(id);
    if (!written.ok) return err(this.#failureOf(written));
    this.#identity.synced(counter.seq);
    if (forgotten !== undefined) this.#hide(forgotten);
    else if (next !== undefined && next !== current) {
      // A final one is not kept in memory, and looked at again soon.
      if (this.#rules[next.kind].isFinal(next)) this.#cache.written(next, batch);
      this.#show(next, current);
    }
    if (next !== undefined) this.aside.written(id, false);
    return ok(decision.value);
  }

  #opsOf<T>(
    current: RecordState | undefined,
    forgotten: RecordState | undefined,
    { next, blob }: Decision<T>,
  ): StoreOp[] {
    if (forgotten !== undefined) return removalOps(this.#rules[forgotten.kind], forgotten);
    if (next === undefined) return [];
    const isMarked = this.#unfinished.has(next.id);
    return writeOps(this.storeId, this.#rules[next.kind], { current, next, blob, isMarked });
  }

  #failureOf(written: Extract<AppendResult, { ok: false }>): CoveyError {
    if (written.code === 'closed') return coveyError('STOPPING');
    if (written.code === 'failed' && !this.#failed) {
      this.#failed = true;
      this.#onFailed(written.detail);
    }
    const why = { peer: 'this peer', why: written.detail };
    return coveyError(written.code === 'full' ? 'STORE_FULL' : 'STORE_FAILED', why);
  }

  #hide(record: RecordState): void {
    this.#cache.delete(record.id);
    this.#count(record.id, -1);
    this.#unfinished.delete(record.id);
    for (const listener of this.#goneListeners) listener(record);
  }

  #show(next: RecordState, before: RecordState | undefined): void {
    if (before === undefined) this.#count(next.id, 1);
    if (this.#rules[next.kind].isFinal(next)) this.#unfinished.delete(next.id);
    else this.#unfinished.set(next.id, next);
    for (const listener of this.#listeners) listener(next, before);
  }

  /** Forgets a final record and leaves a tombstone. */
  drop(id: string, tombstone: Tombstone): Promise<Result<boolean, CoveyError>> {
    const about = { stone: this.#stone(id, tombstone), atMs: tombstone.droppedWallMs };
    return this.change(id, (change) => dropped(change, this.#rules, about));
  }

  /** Another store dropped the record after its final. */
  async bury(id: string, tombstone: Tombstone): Promise<Result<boolean, CoveyError>> {
    const { droppedWallMs } = tombstone;
    const about = { id, droppedWallMs, stone: this.#stone(id, tombstone), aside: this.aside };
    const done = await this.change(id, (change) => {
      const remains = change.current === undefined ? remainsOps(id, this.shared.get(id)) : [];
      return buried(change, this.#rules, { ...about, remains });
    });
    if (done.ok && done.value) this.aside.written(id, false);
    return done;
  }

  #stone(id: string, tombstone: Tombstone): StoreOp {
    return stoneOp(id, tombstone, this.#runningMs());
  }

  /** The counter behind the dots as this boot knows it. */
  counterOp(): StoreOp {
    return this.#identity.seqOp().op;
  }

  /** Ids of stand-in copies held here, in order, from behind `after`. */
  standIns(after: string, limit: number): string[] {
    return this.#store
      .range({ from: after === '' ? 's/' : `s/${after}\x00`, to: prefixEnd('s/'), limit })
      .map((entry) => entry.key.slice(2));
  }

  /** Deletes a stand-in copy if it is still the version that its home confirmed; keeps it, unmarked, in the home. */
  async releaseStandIn(
    confirmed: RecordState,
    inHome: boolean,
  ): Promise<Result<boolean, CoveyError>> {
    const { id } = confirmed;
    return this.change(id, ({ current }) => {
      if (current === undefined || contentHash(current) !== contentHash(confirmed))
        return { value: false };
      if (inHome) return { value: true, extra: [{ del: `s/${id}` }] };
      return { value: true, forget: true };
    });
  }

  /** Of the next `limit` tombstones those older than `ageMs` of running time are forgotten; answers how many. */
  async sweepTombstones(ageMs: number, limit: number): Promise<number> {
    return this.#closed ? 0 : this.#stones.sweep(this.#runningMs() - ageMs, limit);
  }

  #read(id: string): RecordState | undefined {
    const bytes = this.#store.get(`r/${id}`);
    return bytes === undefined ? undefined : this.#cache.read(id, bytes);
  }
}
