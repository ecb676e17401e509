/**
 * Copies of records on other stores: how a change reaches the stores of its home and their stand-ins, and how a
 * store answers what it holds. Messages: `rec.put` (a record or its newest facts), `rec.ask` (what do you hold).
 * A copy counts when the other store said that it is durable there. Nothing here decides what a record means.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { digestOf } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import type { StoreOp } from '../ports/store.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import { type Accepted, type Copy, type Incoming, readCopies } from './copies.ts';
import type { StoreDirectory } from './directory.ts';
import { Gathering, type Spread } from './gather.ts';
import { KnownCopies } from './known-copies.ts';
import {
  clockOf,
  covers,
  decodeFacts,
  decodeRecord,
  encodeFacts,
  encodeRecord,
  factsBeyond,
  homeOf,
  joinRecords,
  type RecordState,
  type StoreId,
} from './record.ts';
import { type Decision, KEYS_MAX, type Replica, UNFINISHED_MAX } from './replica.ts';
import { decodeTombstone, encodeTombstone } from './tombstone.ts';

/** Ids in one `rec.ask`: the answer carries whole records. */
export const ASK_IDS_MAX = 64;
/** An answer to `rec.ask` ends with the record that passes this; the rest is asked for again. */
const ASK_BYTES_MAX = 2 * 1_024 * 1_024;
export interface SharingDeps {
  readonly replica: Replica;
  readonly messaging: Messaging;
  readonly clock: Clock;
  readonly directory: StoreDirectory;
  /** Of a key that was read: what lies under it is not what was written. */
  readonly isDamaged: (key: string) => boolean;
  /** Equal for two creations that are the same request. */
  readonly requestDigest: (record: RecordState) => string;
  /** May add facts to a creation in the very write that first stores it (the owner's first attempt). */
  readonly enrich: (
    record: RecordState,
    fact: (value: WireMap) => RecordState['facts'][number],
  ) => RecordState;
}

type Taking = Decision<Result<Accepted, CoveyError>>;

const refuse = (error: CoveyError): Taking => ({ value: err(error) });

export class Sharing {
  readonly #deps: SharingDeps;
  readonly #known = new KnownCopies();

