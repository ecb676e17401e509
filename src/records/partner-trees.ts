/**
 * The Merkle trees of this store: one per partner store, over the records whose home holds both.
 *
 * A tree covers what is not yet past at its *cut*, a wall time on which both partners agree for every comparison:
 * the later of their two clocks. Do not let each side use its own: whatever drops between the two clocks would make
 * the sums differ for as long as the clocks do. The cut moves by the list of drop times, so moving it costs what
 * dropped meanwhile.
 *
 * Sums follow what is visible, reading shows what is durable, and the first lags behind the second: so nothing is
 * added up from the disk while a change of it is under way (`#calm`), or it would count twice.
 */
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import { MerkleTree } from './merkle-tree.ts';
import { type SharedEntry, sharedEntry } from './partner-index.ts';
import { homeOf, type RecordState, type StoreId } from './record.ts';
import type { Replica } from './replica.ts';

/**
 * Partners with a tree at once: all members of a mesh of a thousand. 2 KiB for each 70 minutes of tasks that two share,
 * 129 KiB at most; a thousand share few each. Of partners beyond, the one compared least recently is built anew when its
 * turn comes, and partners come in turn: with one more than this most comparisons read the whole index, which is 4 s of
 * CPU for a million records.
 */
export const TREES_MAX = 1_024;
/** Entries added up without letting other work in between: about 3 ms. */
const BUILD_PAGE = 1_000;
/** A cut that passes more drop times than this is as well built anew. */
const MOVE_MAX = 5_000;
/** Attempts to find a list of records of which none is being changed, before it is built anew page by page. */
const CALM_TRIES_MAX = 3;

/** Records that a partner has dropped and this store has not; past these its sums differ until they drop here too. */
const LEFT_OUT_MAX = 10_000;

interface Tree {
  sums: MerkleTree;
  cutMs: number;
  /** Not counted, because the partner has dropped them: by a clock that was fast and has been set right since. */
  readonly leftOut: Set<string>;
  /** Of a tree under construction: entries up to this key of the index are counted. Undefined: all are. */
  mark: string | undefined;
  /** Uses of one tree come one after the other: each may move the cut. */
  tail: Promise<unknown>;
}

export class PartnerTrees {
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #treesMax: number;
  /** The least recently compared first. */
  readonly #trees = new Map<StoreId, Tree>();
  /** No tree was ever given up: a partner without one shares nothing. */
  #isComplete = true;

