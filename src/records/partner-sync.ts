/**
 * Anti-entropy between two stores: the replication that is relied on. Every pair of partners keeps, on each side,
 * a sum over the content hashes of the records both hold; equal sums end the exchange after one small message.
 * Different ones are found by pages of (id, hash). (Later: a Merkle tree per partner behind the same function.)
 *
 * Messages: `sync.sum` {count, sum}, `sync.page` {after, upto, items}.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { WireValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import type { StoreDirectory } from './directory.ts';
import { contentHash, homeOf, type RecordState, type StoreId } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';
import { encodeTombstone } from './tombstone.ts';

/** (id, hash) pairs of one page: about 40 KiB. */
export const PAGE_ITEMS_MAX = 500;
/** Pages of one round; the next round goes on where differences are left. */
export const ROUND_PAGES_MAX = 10_000;

interface PartnerSum {
  count: number;
  sum: bigint;
}

const SUM_MASK = (1n << 64n) - 1n;
const hashNumber = (record: RecordState): bigint => BigInt(`0x${contentHash(record).slice(0, 16)}`);

export interface SyncRound {
  readonly equal: boolean;
  readonly pulled: number;
  readonly pushed: number;
}

export class PartnerSync {
  readonly #replica: Replica;
  readonly #sharing: Sharing;
  readonly #messaging: Messaging;
  readonly #directory: StoreDirectory;
  readonly #sums = new Map<StoreId, PartnerSum>();

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
    deps.messaging.onRequest('sync.sum', (from, body) => this.#onSum(from, body));
    deps.messaging.onRequest('sync.page', (from, body) => this.#onPage(from, body));
    deps.replica.onVisible((after, before) => this.#recount(after, before));
    deps.replica.onGone((record) => this.#discount(record));
  }

  /** Counts what is held already. Once, after the replica was loaded. */
  load(): void {
    let after: string | undefined;
    for (;;) {
      const ids = this.#replica.ids({ ...(after === undefined ? {} : { after }), limit: 1_000 });
      for (const id of ids) {
        const record = this.#replica.get(id);
        if (record !== undefined) this.#recount(record, undefined);
      }
      after = ids.at(-1);
      if (after === undefined || ids.length < 1_000) return;
    }
  }

  #discount(record: RecordState): void {
    for (const store of this.#partnersOf(record)) this.#add(store, -1, -hashNumber(record));
  }

  /** One round with the peer of a partner store: afterwards both hold the same of what they share. */
  async syncWith(partner: StoreId): Promise<Result<SyncRound, CoveyError>> {
    const peer = this.#directory.peerOf(partner);
    if (peer === undefined) return err(coveyError('UNREACHABLE', { what: `store ${partner}` }));
    const mine = this.#sumOf(partner);
    const first = await this.#messaging.call(peer, 'sync.sum', mine, { frameClass: 'bulk' });
    if (!first.ok) return first;
    if (first.value.equal === true) return ok({ equal: true, pulled: 0, pushed: 0 });
    let after = '';
    let pulled = 0;
    let pushed = 0;
    for (let page = 0; page < ROUND_PAGES_MAX; page++) {
      const items = this.#page(partner, after, undefined);
      const last = items.length < PAGE_ITEMS_MAX ? '' : (items.at(-1)?.id ?? '');
      const answer = await this.#messaging.call(
        peer,
        'sync.page',
        { after, upto: last, items: items.map((item) => [item.id, item.hash]) },
        { frameClass: 'bulk' },
      );
      if (!answer.ok) return answer;
      const differing = textList(answer.value.differing);
      const wanted = textList(answer.value.wanted);
      const offered = textList(answer.value.offered);
      await this.#sharing.buryAll(answer.value.stones);
      pulled += await this.#pull(peer, [...differing, ...offered]);
      for (const id of [...differing, ...wanted]) {
        const spread = await this.#sharing.shareWith(id, partner);
        if (spread) pushed += 1;
      }
      if (last === '') break;
      after = last;
    }
    return ok({ equal: false, pulled, pushed });
  }

  async #pull(peer: string, ids: readonly string[]): Promise<number> {
    if (ids.length === 0) return 0;
    const copies = await this.#sharing.ask(peer, ids, true);
    if (!copies.ok) return 0;
    let pulled = 0;
    for (const copy of copies.value) {
      const accepted = await this.#sharing.accept({ ...copy, fresh: false, standIn: false });
      if (accepted.ok) pulled += 1;
    }
    return pulled;
  }

  #onSum(from: string, body: WireMap): CallResult {
    const store = this.#directory.storeOfPeer(from);
    if (store === undefined) return err(coveyError('NOT_ALLOWED'));
    const mine = this.#sumOf(store);
    return ok({ equal: mine.count === body.count && mine.sum === body.sum });
  }

