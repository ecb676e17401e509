/**
 * Dedupe keys: a user's own name for a task. The key is a record of its own, at the home that the ring gives to
 * hash(queue, key): a set of task ids, written before the task. A submit is answered with the smallest id in it
 * that is not final. Two sides of a partition may both add one; when the sets join, the smaller id stays and the
 * other task ends as a duplicate if it has not started. (Exact only on the strict path.)
 *
 * The home moves with the ring, the record does not: a store that the ring names today reads the key from everybody
 * in sight before it takes one for free, and enters the home. Do not trust a copy merely because it is there: it may
 * be a stand-in's, or from before this store was away.
 *
 * Messages: `key.claim {key, id}` to a home store of the key; `task.duplicate {id, of}` to a home of the loser.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { digestOf, utf8 } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import { parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import { homeOf, KEY_PREFIX, type RecordState, withFact } from '../records/record.ts';
import { type Change, KEYS_MAX, type Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import { encodeValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { KeyReader } from './key-reader.ts';
import { type MeshView, requiredNow } from './mesh-view.ts';
import { ownerOrder } from './ownership.ts';

/** An id that was claimed and whose task nobody knows by then was never submitted. */
export const CLAIM_TTL_MS = 60_000;
/** A key nobody has used for this long is forgotten. */
export const KEY_TTL_MS = 7 * 86_400_000;
/** Rivals are looked at again this often: their tasks come within a second or so after their key. */
export const RIVAL_RETRY_MS = 1_000;
/** Keys with rivals at once: what a partition of an hour can leave, a few each second. */
const RIVALS_MAX = 10_000;

export interface DedupeDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly copies: number;
  readonly copiesRequired: number;
  /** Whether a task is over, or still unknown. */
  readonly standing: (id: string) => Promise<'final' | 'unfinished' | 'unknown'>;
  /** Tells the home of a task that another one came first. False: it could not be told. */
  readonly markDuplicate: (id: string, of: string) => Promise<boolean>;
}

export const keyRecordId = (queue: string, key: string): string =>
  `${KEY_PREFIX}${digestOf(encodeValue([queue, key]))}`;

/** Keys are final from the start: nobody owns them, nothing runs. */
export const keyRules = {
  isReadable: (record: RecordState): boolean =>
    record.facts.every(
      ({ value }) =>
        typeof value.id === 'string' && typeof value.g === 'number' && typeof value.at === 'number',
    ),
  isFinal: (): boolean => true,
  dropAtMs: (record: RecordState): number =>
    record.facts.reduce((latest, fact) => Math.max(latest, Number(fact.value.at)), record.stamp) +
    KEY_TTL_MS,
  earlierDrop: () => undefined,
};

interface Claimed {
  readonly id: string;
  readonly generation: number;
}

