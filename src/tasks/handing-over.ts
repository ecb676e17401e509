/** What an owner that stops in an orderly way gives to the next owners. */
import type { Clock } from '../ports/clock.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';
import { firstOwner, type OwnerView, ownerOrder } from './ownership.ts';
import { currentAttempt, taskOf } from './task.ts';

interface HandingDeps {
  readonly clock: Clock;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly attempts: Attempts;
}

/**
 * Attempts that this store owns go to the next live home store. Answers who got what; `isTaken`: owned here, or being
 * taken over.
 */
export async function handOverTasks(
  { replica, view, attempts, clock }: HandingDeps,
  isTaken: (id: string) => boolean,
): Promise<Map<string, string[]>> {
  const byStore = new Map<string, string[]>();
  // Not the entries alone: what had no open attempt was given up when this store began to stop, and nobody may
  // have read it yet. Who takes it over after the goodbye would wait for our answer until patience ends.
  const asAlive: OwnerView = {
    status: (store) => (store === replica.storeId ? 'alive' : view.status(store)),
  };
  const mine = [...replica.unfinished()].filter(
    (record) =>
      record.kind === 'task' &&
      (isTaken(record.id) ||
        firstOwner(ownerOrder(record.id, homeOf(record)), asAlive) === replica.storeId),
  );
  await Promise.all(
    mine.map(async (record) => {
      const { id } = record;
      const others = homeOf(record).filter((store) => store !== replica.storeId);
      const next = firstOwner(ownerOrder(id, others), view);
      if (next === undefined || view.status(next) === 'stopping') return;
      const ids = byStore.get(next) ?? [];
      byStore.set(next, ids);
      // Of what waits nothing is written or brought to others once more: there may be very many, and they come last.
      const runs = currentAttempt(taskOf(record))?.owner === replica.storeId;
      ids.splice(runs ? 0 : ids.length, 0, id);
      if (!runs) return;
      await attempts.note(id, (task) => {
        const open = currentAttempt(task);
        if (open === undefined || open.owner !== replica.storeId) return undefined;
        return { t: 'hand', run_id: open.start.run_id, to: next, at: clock.wallMs() };
      });
    }),
  );
  return byStore;
}
