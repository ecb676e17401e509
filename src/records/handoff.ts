/**
 * Hinted handoff (Dynamo §4.6), with a difference: a stand-in's copy that an acknowledgement counted is a replica.
 * It is pushed to every reachable home store and deleted only when `required` home stores have confirmed it.
 */
import type { StoreDirectory, StoreStatus } from './directory.ts';
import { homeOf, joinRecords, type StoreId } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';

/** Stand-in copies looked at in one round; the next round goes on behind them. */
export const HANDOFF_ROUND_MAX = 200;
/**
 * Delivered at once. Not one after the other: a store that is linked and does not answer takes the patience of a call,
 * five seconds, and with a hundred copies behind it what only this store holds would be nowhere else for minutes. Each may
 * have a payload of 1 MiB on its way to three stores.
 */
const DELIVERIES_AT_ONCE = 16;

/**
 * Every so many walks over all stand-in copies, a minute of rounds, those that are left are read at their home whoever
 * of it is gone. A home store confirms for ever what it once had: only its answer says that the task is over and was let
 * go, and a copy that outlived even the tombstone would run again.
 */
const THOROUGH_WALKS = 12;

export interface HandoffDeps {
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly directory: StoreDirectory;
}

/** How many of these home stores must have confirmed the copy before it is given up. */
const needed = (others: readonly StoreId[], required: number): number =>
  Math.max(1, Math.min(required, others.length));

/** Its peer left, or shows another store, or an operator removed it: it does not come back. */
const isGone = (status: StoreStatus): boolean =>
  status === 'unknown' || status === 'left' || status === 'removed';

export class Handoff {
  readonly #deps: HandoffDeps;
  /** Where the last round ended: copies that cannot be delivered must not hide those behind them. */
  #after = '';
  #walks = 0;

  constructor(deps: HandoffDeps) {
    this.#deps = deps;
  }

  /** Whether the last round ended before it had come to all stand-in copies. */
  get isUnderWay(): boolean {
    return this.#after !== '';
  }

  /** One round; answers how many copies could be given up. */
  async round(required: number): Promise<number> {
    const ids = this.#deps.replica.standIns(this.#after, HANDOFF_ROUND_MAX);
    const isThorough = this.#walks % THOROUGH_WALKS === THOROUGH_WALKS - 1;
    this.#after = ids.length < HANDOFF_ROUND_MAX ? '' : (ids.at(-1) ?? '');
    if (this.#after === '') this.#walks += 1;
    const kept: string[] = [];
    const silent = new Set<StoreId>();
    const left = ids.values();
    const one = async (): Promise<void> => {
      for (const id of left) if (!(await this.#deliver(id, required, silent))) kept.push(id);
    };
    await Promise.all(Array.from({ length: DELIVERIES_AT_ONCE }, one));
    await this.#refresh(kept, silent, isThorough ? undefined : required);
    return ids.length - kept.length;
  }

  /**
   * Where stores of the home are gone for good, others have taken their places, and nobody tells a stand-in: what it
   * offers may have been confirmed long ago by a store that it still asks, while its own copy stays as it was. So it
   * reads what the home holds. Not so where they are merely dead: that would be read again in every round, not in each
   * thorough walk.
   */
  async #refresh(
    ids: readonly string[],
    silent: ReadonlySet<StoreId>,
    required: number | undefined,
  ): Promise<void> {
    const { replica, sharing, directory } = this.#deps;
    const byPeer = new Map<string, string[]>();
    for (const id of ids) {
      const record = replica.get(id);
      if (record === undefined) continue;
      const others = homeOf(record).filter((store) => store !== replica.storeId);
      const left = others.filter((store) => !isGone(directory.statusOf(store)));
      if (required !== undefined && left.length >= needed(others, required)) continue;
      for (const store of left) {
        const peer = directory.peerOf(store);
        if (peer !== undefined && !silent.has(store))
          byPeer.set(peer, [...(byPeer.get(peer) ?? []), id]);
      }
    }
    for (const [peer, asked] of byPeer) {
      const copies = await sharing.ask(peer, asked, false);
      if (!copies.ok) continue;
      for (const copy of copies.value) {
        const own = replica.get(copy.record.id);
        if (own === undefined || joinRecords(own, copy.record) === own) continue;
        await sharing.accept({ ...copy, fresh: false, standIn: true });
      }
    }
  }

  /** `silent`: stores that did not answer in this round; they are asked again in the next one. */
  async #deliver(id: string, required: number, silent: Set<StoreId>): Promise<boolean> {
    const { replica, sharing, directory } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return false;
    const home = homeOf(record);
    const inHome = home.includes(replica.storeId);
    const others = home.filter((store) => store !== replica.storeId);
    const reachable = others.filter(
      (store) => directory.peerOf(store) !== undefined && !silent.has(store),
    );
    const shared = await Promise.all(
      reachable.map(async (store) => {
        const done = await sharing.shareWith(id, store);
        if (!done.ok && done.error.code === 'TIMEOUT') silent.add(store);
        return done.ok;
      }),
    );
    const confirmed = shared.filter((done) => done).length;
    if (!inHome && confirmed < needed(others, required)) return false;
    const done = await replica.releaseStandIn(record, inHome);
    return done.ok && done.value;
  }
}