/** By id; one that was renewed stands once. */
function claimsOf(record: RecordState | undefined): Claimed[] {
  const claims = new Map<string, Claimed>();
  for (const { value } of record?.facts ?? []) {
    if (value.t !== 'id') continue;
    const id = String(value.id);
    const generation = Math.max(Number(value.g), claims.get(id)?.generation ?? 0);
    claims.set(id, { id, generation });
  }
  return [...claims.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * The key with another store in its home. Outside of the home a copy would not be kept up to date. The generation lets
 * the store go again with the claims of its time, so that the home does not grow for ever; and it is no use of the key.
 */
export function withKeyHome(record: RecordState, store: string, fact: Change['fact']): RecordState {
  if (homeOf(record).includes(store)) return record;
  const g = claimsOf(record).reduce((highest, claim) => Math.max(highest, claim.generation), 0);
  const at = keyRules.dropAtMs(record) - KEY_TTL_MS;
  return withFact(record, fact({ t: 'home', store, id: '', g, at }));
}

export class Dedupe {
  readonly #deps: DedupeDeps;
  readonly #reader: KeyReader;
  /** Keys with two tasks that are not settled yet, and their ids. */
  readonly #rivals = new Map<string, Set<string>>();
  #closed = false;

  constructor(deps: DedupeDeps) {
    this.#deps = deps;
    this.#reader = new KeyReader(deps);
    deps.messaging.onRequest('key.claim', (_from, body) => this.#onClaim(body));
    deps.replica.onVisible((record, before) => {
      const rivals = record.kind === 'key' ? rivalsOf(record, before) : [];
      if (rivals.length > 1) void this.#settleRivals(record.id, rivals);
    });
  }

  /** Members came, went or were heard again: others may have decided on keys meanwhile. */
  membersChanged(): void {
    this.#reader.forget();
  }

  /** Another mesh may have given the same keys. */
  meshesMerged(): void {
    this.#reader.doubtAll();
  }

  close(): void {
    this.#closed = true;
    this.#reader.close();
  }

  /** The id to submit under: `id` itself, or that of the unfinished task that has the key already. */
  async claim(queue: string, key: string, id: string): Promise<Result<string, CoveyError>> {
    const { view, messaging, copies } = this.#deps;
    const record = keyRecordId(queue, key);
    const home = view.directory.preference(record, copies);
    let failure: CoveyError = coveyError('UNREACHABLE', { what: 'the home of the dedupe key' });
    for (const store of ownerOrder(record, home)) {
      const self = view.self();
      const peer = store === self.storeId ? self.peerId : view.directory.peerOf(store);
      if (peer === undefined) continue;
      const answer = await messaging.call(peer, 'key.claim', { record, home, id });
      if (answer.ok && typeof answer.value.id === 'string') return ok(answer.value.id);
      if (!answer.ok) failure = answer.error;
    }
    return err(failure);
  }

  async #onClaim(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { record: recordId, id, home } = body;
    const isWhole = typeof recordId === 'string' && typeof id === 'string' && Array.isArray(home);
    if (!isWhole || parseTaskId(id) === undefined || !recordId.startsWith(KEY_PREFIX)) {
      return err(coveyError('INVALID_PARAMS', { why: 'key.claim is malformed' }));
    }
    const { replica } = this.#deps;
    await this.#reader.read(recordId);
    const over = new Set<string>();
    for (const claim of claimsOf(replica.get(recordId))) {
      if (claim.id !== id && (await this.#isOver(claim.id))) over.add(claim.id);
    }
    const empty = emptyKey(recordId, home.map(String).sort(), this.#deps.clock.wallMs());
    // Decided on what the record says in its queue: an id added since the look above is not over.
    const written = await replica.change<string | undefined>(recordId, ({ current, fact }) => {
      if (current === undefined && replica.heldKeys >= KEYS_MAX) return { value: undefined };
      const holder = claimsOf(current).find((claim) => claim.id === id || !over.has(claim.id));
      const next = this.#withClaim(current ?? empty, holder, id, fact);
      // A client that asks for what exists is answered while there is room for anything.
      return { value: holder?.id ?? id, next, purpose: holder === undefined ? 'create' : 'settle' };
    });
    if (!written.ok) return written;
    if (written.value === id) this.#reader.given(recordId);
    if (written.value === undefined)
      return err(coveyError('BUSY', { what: 'dedupe keys', retry_after_ms: 60_000 }));
    const required = requiredNow(this.#deps.view, this.#deps.copiesRequired);
    const spread = await this.#deps.sharing.share(recordId, required);
    const storedOn = spread?.storedOn.length ?? 0;
    if (storedOn < required)
      return err(coveyError('NOT_ENOUGH_COPIES', { stored_on: storedOn, required }));
    return ok({ id: written.value });
  }

  /** The key as it is after this claim: with a new id, or with its holder's, and with this store in its home. */
  #withClaim(
    base: RecordState,
    holder: Claimed | undefined,
    id: string,
    fact: Change['fact'],
  ): RecordState {
    const { clock, replica } = this.#deps;
    const at = clock.wallMs();
    const top = claimsOf(base).reduce((highest, claim) => Math.max(highest, claim.generation), 0);
    const generation = holder === undefined ? top + 1 : top;
    let next = base;
    if (holder === undefined) next = withFact(next, fact({ t: 'id', id, g: generation, at }));
    else if (keyRules.dropAtMs(base) - at < KEY_TTL_MS / 2) {
      // It is in use: to forget it with its task still waiting would let a second one in.
      next = withFact(next, fact({ t: 'id', id: holder.id, g: holder.generation, at }));
    }
    // The ring gives the key to this store now.
    return withKeyHome(next, replica.storeId, fact);
  }

  async #isOver(id: string): Promise<boolean> {
    const standing = await this.#deps.standing(id);
    return standing === 'unknown' ? this.#isStale(id) : standing === 'final';
  }

  /** Claimed so long ago that its task would be known by now. */
  #isStale(id: string): boolean {
    return this.#deps.clock.wallMs() - (parseTaskId(id)?.createdMs ?? 0) > CLAIM_TTL_MS;
  }

  // ---- rivals ---------------------------------------------------------------------------------------------

  /**
   * Two sides added an id each: the smaller one stays. A key comes before its task, so the tasks may not be there
   * yet when the sets join: they are looked for until they are, or have become stale.
   */
  async #settleRivals(recordId: string, ids: readonly string[]): Promise<void> {
    const { clock, log } = this.#deps;
    const known = this.#rivals.get(recordId);
    if (known !== undefined) {
      for (const id of ids) known.add(id);
      return;
    }
    if (this.#rivals.size >= RIVALS_MAX) {
      log.log('warn', 'too many dedupe keys have two tasks: one was not settled', { recordId });
      return;
    }
    const rivals = new Set(ids);
    this.#rivals.set(recordId, rivals);
    while (!this.#closed && !(await this.#settled([...rivals].sort())))
      await sleep(clock, RIVAL_RETRY_MS);
    this.#rivals.delete(recordId);
  }

  /** One round: true when nothing more can come of it. One that is final has let go of the key already. */
  async #settled(rivals: readonly string[]): Promise<boolean> {
    const { standing, markDuplicate } = this.#deps;
    let winner: string | undefined;
    let isDone = true;
    for (const id of rivals) {
      const now = await standing(id);
      if (now === 'final' || (now === 'unknown' && this.#isStale(id))) continue;
      if (now === 'unknown') {
        // Nobody gives way to a task that may never come.
        if (winner === undefined) return false;
        isDone = false;
      } else if (winner === undefined) winner = id;
      else if (!(await markDuplicate(id, winner))) isDone = false;
    }
    return isDone;
  }
}

/**
 * The ids of two claims that did not know of one another, if a change brought such: of one generation, or one that
 * is not newer than what was there. In the usual course every claim is of a newer generation, when the last is over.
 */
function rivalsOf(after: RecordState, before: RecordState | undefined): string[] {
  const [now, then] = [claimsOf(after), claimsOf(before)];
  const topOf = (claims: readonly Claimed[]): number =>
    claims.reduce((highest, claim) => Math.max(highest, claim.generation), 0);
  const isIn = (claims: readonly Claimed[], { id }: Claimed): boolean =>
    claims.some((claim) => claim.id === id);
  const newest = now.filter((claim) => claim.generation === topOf(now));
  const crossed =
    before !== undefined &&
    (now.some((claim) => !isIn(then, claim) && claim.generation <= topOf(then)) ||
      then.some((claim) => !isIn(now, claim) && claim.generation === topOf(then)));
  if (!crossed && newest.length < 2) return [];
  if (!crossed && now.length === then.length) return [];
  return [...new Set([...now, ...then].map((claim) => claim.id))];
}

const emptyKey = (id: string, home: readonly string[], stamp: number): RecordState => ({
  id,
  kind: 'key',
  stamp,
  header: utf8('key'),
  blobDigest: '',
  firstHome: home,
  facts: [],
});