  constructor(replica: Replica, clock: Clock, treesMax = TREES_MAX) {
    this.#replica = replica;
    this.#clock = clock;
    this.#treesMax = treesMax;
    replica.onVisible((after, before) => this.#changed(before, after));
    replica.onGone((record) => this.#changed(record, undefined));
  }

  /** Adds up what is held already. Once, after the replica was loaded and before it changes. */
  async load(): Promise<void> {
    const { shared } = this.#replica;
    if (!shared.isComplete) await shared.rebuild(this.#entriesOfRecords());
    const cutMs = this.#clock.wallMs();
    let mark = '';
    do {
      const page = shared.page(mark, BUILD_PAGE);
      for (const entry of page.entries) {
        for (const partner of entry.partners) {
          const tree = this.#trees.get(partner) ?? this.#open(partner, cutMs);
          count(tree, entry, 1);
        }
      }
      mark = page.mark;
    } while (mark !== '');
  }

  *#entriesOfRecords(): Generator<SharedEntry | undefined> {
    let after = '';
    for (;;) {
      const ids = this.#replica.ids({ ...(after === '' ? {} : { after }), limit: BUILD_PAGE });
      for (const id of ids) {
        const record = this.#replica.get(id);
        if (record !== undefined) yield this.#entryOf(record);
      }
      after = ids.at(-1) ?? '';
      if (ids.length < BUILD_PAGE) return;
    }
  }

  /** Memory of the sums, for display. */
  get bytes(): number {
    return [...this.#trees.values()].reduce((sum, tree) => sum + tree.sums.bytes, 0);
  }

  get count(): number {
    return this.#trees.size;
  }

  /** Runs `use` on the tree with this partner at this cut; `use` must not wait, the tree moves on behind it. */
  at<T>(partner: StoreId, cutMs: number, use: (sums: MerkleTree) => T): Promise<T> {
    const known = this.#trees.get(partner);
    const tree = known ?? this.#open(partner, cutMs);
    if (known !== undefined) {
      this.#trees.delete(partner);
      this.#trees.set(partner, known);
    }
    const used = tree.tail.then(async () => {
      if (tree.mark === undefined && tree.cutMs !== cutMs) await this.#move(tree, partner, cutMs);
      if (tree.mark !== undefined) await this.#build(tree, partner, cutMs);
      return use(tree.sums);
    });
    tree.tail = used.catch(() => undefined);
    return used;
  }

  /** The sums may be wrong: they are added up anew at their next use. */
  distrust(partner: StoreId): void {
    const tree = this.#trees.get(partner);
    if (tree !== undefined) reset(tree);
  }

  /** The partner has dropped a final record that this store keeps until its own time: no matter between the two. */
  async leaveOut(partner: StoreId, id: string): Promise<void> {
    while (this.#replica.isChanging(id)) await this.#replica.settled(id);
    const tree = this.#trees.get(partner);
    const entry = this.#replica.shared.get(id);
    if (tree === undefined || entry?.partners.includes(partner) !== true) return;
    if (tree.leftOut.size >= LEFT_OUT_MAX || tree.leftOut.has(id)) return;
    if (this.#isCounted(tree, id)) count(tree, entry, -1);
    tree.leftOut.add(id);
  }

  /** Whether an entry of this id, if there is one, is in the sums. */
  #isCounted(tree: Tree, id: string): boolean {
    return tree.mark === undefined || this.#replica.shared.isBehind(id, tree.mark);
  }

  distrustAll(): void {
    for (const tree of this.#trees.values()) reset(tree);
  }

  /** Records of one leaf that are shared with the partner, in order of id, from behind `after` ('' from the first). */
  *ofLeaf(partner: StoreId, cutMs: number, leaf: number, after: string): Generator<SharedEntry> {
    const leftOut = this.#trees.get(partner)?.leftOut;
    const isShared = (entry: SharedEntry): boolean =>
      entry.dropAtMs > cutMs && entry.partners.includes(partner) && !leftOut?.has(entry.id);
    for (let from = after; ; ) {
      const page = this.#replica.shared.ofLeaf(leaf, from, BUILD_PAGE);
      yield* page.entries.filter(isShared);
      if (page.mark === '') return;
      from = page.mark.slice(page.mark.lastIndexOf('/') + 1);
    }
  }

  #entryOf(record: RecordState): SharedEntry | undefined {
    return sharedEntry(this.#replica.storeId, record, this.#replica.dropAtMs(record));
  }

  #changed(before: RecordState | undefined, after: RecordState | undefined): void {
    // Most changes of a mesh of one are shared with nobody: then nothing is hashed.
    if (homeOf(after ?? before ?? NOBODYS).length < 2) return;
    for (const [record, times] of [[before, -1] as const, [after, 1] as const]) {
      const entry = record === undefined ? undefined : this.#entryOf(record);
      if (entry === undefined) continue;
      for (const partner of entry.partners) {
        const known = this.#trees.get(partner);
        const tree = known ?? (this.#isComplete ? this.#open(partner, 0) : undefined);
        if (tree === undefined) continue;
        if (this.#isCounted(tree, entry.id)) count(tree, entry, times);
        if (after === undefined) tree.leftOut.delete(entry.id);
      }
    }
  }

  #open(partner: StoreId, cutMs: number): Tree {
    if (this.#trees.size >= this.#treesMax) {
      const oldest = this.#trees.keys().next();
      if (!oldest.done) this.#trees.delete(oldest.value);
      this.#isComplete = false;
    }
    const mark = this.#isComplete ? undefined : '';
    const tree: Tree = {
      sums: new MerkleTree(),
      cutMs,
      leftOut: new Set(),
      mark,
      tail: Promise.resolve(),
    };
    this.#trees.set(partner, tree);
    return tree;
  }

  async #move(tree: Tree, partner: StoreId, cutMs: number): Promise<void> {
    const from = Math.min(tree.cutMs, cutMs);
    const to = Math.max(tree.cutMs, cutMs);
    for (let tries = 0; tries < CALM_TRIES_MAX; tries++) {
      const ids = this.#replica.droppingBetween(from, to, MOVE_MAX + 1);
      if (ids.length > MOVE_MAX) break;
      const busy = this.#busyOf(ids, ({ dropAtMs }) => dropAtMs > from && dropAtMs <= to);
      if (busy.length > 0) {
        await Promise.all(busy.map((id) => this.#replica.settled(id)));
        continue;
      }
      for (const id of ids) {
        const entry = this.#replica.shared.get(id);
        if (entry?.partners.includes(partner) !== true || tree.leftOut.has(id)) continue;
        if (cutMs === to) tree.sums.subtract(entry.leaf, entry.hash);
        else tree.sums.add(entry.leaf, entry.hash);
      }
      tree.cutMs = cutMs;
      return;
    }
    reset(tree);
  }

  /**
   * Of a list from the disk those that are being changed, and those that are not on it because a change that nobody sees
   * yet has taken them from it: they are in the sums, and would be taken out of them as what they were.
   */
  #busyOf(listed: readonly string[], belongs: (entry: SharedEntry) => boolean): string[] {
    const seen = [...this.#replica.beingWritten()].flatMap((record) => this.#entryOf(record) ?? []);
    const gone = seen.filter(belongs).map(({ id }) => id);
    return [...listed.filter((id) => this.#replica.isChanging(id)), ...gone];
  }

  async #build(tree: Tree, partner: StoreId, cutMs: number): Promise<void> {
    reset(tree);
    tree.cutMs = cutMs;
    let limit = BUILD_PAGE;
    while (tree.mark !== undefined) {
      const { shared } = this.#replica;
      const { mark } = tree;
      const page = shared.page(mark, limit);
      const busy = this.#busyOf(
        page.entries.map(({ id }) => id),
        ({ id }) =>
          !shared.isBehind(id, mark) && (page.mark === '' || shared.isBehind(id, page.mark)),
      );
      if (busy.length > 0) {
        await Promise.all(busy.map((id) => this.#replica.settled(id)));
        // Somewhere in a long page there may always be a change; in a short one there is not.
        limit = Math.max(1, Math.floor(limit / 2));
        continue;
      }
      for (const entry of page.entries) if (entry.partners.includes(partner)) count(tree, entry, 1);
      tree.mark = page.mark === '' ? undefined : page.mark;
      limit = BUILD_PAGE;
      if (tree.mark !== undefined) await sleep(this.#clock, 0);
    }
  }
}

const NOBODYS: RecordState = {
  id: '',
  kind: 'task',
  stamp: 0,
  header: new Uint8Array(0),
  blobDigest: '',
  firstHome: [],
  facts: [],
};

function reset(tree: Tree): void {
  tree.sums = new MerkleTree();
  tree.mark = '';
}

function count(tree: Tree, entry: SharedEntry, times: 1 | -1): void {
  if (entry.dropAtMs <= tree.cutMs || tree.leftOut.has(entry.id)) return;
  if (times === 1) tree.sums.add(entry.leaf, entry.hash);
  else tree.sums.subtract(entry.leaf, entry.hash);
}
