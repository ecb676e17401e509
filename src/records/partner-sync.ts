/**
 * Anti-entropy between two stores: the replication that is relied on. Every pair of partners keeps, on each side, a
 * Merkle tree over the content hashes of the records both hold. Equal roots end the exchange after one small
 * message, whatever the number of records. Otherwise the slots that differ are found, their leaves, the (id, hash) of
 * the records in those, and then the records go both ways.
 *
 * Messages: `sync.root` {cut, sum}, `sync.slots` {cut, sums}, `sync.leaves` {cut, slots, sums}, `sync.items` {cut,
 * leaves, after, upto, items}, `sync.stones` {stones}. Sums and hashes are eight bytes.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import type { StoreDirectory } from './directory.ts';
import { Exchange, type Sent } from './exchange.ts';
import { LEAVES_OF_SLOT, type MerkleTree, SUM_BYTES, sumBytes } from './merkle-tree.ts';
import { PartnerTrees, TREES_MAX } from './partner-trees.ts';
import type { StoreId } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';
import {
  answerItems,
  ITEMS_MAX,
  isBehind,
  type Position,
  pageOf,
  readAnswer,
} from './sync-items.ts';
import { answerLeaves, answerSlots, isBytes, leavesOf, numberList, readCut } from './sync-sums.ts';
import { encodeTombstone } from './tombstone.ts';

/** Pages of one round: five million records. The next round goes on where differences are left. */
export const ROUND_PAGES_MAX = 10_000;
/**
 * From so many differing leaves on they are compared once more after a moment: in a busy mesh most of them differ
 * only by changes that are on their way, and listing them would cost more than all other traffic.
 */
export const SECOND_LOOK_FROM = 32;
export const SECOND_LOOK_MS = 250;
/** Rounds in a row in which leaves differed and no record did, before one's own sums are taken for wrong. */
export const SUSPECT_ROUNDS = 3;
/** Partners whose idle rounds are counted: sums are seldom wrong. */
const SUSPECTS_MAX = 256;
/**
 * Two that agree compare again when the sum of one of them has changed, and after this in any case. Whoever changes asks:
 * so an idle mesh is silent, however large it is.
 */
export const AGREED_MS = 300_000;

/** What both had when they last compared, and found it equal. */
interface Agreement {
  readonly sum: bigint;
  readonly atMs: number;
}

export interface SyncRound {
  readonly equal: boolean;
  readonly pulled: number;
  readonly pushed: number;
}

const EQUAL: SyncRound = { equal: true, pulled: 0, pushed: 0 };

export class PartnerSync {
  readonly #replica: Replica;
  readonly #sharing: Sharing;
  readonly #messaging: Messaging;
  readonly #directory: StoreDirectory;
  readonly #clock: Clock;
  readonly #exchange: Exchange;
  readonly trees: PartnerTrees;
  readonly #idleRounds = new Map<StoreId, number>();
  readonly #agreedMs: number;
  readonly #agreed = new Map<StoreId, Agreement>();