  async #onPage(from: string, body: WireMap): Promise<CallResult> {
    const store = this.#directory.storeOfPeer(from);
    const theirs = new Map<string, string>();
    for (const item of Array.isArray(body.items) ? (body.items as WireValue[]) : []) {
      const [id, hash] = Array.isArray(item) ? (item as WireValue[]) : [];
      if (typeof id === 'string' && typeof hash === 'string') theirs.set(id, hash);
    }
    if (store === undefined || theirs.size > PAGE_ITEMS_MAX) {
      return err(coveyError('INVALID_PARAMS', { why: 'sync.page is malformed' }));
    }
    const after = typeof body.after === 'string' ? body.after : '';
    const upto = typeof body.upto === 'string' && body.upto !== '' ? body.upto : undefined;
    const differing: string[] = [];
    const wanted: string[] = [];
    const offered: string[] = [];
    const stones: WireMap[] = [];
    for (const [id, hash] of theirs) {
      const mine = this.#replica.get(id);
      if (mine !== undefined) {
        // Also when ours is a forgotten key: theirs may have been used since.
        if (contentHash(mine) !== hash) differing.push(id);
        continue;
      }
      const stone = this.#replica.tombstone(id);
      if (stone === undefined) wanted.push(id);
      else stones.push({ id, ...encodeTombstone(stone) });
    }
    for (const item of this.#page(store, after, upto))
      if (!theirs.has(item.id)) offered.push(item.id);
    return ok({ differing, wanted, offered, stones });
  }

  /** Records shared with the partner, in (after, upto], in order of id. */
  #page(partner: StoreId, after: string, upto: string | undefined): { id: string; hash: string }[] {
    const items: { id: string; hash: string }[] = [];
    let from = after;
    while (items.length < PAGE_ITEMS_MAX) {
      const ids = this.#replica.ids({
        ...(from === '' ? {} : { after: from }),
        ...(upto === undefined ? {} : { before: `${upto}\x00` }),
        limit: PAGE_ITEMS_MAX,
      });
      for (const id of ids) {
        from = id;
        const record = this.#replica.get(id);
        if (record === undefined || !this.#isShared(record, partner)) continue;
        items.push({ id, hash: contentHash(record) });
        if (items.length === PAGE_ITEMS_MAX) break;
      }
      if (ids.length < PAGE_ITEMS_MAX) break;
    }
    return items;
  }

  #isShared(record: RecordState, partner: StoreId): boolean {
    const home = homeOf(record);
    const isBoths = home.includes(partner) && home.includes(this.#replica.storeId);
    return isBoths && !this.#sharing.isForgotten(record);
  }

  #partnersOf(record: RecordState): StoreId[] {
    const home = homeOf(record);
    return home.includes(this.#replica.storeId)
      ? home.filter((store) => store !== this.#replica.storeId)
      : [];
  }

  #recount(after: RecordState, before: RecordState | undefined): void {
    if (before !== undefined) this.#discount(before);
    for (const store of this.#partnersOf(after)) this.#add(store, 1, hashNumber(after));
  }

  #add(store: StoreId, count: number, hash: bigint): void {
    const sum = this.#sums.get(store) ?? { count: 0, sum: 0n };
    this.#sums.set(store, { count: sum.count + count, sum: (sum.sum + hash) & SUM_MASK });
  }

  #sumOf(store: StoreId): { count: number; sum: string } {
    const sum = this.#sums.get(store);
    return { count: sum?.count ?? 0, sum: (sum?.sum ?? 0n).toString(16) };
  }
}

const textList = (value: WireValue | undefined): string[] =>
  Array.isArray(value) ? (value as WireValue[]).filter((item) => typeof item === 'string') : [];
