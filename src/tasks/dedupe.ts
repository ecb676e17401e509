/**
 * Dedupe keys: a user's own name for a task. The key is a record of its own, at the home that the ring gives to
 * hash(queue, key): a set of task ids, written before the task. A submit is answered with the smallest id in it
 * that is not final. Two sides of a partition may both add one; when the sets join, the smaller id stays and the
 * other task ends as a duplicate if it has not started. (Exact only on the strict path.)
 *
 * Messages: `key.claim {key, id}` to a home store of the key; `task.duplicate {id, of}` to a home of the loser.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { digestOf, utf8 } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import { parseTaskId } from '../base/task-id.ts';
import type { Clock } from '../ports/clock.ts';
import { KEY_PREFIX, type RecordState, withFact } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import { encodeValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { type MeshView, requiredNow } from './mesh-view.ts';
import { ownerOrder } from './ownership.ts';

/** An id that was claimed and whose task nobody knows by then was never submitted. */
export const CLAIM_TTL_MS = 60_000;
/** A key nobody has used for this long is forgotten. */
export const KEY_TTL_MS = 7 * 86_400_000;

export interface DedupeDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly copies: number;
  readonly copiesRequired: number;
  /** Whether a task is over, or still unknown. */
  readonly standing: (id: string) => Promise<'final' | 'unfinished' | 'unknown'>;
  /** Tells the home of a task that another one came first. */
  readonly markDuplicate: (id: string, of: string) => Promise<void>;
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
};

interface Claimed {
  readonly id: string;
  readonly generation: number;
}

function claimsOf(record: RecordState | undefined): Claimed[] {
  return (record?.facts ?? [])
    .filter((fact) => fact.value.t === 'id')
    .map((fact) => ({ id: String(fact.value.id), generation: Number(fact.value.g) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

export class Dedupe {
  readonly #deps: DedupeDeps;

  constructor(deps: DedupeDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('key.claim', (_from, body) => this.#onClaim(body));
    deps.replica.onVisible((record) => {
      if (record.kind === 'key') this.#settleRivals(record);
    });
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
    const { replica, clock } = this.#deps;
    const over = new Set<string>();
    for (const claim of claimsOf(replica.get(recordId))) {
      if (claim.id !== id && (await this.#isOver(claim.id))) over.add(claim.id);
    }
    // Decided on what the record says in its queue: an id added since the look above is not over.
    const written = await replica.change<string>(recordId, ({ current, fact }) => {
      const claims = claimsOf(current);
      const holder = claims.find((claim) => claim.id === id || !over.has(claim.id));
      if (holder !== undefined) return { value: holder.id };
      const generation = claims.reduce((top, claim) => Math.max(top, claim.generation), 0) + 1;
      const base = current ?? emptyKey(recordId, home.map(String).sort(), clock.wallMs());
      const claim = fact({ t: 'id', id, g: generation, at: clock.wallMs() });
      return { value: id, next: withFact(base, claim) };
    });
    if (!written.ok) return written;
    const required = requiredNow(this.#deps.view, this.#deps.copiesRequired);
    const spread = await this.#deps.sharing.share(recordId, required);
    const storedOn = spread?.storedOn.length ?? 0;
    if (storedOn < required)
      return err(coveyError('NOT_ENOUGH_COPIES', { stored_on: storedOn, required }));
    return ok({ id: written.value });
  }

  async #isOver(id: string): Promise<boolean> {
    const standing = await this.#deps.standing(id);
    if (standing !== 'unknown') return standing === 'final';
    return this.#deps.clock.wallMs() - (parseTaskId(id)?.createdMs ?? 0) > CLAIM_TTL_MS;
  }

  /** Two sides added an id each: the smaller one stays. */
  #settleRivals(record: RecordState): void {
    const claims = claimsOf(record);
    const top = claims.reduce((highest, claim) => Math.max(highest, claim.generation), 0);
    const rivals = claims.filter((claim) => claim.generation === top);
    const [winner, ...losers] = rivals;
    if (winner === undefined) return;
    for (const loser of losers) void this.#deps.markDuplicate(loser.id, winner.id);
  }
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
