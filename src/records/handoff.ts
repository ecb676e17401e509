/**
 * Hinted handoff (Dynamo §4.6), with a difference: a stand-in's copy that an acknowledgement counted is a replica.
 * It is pushed to every reachable home store and deleted only when `required` home stores have confirmed it.
 */
import type { StoreDirectory } from './directory.ts';
import { homeOf } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';

/** Stand-in copies looked at in one round; the next round goes on behind them. */
export const HANDOFF_ROUND_MAX = 200;

export interface HandoffDeps {
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly directory: StoreDirectory;
}

export class Handoff {
  readonly #deps: HandoffDeps;
  /** Where the last round ended: copies that cannot be delivered must not hide those behind them. */
  #after = '';

  constructor(deps: HandoffDeps) {
    this.#deps = deps;
  }

  /** One round; answers how many copies could be given up. */
  async round(required: number): Promise<number> {
    const ids = this.#deps.replica.standIns(this.#after, HANDOFF_ROUND_MAX);
    this.#after = ids.length < HANDOFF_ROUND_MAX ? '' : (ids.at(-1) ?? '');
    let released = 0;
    for (const id of ids) if (await this.#deliver(id, required)) released += 1;
    return released;
  }

  async #deliver(id: string, required: number): Promise<boolean> {
    const { replica, sharing, directory } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return false;
    const home = homeOf(record);
    const inHome = home.includes(replica.storeId);
    const others = home.filter((store) => store !== replica.storeId);
    const reachable = others.filter((store) => directory.peerOf(store) !== undefined);
    const shared = await Promise.all(reachable.map((store) => sharing.shareWith(id, store)));
    const confirmed = shared.filter((done) => done).length;
    if (!inHome && confirmed < Math.max(1, Math.min(required, others.length))) return false;
    const done = await replica.releaseStandIn(record, inHome);
    return done.ok && done.value;
  }
}
