/** What an owner hands over before it stops. */
import { expect, it } from 'vitest';
import type { RecordState } from '../../src/records/record.ts';
import { Owner, type OwnerDeps } from '../../src/tasks/owner.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

const [SELF, NEXT] = [storeOf('self'), storeOf('next')];

/** A task that is this store's to own. */
function ownRecord(): RecordState {
  for (;;) {
    const record = newRecord([SELF, NEXT]);
    if (ownerOrder(record.id, [SELF, NEXT])[0] === SELF) return record;
  }
}

it('goes to the next store: what runs first, and nothing is written about what waits', async () => {
  const waiting = Array.from({ length: 20 }, ownRecord);
  const running = withFacts(ownRecord(), factOf(SELF, 1, startOf('run1')));
  const noted: string[] = [];
  const owner = new Owner({
    clock: { wallMs: () => 1 },
    replica: {
      storeId: SELF,
      onVisible: () => undefined,
      onGone: () => undefined,
      unfinished: () => [...waiting, running].values(),
    },
    view: {
      status: (store: string) => (store === SELF ? 'stopping' : 'alive'),
      self: () => ({ peerId: 'self' }),
    },
    attempts: {
      note: async (id: string) => {
        noted.push(id);
        return true;
      },
    },
  } as unknown as OwnerDeps);
  const ids = (await owner.handOver()).get(NEXT);
  expect(noted).toEqual([running.id]);
  expect(ids?.[0]).toBe(running.id);
  expect(new Set(ids)).toEqual(new Set([...waiting, running].map(({ id }) => id)));
});