  constructor(deps: SharingDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('rec.put', (from, body) => this.#onPut(from, body));
    deps.messaging.onRequest('rec.ask', (from, body) => this.#onAsk(from, body));
    deps.replica.onGone((record) => this.#known.forget(record.id));
  }

  /** Joins what came from elsewhere into this store, durably. */
  async accept(incoming: Incoming): Promise<Result<Accepted, CoveyError>> {
    const { record, blob, fresh, isFirst, standIn } = incoming;
    const { replica, requestDigest, enrich } = this.#deps;
    const mark: StoreOp = { put: `s/${record.id}`, value: new Uint8Array(0) };
    const done = await replica.change<Result<Accepted, CoveyError>>(record.id, (change) => {
      const { current, tombstone } = change;
      if (tombstone !== undefined) {
        return {
          value: ok({ outcome: 'tombstone', final: tombstone.final, digest: tombstone.digest }),
        };
      }
      if (!replica.isReadable(record)) {
        return refuse(coveyError('INVALID_PARAMS', { why: `${record.id} cannot be read` }));
      }
      const refusal = current === undefined ? this.#refusalOf(incoming) : undefined;
      if (refusal !== undefined) return refuse(refusal);
      if (fresh && current !== undefined && requestDigest(current) !== requestDigest(record)) {
        return refuse(coveyError('ID_CONFLICT', { id: record.id }));
      }
      const joined = current === undefined ? record : joinRecords(current, record);
      // Of two creations under one id the other one may stand after the join, and its payload with it.
      const isBlobNew = joined.blobDigest !== '' && joined.blobDigest !== current?.blobDigest;
      const isBlobLost = !isBlobNew && blob !== undefined && replica.blob(record.id) === undefined;
      if (isBlobNew && blob === undefined) {
        // Half a task is no copy: whoever counts us would count on a payload that is not here.
        const why = `the payload of ${record.id} is missing`;
        return refuse(coveyError('INVALID_PARAMS', { why }));
      }
      // A repeated creation may find the task, even its end, at stores that this one has not heard yet: only of
      // a first one is it known that nobody can hold more.
      const mayAdd = fresh && isFirst === true && current === undefined;
      const whole = isBlobLost ? { ...joined } : joined;
      const next = mayAdd ? enrich(whole, change.fact) : whole;
      const stored: Accepted = { outcome: 'stored', record: next, existed: current !== undefined };
      // Whatever brings it (a takeover, say, whose answers crossed a handoff): without the mark it would stay for ever.
      const extra = standIn || !homeOf(next).includes(replica.storeId) ? [mark] : [];
      const purpose = current !== undefined ? 'settle' : fresh ? 'create' : 'extend';
      const decision: Taking = { value: ok(stored), next, extra, purpose };
      return blob !== undefined && (isBlobNew || isBlobLost) ? { ...decision, blob } : decision;
    });
    return done.ok ? done.value : done;
  }

  /** Why a record that is not here yet is not taken. */
  #refusalOf({ record, fresh, isFirst }: Incoming): CoveyError | undefined {
    // The stores of a home do not sweep in step: whoever still has a forgotten key would bring it back for ever.
    if (this.isForgotten(record)) return coveyError('ID_EXPIRED', { id: record.id });
    const { replica } = this.#deps;
    if (record.kind === 'key' && replica.heldKeys >= KEYS_MAX)
      return coveyError('BUSY', { what: 'dedupe keys', retry_after_ms: 60_000 });
    if (record.kind === 'task' && replica.unfinishedCount >= UNFINISHED_MAX)
      return coveyError('BUSY', { what: 'unfinished tasks', retry_after_ms: 1_000 });
    // A client that repeats itself would start anew what has run, and ended, as the damaged copy here may have said.
    if (fresh && isFirst !== true && this.#wasHeld(record.id))
      return coveyError('UNREACHABLE', { what: `${record.id}, whose copy here is damaged` });
    return undefined;
  }

  /** It is not here, and was: the value is damaged, or the key (then only its entry for the trees tells of it). */
  #wasHeld(id: string): boolean {
    const { isDamaged, replica } = this.#deps;
    return isDamaged(`r/${id}`) || replica.shared.get(id) !== undefined;
  }

  /** A key past its time; it is neither offered to others nor taken from them. */
  isForgotten(record: RecordState): boolean {
    return this.#deps.replica.isForgotten(record, this.#deps.clock.wallMs());
  }

  /**
   * Sends a record to `home` and, where one of those is dead, gone or slow, to stand-ins; resolves as soon as
   * `required` stores have it, or when no more can be had.
   */
  spread(
    incoming: Omit<Incoming, 'standIn'>,
    plan: { readonly home: readonly StoreId[]; readonly required: number },
  ): Promise<Spread> {
    const gathered: Promise<Spread> = this.#gather(
      plan,
      incoming.record.id,
      [],
      async (store, standIn) => {
        const done = await this.#put(store, { ...incoming, standIn });
        // A disk with little room takes no creation, and a copy of one that others took: it may be the task's owner.
        if (!done.ok && done.error.code === 'STORE_FULL' && !standIn)
          void gathered.then(({ storedOn }) => {
            if (storedOn.length < plan.required) return;
            void this.#put(store, { ...incoming, fresh: false, isFirst: false, standIn });
          });
        return done;
      },
    );
    return gathered;
  }

  async #put(store: StoreId, incoming: Incoming): Promise<Result<boolean, CoveyError>> {
    if (store !== this.#deps.replica.storeId) return this.#push(store, incoming.record, incoming);
    const accepted = await this.accept(incoming);
    if (!accepted.ok) return accepted;
    return ok(accepted.value.outcome === 'tombstone' || accepted.value.existed);
  }

  /**
   * Brings the other stores of its home up to this store's durable version of the record; this store counts.
   * Undefined: the record is not here.
   */
  async share(id: string, required: number): Promise<Spread | undefined> {
    const { replica } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return undefined;
    const plan = { home: homeOf(record), required };
    // The newest version each time: a stand-in is asked seconds later, and an older one would come behind a newer one.
    return this.#gather(plan, id, [replica.storeId], (store) => this.shareWith(id, store));
  }

  /** Brings one store up to this store's version of the record. */
  async shareWith(id: string, store: StoreId): Promise<Result<boolean, CoveyError>> {
    const record = this.#deps.replica.get(id);
    if (record === undefined) return err(coveyError('NOT_FOUND', { id }));
    const standIn = !homeOf(record).includes(store);
    return this.#push(store, record, { blob: this.#blobOf(record), fresh: false, standIn });
  }

  /**
   * What another member holds of these records, stand-in copies included. With `blobs`, payloads too: for a copy
   * that is to be kept here. `isLost`: this store held them and does not any more: nobody may count it any longer.
   */
  async ask(
    peer: string,
    ids: readonly string[],
    blobs: boolean,
    timeoutMs?: number,
    isLost = false,
  ): Promise<Result<Copy[], CoveyError>> {
    const copies: Copy[] = [];
    let left: readonly string[] = ids;
    while (left.length > 0) {
      const page = left.slice(0, ASK_IDS_MAX);
      const answer = await this.#deps.messaging.call(
        peer,
        'rec.ask',
        { ids: page, blobs, ...(isLost ? { lost: true } : {}) },
        { frameClass: 'bulk', ...(timeoutMs === undefined ? {} : { timeoutMs }) },
      );
      if (!answer.ok) return answer;
      copies.push(...readCopies(answer.value.copies));
      await this.buryAll(answer.value.stones);
      const answered =
        typeof answer.value.answered === 'number' ? answer.value.answered : page.length;
      left = left.slice(Math.max(1, answered));
    }
    return ok(copies);
  }