  constructor(deps: {
    replica: Replica;
    sharing: Sharing;
    messaging: Messaging;
    directory: StoreDirectory;
    clock: Clock;
    treesMax?: number;
    agreedMs?: number;
  }) {
    const { replica, messaging, clock } = deps;
    this.#replica = replica;
    this.#sharing = deps.sharing;
    this.#messaging = messaging;
    this.#directory = deps.directory;
    this.#clock = clock;
    this.#exchange = new Exchange(deps);
    this.#agreedMs = deps.agreedMs ?? AGREED_MS;
    this.trees = new PartnerTrees(replica, clock, deps.treesMax);
    messaging.onRequest('sync.root', (from, body) => this.#onRoot(from, body));
    messaging.onRequest('sync.slots', (from, body) => this.#onSums(from, body, answerSlots));
    messaging.onRequest('sync.leaves', (from, body) => this.#onSums(from, body, answerLeaves));
    messaging.onRequest('sync.items', (from, body) => this.#onItems(from, body));
    messaging.onRequest('sync.stones', async (from, body) => {
      const store = this.#directory.storeOfPeer(from);
      if (store === undefined) return err(coveyError('NOT_ALLOWED'));
      await this.#bury(store, body.stones);
      return ok({});
    });
  }

  /** Counts what is held already. Once, after the replica was loaded. */
  load(): Promise<void> {
    return this.trees.load();
  }

  /** Something on the disk was found damaged: the sums are added up anew at their next use. */
  recount(): void {
    this.#agreed.clear();
    this.trees.distrustAll();
  }

  #agree(partner: StoreId, sum: bigint): void {
    this.#agreed.delete(partner);
    // The one that agreed longest ago: stores that are gone must not take the places of others for ever.
    const oldest = this.#agreed.keys().next();
    if (this.#agreed.size >= TREES_MAX && !oldest.done) this.#agreed.delete(oldest.value);
    this.#agreed.set(partner, { sum, atMs: this.#clock.nowMs() });
  }

  /** Neither has said since then that it changed, and this one has not. */
  #isAgreed(partner: StoreId, sum: bigint): boolean {
    const agreed = this.#agreed.get(partner);
    return agreed?.sum === sum && this.#clock.nowMs() - agreed.atMs < this.#agreedMs;
  }

  /** One round with the peer of a partner store: afterwards both hold the same of what they share. */
  async syncWith(partner: StoreId): Promise<Result<SyncRound, CoveyError>> {
    const peer = this.#directory.peerOf(partner);
    if (peer === undefined) return err(coveyError('UNREACHABLE', { what: `store ${partner}` }));
    const root = await this.#compareRoots(partner, peer);
    if (!root.ok) return root;
    if (root.value.equal) {
      this.#idleRounds.delete(partner);
      return ok(EQUAL);
    }
    const cut = root.value.cut;
    const leaves = await this.#differingLeaves(partner, peer, cut);
    if (!leaves.ok) return leaves;
    const round = await this.#walk(partner, peer, cut, leaves.value);
    if (round.ok) this.#weigh(partner, leaves.value.length > 0 && round.value.differences === 0);
    return round.ok ? ok({ equal: false, ...round.value.moved }) : round;
  }

  /** Sums that differ over records that do not are wrong, here or there; each side mends its own. */
  #weigh(partner: StoreId, isIdle: boolean): void {
    const idle = isIdle ? (this.#idleRounds.get(partner) ?? 0) + 1 : 0;
    this.#idleRounds.delete(partner);
    if (idle >= SUSPECT_ROUNDS) this.trees.distrust(partner);
    else if (idle > 0 && this.#idleRounds.size < SUSPECTS_MAX) this.#idleRounds.set(partner, idle);
  }

  #call(peer: string, type: string, body: WireMap): Promise<CallResult> {
    return this.#messaging.call(peer, type, body, { frameClass: 'bulk' });
  }

  async #compareRoots(
    partner: StoreId,
    peer: string,
  ): Promise<Result<{ equal: boolean; cut: number }, CoveyError>> {
    const now = this.#clock.wallMs();
    const sum = await this.trees.at(partner, now, (tree) => tree.root);
    if (this.#isAgreed(partner, sum)) return ok({ equal: true, cut: now });
    this.#agreed.delete(partner);
    const answer = await this.#call(peer, 'sync.root', { cut: now, sum: sumBytes(sum) });
    if (!answer.ok) return answer;
    const cut = readCut(answer.value.cut) ?? now;
    if (answer.value.equal === true) this.#agree(partner, sum);
    if (answer.value.equal === true || cut === now)
      return ok({ equal: answer.value.equal === true, cut });
    // Their clock is ahead: what is past there is no matter between the two.
    const atTheirs = await this.trees.at(partner, cut, (tree) => tree.root);
    const equal = isBytes(answer.value.sum, atTheirs);
    if (equal) this.#agree(partner, atTheirs);
    return ok({ equal, cut });
  }

  async #differingLeaves(
    partner: StoreId,
    peer: string,
    cut: number,
  ): Promise<Result<number[], CoveyError>> {
    const sums = await this.trees.at(partner, cut, (tree) => tree.slotSums());
    const answer = await this.#call(peer, 'sync.slots', { cut, sums });
    if (!answer.ok) return answer;
    const slots = numberList(answer.value.differing, sums.length / SUM_BYTES);
    const first = await this.#compareLeaves(partner, peer, cut, slots);
    if (!first.ok || first.value.length < SECOND_LOOK_FROM) return first;
    await sleep(this.#clock, SECOND_LOOK_MS);
    const still = [...new Set(first.value.map((leaf) => Math.floor(leaf / LEAVES_OF_SLOT)))];
    const second = await this.#compareLeaves(partner, peer, cut, still);
    if (!second.ok) return second;
    const before = new Set(first.value);
    return ok(second.value.filter((leaf) => before.has(leaf)));
  }

  async #compareLeaves(
    partner: StoreId,
    peer: string,
    cut: number,
    slots: readonly number[],
  ): Promise<Result<number[], CoveyError>> {
    if (slots.length === 0) return ok([]);
    const sums = await this.trees.at(partner, cut, (tree) => leavesOf(tree, slots));
    const answer = await this.#call(peer, 'sync.leaves', { cut, slots, sums });
    if (!answer.ok) return answer;
    const places = numberList(answer.value.differing, slots.length * LEAVES_OF_SLOT);
    return ok(
      places
        .map((place) => {
          const slot = slots[Math.floor(place / LEAVES_OF_SLOT)] ?? 0;
          return slot * LEAVES_OF_SLOT + (place % LEAVES_OF_SLOT);
        })
        .sort((a, b) => a - b),
    );
  }

  /** Compares the records of these leaves page by page, and exchanges those that differ. */
  async #walk(
    partner: StoreId,
    peer: string,
    cut: number,
    leaves: readonly number[],
  ): Promise<
    Result<{ moved: { pulled: number; pushed: number }; differences: number }, CoveyError>
  > {
    let pulled = 0;
    let pushed = 0;
    let differences = 0;
    let hasRoom = true;
    let after: Position | undefined;
    for (let pages = 0; pages < ROUND_PAGES_MAX; pages++) {
      const list = (leaf: number, from: string) => this.trees.ofLeaf(partner, cut, leaf, from);
      const page = pageOf(list, leaves, after);
      if (page === undefined) break;
      const answer = await this.#call(peer, 'sync.items', { cut, ...page.body });
      if (!answer.ok) return answer;
      const { differing, wanted, offered, stones, upto } = readAnswer(answer.value);
      differences += differing.length + wanted.length + offered.length;
      await this.#bury(partner, stones);
      differences += Array.isArray(stones) ? stones.length : 0;
      pulled += await this.#exchange.pull(peer, await this.#notDropped(peer, offered));
      const merged = await this.#exchange.merge(peer, differing);
      pulled += merged.pulled;
      const sent: Sent = hasRoom ? await this.#exchange.push(peer, wanted) : { pushed: 0, hasRoom };
      pushed += merged.pushed + sent.pushed;
      hasRoom = sent.hasRoom;
      // Where the answer ended before the page did, the next page begins.
      const next = upto ?? page.upto;
      if (next === undefined || (after !== undefined && !isBehind(next, after))) break;
      after = next;
    }
    return ok({ moved: { pulled, pushed }, differences });
  }

  async #bury(partner: StoreId, stones: WireValue | undefined): Promise<void> {
    const list = Array.isArray(stones) ? (stones as WireValue[]).slice(0, ITEMS_MAX) : [];
    await this.#sharing.buryAll(list);
    for (const stone of list) {
      if (isWireMap(stone) && typeof stone.id === 'string' && this.#replica.get(stone.id))
        await this.trees.leaveOut(partner, stone.id);
    }
  }

  /** What this store has dropped it does not take again; the partner is told, so that it lets go as well. */
  async #notDropped(peer: string, offered: readonly string[]): Promise<string[]> {
    const stones: WireMap[] = [];
    const left = offered.filter((id) => {
      const stone = this.#replica.get(id) === undefined ? this.#replica.tombstone(id) : undefined;
      if (stone !== undefined) stones.push({ id, ...encodeTombstone(stone) });
      return stone === undefined;
    });
    // Should it not arrive, the partner learns it in its own round.
    if (stones.length > 0) await this.#call(peer, 'sync.stones', { stones });
    return left;
  }

