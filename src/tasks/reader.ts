/**
 * Reading tasks from anywhere: one, many, all; and waiting for their ends. Finding is liveness: whoever is asked
 * answers what it may tell, and the answers are joined.
 *
 * Messages: `task.read {ids, blobs}`, `task.scan {…}` (requests), `task.watch {ids}` (cast), `task.final {record}`
 * or `{stone}` (cast back to the watcher).
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { standingHome } from '../records/directory.ts';
import { decodeRecord, encodeRecord, homeOf, type RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import { decodeTombstone, encodeTombstone, type Tombstone } from '../records/tombstone.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import { decodeBlob } from './facts.ts';
import { type Found, firstOf, joinFound, readFound } from './found.ts';
import { type MeshView, presentPeers, reachableAt } from './mesh-view.ts';
import { remainsOf } from './remains.ts';
import type { Tails } from './tails.ts';
import { isTaskRecord, taskOf, taskRules } from './task.ts';
import type { Visibility } from './visibility.ts';

/** What was seen of a task: a copy, and that somebody dropped it after its end. */
interface Seen {
  readonly found: Found | undefined;
  readonly stone: Tombstone | undefined;
  /** What stores have set aside: not a copy, only a last word about a task that nobody else knows. */
  readonly aside?: Found | undefined;
}

/** Ids of one `task.read` or `task.watch`. */
const IDS_MAX = 1_000;
const READ_BYTES_MAX = 4 * 1_024 * 1_024;
/** A watch that is not renewed by then is forgotten. */
export const WATCH_TTL_MS = 15_000;
/** Waits are asked about again this often: news is lossy, and homes grow. */
export const WATCH_RENEW_MS = 2_000;
/** Records watched here for other peers. */
const WATCHED_MAX = 200_000;

/** R: from how many stores of the home a read is joined; quorum: from more than half of them. */
export type ReadCount = number | 'quorum';

export interface ReaderDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly visibility: Visibility;
  readonly view: MeshView;
  readonly tails: Tails;
  readonly homeOfId: (id: string) => string[];
  /** Told of every read: the join, and what each store had of it. */
  readonly onVersions: (joined: RecordState, copies: ReadonlyMap<string, RecordState>) => void;
  /** Why a task that this store owns waits; undefined when it does not own it. */
  readonly waitingReason: (id: string) => string | undefined;
}