  /** Read when it is sent: most changes travel without it. */
  #blobOf(record: RecordState): () => Uint8Array | undefined {
    return () => (record.blobDigest === '' ? undefined : this.#deps.replica.blob(record.id));
  }

  #gather(
    plan: { readonly home: readonly StoreId[]; readonly required: number },
    id: string,
    already: readonly StoreId[],
    put: (store: StoreId, standIn: boolean) => Promise<Result<boolean, CoveyError>>,
  ): Promise<Spread> {
    const { clock, directory, replica } = this.#deps;
    // What was removed has no place: neither asked, nor missed.
    const home = plan.home.filter((store) => directory.statusOf(store) !== 'removed');
    const used = new Set([...home, ...already]);
    const reserve = directory
      .preference(id, used.size + home.length + plan.required)
      .filter((store) => !used.has(store));
    const isReachable = (store: StoreId): boolean => {
      const status = directory.statusOf(store);
      if (status === 'dead' || status === 'left') return false;
      return store === replica.storeId || directory.peerOf(store) !== undefined;
    };
    return new Gathering(clock, { ...plan, home, already, reserve, isReachable, put }).run();
  }

  async #push(
    store: StoreId,
    record: RecordState,
    options: {
      readonly blob: Uint8Array | undefined | (() => Uint8Array | undefined);
      readonly fresh: boolean;
      readonly isFirst?: boolean | undefined;
      readonly standIn: boolean;
    },
  ): Promise<Result<boolean, CoveyError>> {
    const { directory, messaging } = this.#deps;
    const peer = directory.peerOf(store);
    if (peer === undefined) return err(coveyError('UNREACHABLE', { what: `store ${store}` }));
    // A creation is always sent: what that store is known to hold under this id may be another request.
    const base = options.fresh ? undefined : this.#known.baseAt(record, store);
    // A stand-in may have handed its copy off and forgotten it: it is asked each time.
    const isKnown = !options.fresh && !options.standIn && this.#known.hasAll(record, store);
    if (isKnown) return ok(true);
    let answer: CallResult | undefined;
    if (base !== undefined) {
      const facts = encodeFacts(factsBeyond(record, base));
      answer = await messaging.call(peer, 'rec.put', { id: record.id, base, facts });
    }
    if (answer === undefined || (answer.ok && answer.value.need_full === true)) {
      const blob = typeof options.blob === 'function' ? options.blob() : options.blob;
      answer = await messaging.call(peer, 'rec.put', {
        record: encodeRecord(record),
        ...(blob === undefined ? {} : { blob }),
        fresh: options.fresh,
        ...(options.isFirst === true ? { first: true } : {}),
        stand_in: options.standIn,
      });
    }
    if (!answer.ok) return answer;
    const tombstone = decodeTombstone(answer.value.tombstone);
    if (tombstone !== undefined) await this.#deps.replica.bury(record.id, tombstone);
    else this.#known.confirmed(record, store);
    return ok(answer.value.existed === true);
  }

  /** Copies of what others dropped after its final must not run again here. */
  async buryAll(stones: WireValue | undefined): Promise<void> {
    if (!Array.isArray(stones)) return;
    for (const item of stones as WireValue[]) {
      const tombstone = decodeTombstone(item);
      if (!isWireMap(item) || typeof item.id !== 'string' || tombstone === undefined) continue;
      await this.#deps.replica.bury(item.id, tombstone);
    }
  }

  async #onPut(from: string, body: WireMap): Promise<CallResult> {
    if (typeof body.id === 'string') return this.#onDelta(from, body.id, body);
    const record = decodeRecord(body.record);
    if (record === undefined)
      return err(coveyError('INVALID_PARAMS', { why: 'rec.put without a record' }));
    const blob = body.blob instanceof Uint8Array ? body.blob : undefined;
    if (blob !== undefined && digestOf(blob) !== record.blobDigest) {
      return err(
        coveyError('INVALID_PARAMS', {
          why: `the payload of ${record.id} does not match its digest`,
        }),
      );
    }
    const accepted = await this.accept({
      record,
      blob,
      fresh: body.fresh === true,
      isFirst: body.first === true,
      standIn: body.stand_in === true,
    });
    if (!accepted.ok) return accepted;
    if (accepted.value.outcome === 'tombstone') return this.#buried(record.id);
    this.#learnFrom(from, accepted.value.record);
    return ok({ existed: accepted.value.existed });
  }

  async #onDelta(from: string, id: string, body: WireMap): Promise<CallResult> {
    const facts = decodeFacts(body.facts);
    const base = isWireMap(body.base) ? (body.base as Record<string, number>) : undefined;
    if (facts === undefined || base === undefined) {
      return err(coveyError('INVALID_PARAMS', { why: `rec.put of ${id} is malformed` }));
    }
    const done = await this.#deps.replica.change<
      RecordState | 'need_full' | 'tombstone' | 'unreadable'
    >(id, (change) => {
      const { current, tombstone } = change;
      if (tombstone !== undefined) return { value: 'tombstone' };
      if (current === undefined || !covers(clockOf(current), base)) return { value: 'need_full' };
      if (!this.#deps.replica.isReadable({ ...current, facts })) return { value: 'unreadable' };
      const next = joinRecords(current, { ...current, facts });
      return { value: next, next };
    });
    if (!done.ok) return done;
    if (done.value === 'need_full') return ok({ need_full: true });
    if (done.value === 'tombstone') return this.#buried(id);
    if (done.value === 'unreadable')
      return err(coveyError('INVALID_PARAMS', { why: `facts of ${id} cannot be read` }));
    this.#learnFrom(from, done.value);
    return ok({ existed: true });
  }

  /** The answer about a record that was dropped here. */
  #buried(id: string): CallResult {
    const stone = this.#deps.replica.tombstone(id);
    return ok({
      existed: true,
      ...(stone === undefined ? {} : { tombstone: encodeTombstone(stone) }),
    });
  }

  /** Who sent a record knows it: remember that, so that our next change travels as its facts alone. */
  #learnFrom(peer: string, record: RecordState): void {
    const store = this.#deps.directory.storeOfPeer(peer);
    if (store !== undefined && homeOf(record).includes(store)) {
      this.#known.mentioned(record.id, store);
    }
  }

  async #onAsk(from: string, body: WireMap): Promise<CallResult> {
    const ids = Array.isArray(body.ids) ? (body.ids as WireValue[]) : [];
    if (ids.length > ASK_IDS_MAX || !ids.every((id) => typeof id === 'string')) {
      return err(coveyError('INVALID_PARAMS', { why: `rec.ask takes ${ASK_IDS_MAX} ids at most` }));
    }
    const { replica, directory } = this.#deps;
    const asking = body.lost === true ? directory.storeOfPeer(from) : undefined;
    const copies: WireValue[] = [];
    const stones: WireValue[] = [];
    let bytes = 0;
    let answered = 0;
    for (const id of ids as string[]) {
      if (bytes > ASK_BYTES_MAX) break;
      answered += 1;
      if (asking !== undefined) this.#known.lost(id, asking);
      // A change under way may become durable after this answer: the asker must not miss it.
      await replica.settled(id);
      const record = replica.get(id);
      if (record === undefined) {
        const stone = replica.tombstone(id);
        if (stone !== undefined) stones.push({ id, ...encodeTombstone(stone) });
        continue;
      }
      const encoded = encodeRecord(record);
      const blob = body.blobs === true && record.blobDigest !== '' ? replica.blob(id) : undefined;
      bytes += encoded.length + (blob?.length ?? 0);
      copies.push({ record: encoded, blob });
    }
    return ok({ copies, answered, stones });
  }
}
