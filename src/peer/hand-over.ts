/** What a peer hands to others before it goes: the ownership of its tasks, and, when it leaves, every copy. */
import type { Clock } from '../ports/clock.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { Owner } from '../tasks/owner.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { Sight } from './sight.ts';

/** How long the next owner is given to read what this store holds. */
export const HANDOVER_TIMEOUT_MS = 5_000;
/**
 * All of them together: with very many tasks that wait, a stop would take minutes, and its supervisor would make a crash of
 * it. What runs is handed over first, and what is left is taken over after the goodbye.
 */
export const HANDOVER_MS_MAX = 4 * HANDOVER_TIMEOUT_MS;
/** Records confirmed at others at the same time while leaving. */
const LEAVE_BATCH = 64;
/** Ids of one request to take over. */
const TAKE_IDS_MAX = 1_000;

export interface HandOverDeps {
  readonly clock: Clock;
  readonly messenger: Messaging;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly sight: Sight;
  readonly owner: Owner;
  readonly copiesRequired: number;
}

/** Asks the next owners to take over, and stays until they have read what this store holds. */
export async function handOverOwnership(deps: HandOverDeps): Promise<void> {
  const { clock } = deps;
  const until = clock.nowMs() + HANDOVER_MS_MAX;
  const byStore = await deps.owner.handOver();
  await Promise.all(
    [...byStore].map(async ([store, ids]) => {
      const peer = deps.sight.directory.peerOf(store);
      if (peer === undefined) return;
      for (let i = 0; i < ids.length && clock.nowMs() < until; i += TAKE_IDS_MAX) {
        const body = { ids: ids.slice(i, i + TAKE_IDS_MAX) };
        await deps.messenger.call(peer, 'own.take', body, { timeoutMs: HANDOVER_TIMEOUT_MS });
      }
    }),
  );
}

/** Brings every record to min(W, other members) other stores; answers those for which that failed. */
export async function handOverCopies(deps: HandOverDeps, timeoutMs: number): Promise<string[]> {
  const { clock, sight, replica, copiesRequired } = deps;
  const until = clock.nowMs() + timeoutMs;
  const others = sight
    .peers()
    .filter((peer) => !peer.self && (peer.status === 'alive' || peer.status === 'suspect'));
  // The last member takes its finished tasks with it; unfinished ones would be nobody's.
  if (others.length === 0) return [...replica.unfinished()].map((record) => record.id);
  const required = Math.min(copiesRequired, others.length);
  const onlyHere: string[] = [];
  let after: string | undefined;
  for (;;) {
    const ids = replica.ids({ ...(after === undefined ? {} : { after }), limit: LEAVE_BATCH });
    after = ids.at(-1);
    if (after === undefined) return onlyHere;
    const confirmed = await Promise.all(
      ids.map(async (id) => clock.nowMs() < until && (await confirmElsewhere(deps, id, required))),
    );
    onlyHere.push(...ids.filter((_, i) => confirmed[i] !== true));
  }
}

async function confirmElsewhere(
  deps: HandOverDeps,
  id: string,
  required: number,
): Promise<boolean> {
  const spread = await deps.sharing.share(id, required + 1);
  if (spread === undefined) return false;
  return spread.storedOn.filter((store) => store !== deps.replica.storeId).length >= required;
}