export class Reader {
  readonly #deps: ReaderDeps;
  /** Here, for others: id → peers that wait, until when. */
  readonly #watched = new Map<string, Map<string, number>>();
  /** Waits of this peer's own clients. */
  readonly #waiting = new Map<string, Set<(found: RecordState) => void>>();
  #timer: Timer | undefined;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('task.read', (_from, body) => this.#onRead(body));
    deps.messaging.onMessage('task.watch', (from, body) => this.#onWatch(from, body));
    deps.messaging.onMessage('task.final', (_from, body) => {
      const record = decodeRecord(body.record);
      if (record !== undefined && isTaskRecord(record)) this.#settle(record);
      const { stone } = body;
      const ended = decodeTombstone(stone);
      if (ended !== undefined && isWireMap(stone) && typeof stone.id === 'string')
        this.#settle(remainsOf(stone.id, ended));
    });
    deps.visibility.onTold((id) => this.#told(id));
  }

  startTimers(): void {
    const tick = (): void => {
      this.#renew();
      this.#timer = this.#deps.clock.after(WATCH_RENEW_MS, tick);
    };
    this.#timer = this.#deps.clock.after(WATCH_RENEW_MS, tick);
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** One task as the mesh knows it; undefined when nobody who answered does. */
  async find(id: string, blobs: boolean): Promise<Found | undefined> {
    return (await this.#look(id, blobs)).found;
  }

  /** The same, or what is left of a task whose record was dropped: its end alone. To be told, not to be acted on. */
  async findOrRemains(id: string, blobs: boolean): Promise<Found | undefined> {
    return toldOf(id, await this.#look(id, blobs));
  }

  /**
   * The same, joined from so many stores of its home as are asked for, and from all of it that are in reach. A store that
   * has no copy has answered too. Which stores that are the record says, as it is joined.
   */
  async findFrom(
    id: string,
    blobs: boolean,
    count: ReadCount,
  ): Promise<Result<Found | undefined, CoveyError>> {
    const { replica, homeOfId, view } = this.#deps;
    let seen = await this.#look(id, blobs);
    const homeNow = (): string[] =>
      seen.found === undefined ? homeOfId(id) : standingHome(view.directory, seen.found.record);
    const asked = new Set([replica.storeId]);
    const heard = new Set([replica.storeId]);
    for (let left = homeNow(); left.length > 0; left = homeNow().filter((s) => !asked.has(s))) {
      for (const store of left) asked.add(store);
      seen = await this.#ask(id, blobs, left, seen, heard);
    }
    const home = homeNow();
    const answered = home.filter((store) => heard.has(store)).length;
    const required = count === 'quorum' ? Math.floor(home.length / 2) + 1 : count;
    return answered < required
      ? err(coveyError('NOT_ENOUGH_READ', { id, answered, home: home.length, required }))
      : ok(toldOf(id, seen));
  }

  async #look(id: string, blobs: boolean): Promise<Seen> {
    const { replica, homeOfId, view } = this.#deps;
    const found = this.#tell(id, blobs);
    if (found !== undefined && taskRules.isFinal(found.record)) return { found, stone: undefined };
    const stone = found === undefined ? replica.tombstone(id) : undefined;
    const local = { found, stone, aside: this.#setAside(id) };
    const home = found === undefined ? homeOfId(id) : homeOf(found.record);
    const first = await this.#ask(id, blobs, home, local);
    if (first.found !== undefined) {
      // Homes grow: the owner, who alone knows why a task waits, may be a store that the id does not name.
      const grown = homeOf(first.found.record).filter((store) => !home.includes(store));
      const isAll = taskRules.isFinal(first.found.record) || grown.length === 0;
      return isAll ? first : this.#ask(id, blobs, grown, first);
    }
    if (first.stone !== undefined) return first;
    const others = presentPeers(view).map((peer) => peer.storeId);
    return this.#ask(id, blobs, others, first);
  }

  /** `heard`: stores that answered are added. */
  async #ask(
    id: string,
    blobs: boolean,
    stores: readonly string[],
    local: Seen,
    heard = new Set<string>(),
  ): Promise<Seen> {
    const { view, messaging, replica } = this.#deps;
    const peers = reachableAt(view, stores);
    const answers = await Promise.all(
      peers.map((peer) =>
        messaging.call(peer.peerId, 'task.read', { ids: [id], blobs }, { timeoutMs: 2_000 }),
      ),
    );
    let { found, stone, aside } = local;
    const copies = new Map<string, RecordState>();
    if (found !== undefined && replica.get(id) !== undefined)
      copies.set(replica.storeId, found.record);
    for (const [i, answer] of answers.entries()) {
      if (!answer.ok) continue;
      heard.add(peers[i]?.storeId ?? '');
      const other = firstOf(answer.value.items, readFound);
      stone ??= firstOf(answer.value.stones, decodeTombstone);
      aside = joinFound(aside, firstOf(answer.value.aside, readFound));
      if (other === undefined) continue;
      copies.set(peers[i]?.storeId ?? '', other.record);
      found = joinFound(found, other);
    }
    if (found !== undefined && stone === undefined) this.#deps.onVersions(found.record, copies);
    return { found, stone, aside };
  }

  /** Of a task that lies here out of the way. */
  #setAside(id: string): Found | undefined {
    const { replica } = this.#deps;
    const record = replica.aside.get(id);
    return record && { record, extras: { setAsideBy: [replica.storeId] } };
  }

  /** What this store may tell of a task. */
  #tell(id: string, blobs: boolean): Found | undefined {
    const { visibility, tails, replica, waitingReason } = this.#deps;
    const record = visibility.get(id);
    if (record === undefined || record.kind !== 'task') return undefined;
    const reason = waitingReason(id);
    const progress = taskOf(record).final === undefined ? tails.get(id)?.progress : undefined;
    return {
      record,
      extras: {
        ...(reason === undefined ? {} : { waitingReason: reason, owner: replica.storeId }),
        ...(progress === undefined ? {} : { progress }),
        ...(blobs && record.blobDigest !== '' ? { blob: decodeBlob(replica.blob(id)) } : {}),
      },
    };
  }

  #onRead(body: WireMap): CallResult {
    const ids = Array.isArray(body.ids) ? (body.ids as WireValue[]) : [];
    if (ids.length > IDS_MAX)
      return err(coveyError('INVALID_PARAMS', { why: `at most ${IDS_MAX} ids` }));
    const items: WireValue[] = [];
    const stones: WireValue[] = [];
    const aside: WireValue[] = [];
    let bytes = 0;
    for (const id of ids) {
      if (typeof id !== 'string' || bytes > READ_BYTES_MAX) continue;
      const found = this.#tell(id, body.blobs === true);
      if (found === undefined) {
        const stone = this.#deps.replica.tombstone(id);
        if (stone !== undefined) stones.push({ id, ...encodeTombstone(stone) });
        const out = this.#setAside(id);
        if (out !== undefined)
          aside.push({
            record: encodeRecord(out.record),
            set_aside_by: [...(out.extras.setAsideBy ?? [])],
          });
        continue;
      }
      const encoded = encodeRecord(found.record);
      bytes += encoded.length;
      const { waitingReason, owner, progress, blob } = found.extras;
      const extras = { waiting_reason: waitingReason, owner, progress };
      items.push({ record: encoded, ...extras, blob: blob as WireMap | undefined });
    }
    return ok({ items, stones, ...(aside.length === 0 ? {} : { aside }) });
  }

  // ---- waiting ------------------------------------------------------------------------------------------

