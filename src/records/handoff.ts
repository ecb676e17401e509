/**
 * Hinted handoff (Dynamo §4.6), with a difference: a stand-in's copy that an acknowledgement counted is a replica.
 * It is pushed to every reachable home store and deleted only when `required` home stores have confirmed it.
 */
import type { StoreDirectory } from './directory.ts';
import { homeOf } from './record.ts';
import type { Replica } from './replica.ts';
import type { Sharing } from './sharing.ts';

/** Stand-in copies looked at in one round; the next round goes on. */
export const HANDOFF_ROUND_MAX = 200;

/** Answers how many copies could be given up. */
export async function handOffStandIns(
  deps: {
    readonly replica: Replica;
    readonly sharing: Sharing;
    readonly directory: StoreDirectory;
  },
  required: number,
): Promise<number> {
  const { replica, sharing, directory } = deps;
  let released = 0;
  for (const id of replica.standIns(HANDOFF_ROUND_MAX)) {
    const record = replica.get(id);
    if (record === undefined) continue;
    const home = homeOf(record);
    const inHome = home.includes(replica.storeId);
    const others = home.filter((store) => store !== replica.storeId);
    const reachable = others.filter((store) => directory.peerOf(store) !== undefined);
    const shared = await Promise.all(reachable.map((store) => sharing.shareWith(id, store)));
    const confirmed = shared.filter((done) => done).length;
    if (!inHome && confirmed < Math.min(required, others.length)) continue;
    const done = await replica.releaseStandIn(record, inHome);
    if (done.ok && done.value) released += 1;
  }
  return released;
}