  // ---- answers --------------------------------------------------------------------------------------------

  async #onRoot(from: string, body: WireMap): Promise<CallResult> {
    const store = this.#directory.storeOfPeer(from);
    const theirs = readCut(body.cut);
    if (store === undefined) return err(coveyError('NOT_ALLOWED'));
    if (theirs === undefined) return err(malformed('sync.root'));
    const cut = Math.max(theirs, this.#clock.wallMs());
    return this.trees.at(store, cut, (tree) => {
      // The sum that came is over another cut unless theirs is the later clock.
      const equal = cut === theirs && isBytes(body.sum, tree.root);
      // Who asks has changed. What was agreed before is no more, until both have the same again: at whatever cut, for a
      // sum that moves with the clock is another one than was agreed.
      if (isBytes(body.sum, tree.root)) this.#agree(store, tree.root);
      else this.#agreed.delete(store);
      return ok({ equal, cut, sum: sumBytes(tree.root) });
    });
  }

  async #onSums(
    from: string,
    body: WireMap,
    answer: (tree: MerkleTree, body: WireMap) => number[] | undefined,
  ): Promise<CallResult> {
    const store = this.#directory.storeOfPeer(from);
    const cut = readCut(body.cut);
    if (store === undefined) return err(coveyError('NOT_ALLOWED'));
    if (cut === undefined) return err(malformed('sync'));
    const differing = await this.trees.at(store, cut, (tree) => answer(tree, body));
    return differing === undefined ? err(malformed('sync')) : ok({ differing });
  }

  #onItems(from: string, body: WireMap): CallResult {
    const store = this.#directory.storeOfPeer(from);
    const cut = readCut(body.cut);
    if (store === undefined) return err(coveyError('NOT_ALLOWED'));
    if (cut === undefined) return err(malformed('sync.items'));
    const list = (leaf: number, after: string) => this.trees.ofLeaf(store, cut, leaf, after);
    const answer = answerItems(list, body, this.#replica);
    return answer === undefined ? err(malformed('sync.items')) : ok(answer);
  }
}

const malformed = (type: string): CoveyError =>
  coveyError('INVALID_PARAMS', { why: `${type} is malformed` });
