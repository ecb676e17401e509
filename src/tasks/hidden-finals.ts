/**
 * Finals that were hidden when the daemon ended: too few stores had them, or it had no time to note that enough did.
 * Others may have taken the task over since and come to another end, so it is not enough that they have this one now:
 * what they hold is read before any is shown.
 */
import { type Clock, sleep } from '../ports/clock.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { Attempts } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';

/** At once: a daemon that was killed has those of its last second. */
const AT_ONCE = 20;
const READ_RETRY_MS = 500;

export interface HiddenFinalsDeps {
  readonly clock: Clock;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly attempts: Attempts;
}

/** Resolves when all of them are shown, or the peer stops. */
export async function showHidden(deps: HiddenFinalsDeps, ids: readonly string[]): Promise<void> {
  const { clock, attempts } = deps;
  const left = [...ids];
  const some = async (): Promise<void> => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      while (!attempts.isStopped && !(await hasRead(deps, id))) await sleep(clock, READ_RETRY_MS);
      await attempts.confirm(id);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, left.length) }, some));
}

/** Joins what the others of its home hold; false while one of them, not dead, has not answered. */
async function hasRead({ replica, sharing, view }: HiddenFinalsDeps, id: string): Promise<boolean> {
  const record = replica.get(id);
  const stores = record === undefined ? [] : homeOf(record);
  const asked = stores.filter(
    (store) => store !== replica.storeId && view.status(store) !== 'dead',
  );
  const answers = await Promise.all(
    asked.map(async (store) => {
      const peer = view.directory.peerOf(store);
      const answer = peer === undefined ? undefined : await sharing.ask(peer, [id], false);
      for (const copy of answer?.ok ? answer.value : [])
        await sharing.accept({ ...copy, fresh: false, standIn: replica.isStandIn(id) });
      return answer?.ok === true;
    }),
  );
  return !answers.includes(false);
}