  /**
   * Calls `done` once with the final record of each id; answers the function that gives up. `withinMs`: it will not wait
   * for longer.
   */
  watch(
    ids: readonly string[],
    done: (record: RecordState) => void,
    withinMs = Number.POSITIVE_INFINITY,
  ): () => void {
    for (const id of ids) {
      const waiters = this.#waiting.get(id) ?? new Set();
      waiters.add(done);
      this.#waiting.set(id, waiters);
    }
    // No renewal comes before the end of a short wait: it asks now or never.
    this.#askFor(withinMs > WATCH_RENEW_MS ? ids.filter((id) => !this.#comesHere(id)) : ids);
    return () => {
      for (const id of ids) {
        const waiters = this.#waiting.get(id);
        waiters?.delete(done);
        if (waiters?.size === 0) this.#waiting.delete(id);
      }
    };
  }

  /** A store of its home is told of every change: nobody else need be asked at once. The next renewal asks all. */
  #comesHere(id: string): boolean {
    const { visibility, replica } = this.#deps;
    const local = visibility.get(id);
    return (
      local !== undefined && !taskRules.isFinal(local) && homeOf(local).includes(replica.storeId)
    );
  }

  #renew(): void {
    const now = this.#deps.clock.nowMs();
    for (const [id, peers] of this.#watched) {
      for (const [peer, untilMs] of peers) if (untilMs < now) peers.delete(peer);
      if (peers.size === 0) this.#watched.delete(id);
    }
    this.#askFor([...this.#waiting.keys()]);
  }

  /** Registers the ids at their homes; a home that knows the end answers it at once. */
  #askFor(ids: readonly string[]): void {
    const { view, messaging, visibility, replica, homeOfId } = this.#deps;
    const byPeer = new Map<string, string[]>();
    let all: readonly { readonly peerId: string }[] | undefined;
    for (const id of ids) {
      const local = visibility.get(id);
      const stone = local === undefined ? replica.tombstone(id) : undefined;
      if (stone !== undefined || (local !== undefined && taskRules.isFinal(local))) {
        const ended = stone === undefined ? local : remainsOf(id, stone);
        this.#deps.clock.after(0, () => this.#settle(ended));
        continue;
      }
      const home = new Set([...homeOfId(id), ...(local === undefined ? [] : homeOf(local))]);
      const at = reachableAt(view, [...home]);
      // A home out of reach may be stood in for by anybody.
      const isNobody = at.length === 0 && local === undefined;
      if (isNobody) all ??= view.peers().filter((peer) => peer.reachable && !peer.self);
      for (const { peerId } of (isNobody && all) || at) {
        const list = byPeer.get(peerId) ?? [];
        list.push(id);
        byPeer.set(peerId, list);
      }
    }
    for (const [peer, list] of byPeer) {
      for (let i = 0; i < list.length; i += IDS_MAX) {
        messaging.cast(peer, 'task.watch', { ids: list.slice(i, i + IDS_MAX) });
      }
    }
  }

  #onWatch(from: string, body: WireMap): void {
    const { visibility, clock, replica, messaging } = this.#deps;
    const ids = Array.isArray(body.ids) ? (body.ids as WireValue[]).slice(0, IDS_MAX) : [];
    for (const id of ids) {
      if (typeof id !== 'string') continue;
      const record = visibility.get(id);
      if (record !== undefined && record.kind === 'task' && taskRules.isFinal(record)) {
        this.#sendFinal(from, record);
        continue;
      }
      const stone = record === undefined ? replica.tombstone(id) : undefined;
      if (stone !== undefined) {
        messaging.cast(from, 'task.final', { stone: { id, ...encodeTombstone(stone) } });
        continue;
      }
      if (!this.#watched.has(id) && this.#watched.size >= WATCHED_MAX) continue;
      const peers = this.#watched.get(id) ?? new Map<string, number>();
      peers.set(from, clock.nowMs() + WATCH_TTL_MS);
      this.#watched.set(id, peers);
    }
  }

  #told(id: string): void {
    const record = this.#deps.visibility.get(id);
    if (record === undefined || record.kind !== 'task' || !taskRules.isFinal(record)) return;
    this.#settle(record);
    for (const peer of this.#watched.get(id)?.keys() ?? []) this.#sendFinal(peer, record);
    this.#watched.delete(id);
  }

  #sendFinal(peer: string, record: RecordState): void {
    this.#deps.messaging.cast(peer, 'task.final', { record: encodeRecord(record) });
  }

  #settle(record: RecordState | undefined): void {
    const waiters = record === undefined ? undefined : this.#waiting.get(record.id);
    if (record === undefined || waiters === undefined || !taskRules.isFinal(record)) return;
    this.#waiting.delete(record.id);
    for (const waiter of waiters) waiter(record);
  }
}

/** What a client is told. */
function toldOf(id: string, { found, stone, aside }: Seen): Found | undefined {
  if (found !== undefined && taskRules.isFinal(found.record)) return found;
  // A tombstone beats every copy that is not final.
  const remains = stone === undefined ? undefined : remainsOf(id, stone);
  return remains === undefined ? (found ?? aside) : { record: remains, extras: {} };
}
