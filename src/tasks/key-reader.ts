/**
 * Reading dedupe keys before they are decided on: what all members in sight hold of a key is joined into this store.
 * Once that is done, a home store's own copy is enough until the members change. (The stores of a home tell one
 * another every change; what they cannot know is what was decided while they were out of sight.)
 */
import type { Logger } from '../base/telemetry.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import { prefixEnd } from '../ports/store.ts';
import { homeOf, KEY_PREFIX } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import { type MeshView, type PeerSight, presentPeers } from './mesh-view.ts';
import { ownerOrder } from './ownership.ts';

/**
 * How long a claim waits for members that do not answer. Longer, and every submit with a key would wait for a host
 * that stands still until it is convicted; what is missed shows when the sets join.
 */
export const READ_PATIENCE_MS = 1_000;
/** Keys that are asked for within this time travel together: a bulk of submits asks for hundreds. */
const GATHER_MS = 1;
/** Keys known to be up to date; the oldest are forgotten, and read again. */
const FRESH_MAX = 100_000;
/** Keys that were given while a member was out of sight; the oldest are compared no more until they are asked for. */
const DOUBTFUL_MAX = 10_000;
/** Not dead, and not silent: nobody else decides on keys where we do not hear it. */
const IN_SIGHT: ReadonlySet<PeerSight['status']> = new Set(['alive', 'left', 'removed']);
/** After a change of the members: their links come up, and more changes follow. */
const COMPARE_AFTER_MS = 1_000;

export interface KeyReaderDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
}

export class KeyReader {
  readonly #deps: KeyReaderDeps;
  readonly #fresh = new Set<string>();
  /**
   * Given while somebody was out of sight. The two sides of a partition may give a key homes that have no store in
   * common, and then no anti-entropy ever joins what they said: it is done here when the members change.
   */
  readonly #doubtful = new Set<string>();
  /** All held keys are in doubt, and not yet listed. */
  #doubtsAll = false;
  #comparing = false;
  #closed = false;
  /** Counts the changes of the members: what was asked before one is not up to date after it. */
  #epoch = 0;
  #round: { readonly ids: Set<string>; readonly done: Promise<unknown> } | undefined;

  constructor(deps: KeyReaderDeps) {
    this.#deps = deps;
  }

  /** The members changed. */
  forget(): void {
    this.#epoch += 1;
    this.#fresh.clear();
    if (this.#comparing || this.#closed) return;
    if (this.#doubtful.size === 0 && !this.#doubtsAll) return;
    this.#comparing = true;
    void this.#compare().then(() => {
      this.#comparing = false;
    });
  }

  close(): void {
    this.#closed = true;
  }

  /** The key was given to a new task. */
  given(id: string): void {
    if (this.#fresh.has(id) && this.#areAllInSight()) return;
    this.#doubtful.delete(id);
    this.#doubtful.add(id);
    dropOldest(this.#doubtful, DOUBTFUL_MAX);
  }

  /** Some became members that had decided on keys by themselves: what is held here is compared with what they hold. */
  doubtAll(): void {
    this.#doubtsAll = true;
    this.forget();
  }

  /** Of each home one store asks: the first that lives. */
  #doubtHeld(): void {
    const { replica, view } = this.#deps;
    const [after, before] = [KEY_PREFIX, prefixEnd(KEY_PREFIX)];
    for (const id of replica.ids({ after, before, limit: DOUBTFUL_MAX })) {
      const record = replica.get(id);
      const order = record === undefined ? [] : ownerOrder(id, homeOf(record));
      if (order.find((store) => view.status(store) !== 'dead') === replica.storeId)
        this.#doubtful.add(id);
    }
    this.#doubtsAll = false;
    dropOldest(this.#doubtful, DOUBTFUL_MAX);
  }

  #areAllInSight(): boolean {
    return this.#deps.view.peers().every(({ status }) => IN_SIGHT.has(status));
  }

  async #compare(): Promise<void> {
    for (let epoch = -1; epoch !== this.#epoch && !this.#closed; ) {
      epoch = this.#epoch;
      await sleep(this.#deps.clock, COMPARE_AFTER_MS);
      if (this.#doubtsAll) this.#doubtHeld();
      const ids = [...this.#doubtful];
      if (this.#closed || !(await this.#ask(ids)) || !this.#areAllInSight()) continue;
      for (const id of ids) this.#doubtful.delete(id);
    }
  }

  /** Afterwards this store knows of the key what all know who could be heard. */
  async read(id: string): Promise<void> {
    const { replica } = this.#deps;
    const record = replica.get(id);
    const isHome = record !== undefined && homeOf(record).includes(replica.storeId);
    if (isHome && this.#fresh.has(id)) return;
    this.#round ??= this.#newRound();
    this.#round.ids.add(id);
    await this.#round.done;
  }

  #newRound(): { readonly ids: Set<string>; readonly done: Promise<unknown> } {
    const ids = new Set<string>();
    const done = sleep(this.#deps.clock, GATHER_MS).then(() => {
      this.#round = undefined;
      return this.#ask([...ids]);
    });
    return { ids, done };
  }

  /** True when all members in sight were heard. */
  async #ask(ids: readonly string[]): Promise<boolean> {
    const { view, log } = this.#deps;
    const epoch = this.#epoch;
    const others = presentPeers(view).filter((peer) => !peer.self);
    const heard = await Promise.all(others.map((peer) => this.#askOne(peer, ids)));
    const unheard = others.filter((_, i) => heard[i] !== true).map((peer) => peer.name);
    if (unheard.length > 0) {
      log.log('warn', 'dedupe keys were read without some members', { keys: ids.length, unheard });
      return false;
    }
    if (epoch !== this.#epoch) return true;
    for (const id of ids) this.#fresh.add(id);
    dropOldest(this.#fresh, FRESH_MAX);
    return true;
  }

  async #askOne(peer: PeerSight, ids: readonly string[]): Promise<boolean> {
    const { sharing } = this.#deps;
    if (!peer.reachable) return false;
    const copies = await sharing.ask(peer.peerId, ids, false, READ_PATIENCE_MS);
    if (!copies.ok) return false;
    for (const copy of copies.value) {
      const joined = await sharing.accept({ ...copy, fresh: false, standIn: false });
      // A key past its time is not taken, and not missed.
      if (!joined.ok && joined.error.code !== 'ID_EXPIRED') return false;
    }
    return true;
  }
}

function dropOldest(set: Set<string>, max: number): void {
  for (const oldest of set) {
    if (set.size <= max) return;
    set.delete(oldest);
  }
}
