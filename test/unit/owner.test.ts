/** What an owner hands over before it stops, and how it looks after very many tasks. */
import { expect, it } from 'vitest';
import type { RecordState } from '../../src/records/record.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { Owner, type OwnerDeps } from '../../src/tasks/owner.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { SLICE_MAX } from '../../src/tasks/sweep.ts';
import { TaskClock } from '../../src/tasks/task-clock.ts';
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

/** An owner of these records, of which everybody else is alive, with what it asked for. */
function ownerOf(records: readonly RecordState[], more: object = {}) {
  const clock = new SimClock();
  const held = new Map(records.map((record) => [record.id, record]));
  const dead = new Set<string>();
  const asked: string[] = [];
  const returned: string[] = [];
  const read: string[] = [];
  const owner = new Owner({
    clock,
    copies: 2,
    taskClock: new TaskClock(clock),
    replica: {
      storeId: SELF,
      room: 'ample',
      onVisible: () => undefined,
      onGone: () => undefined,
      isStandIn: () => false,
      unfinished: () => held.values(),
      get: (id: string) => {
        read.push(id);
        return held.get(id);
      },
    },
    view: {
      status: (store: string) => (dead.has(store) ? 'dead' : 'alive'),
      self: () => ({ peerId: 'self' }),
      peer: (peerId: string) => ({ peerId }),
      peers: () => [],
    },
    takeover: { request: (id: string) => asked.push(id), close: () => undefined },
    dispatcher: { add: () => undefined },
    attempts: { place: async () => 'no', lose: async () => false },
    messaging: {
      cast: (_to: string, _type: string, body: { credits: string[] }) =>
        returned.push(...body.credits),
    },
    onLoad: () => undefined,
    ...more,
  } as unknown as OwnerDeps);
  return { clock, owner, dead, asked, returned, read, held };
}

it('looks at very many tasks in slices, and at all of them once more when members change meanwhile', async () => {
  const records = Array.from({ length: 3 * SLICE_MAX }, ownRecord);
  const { clock, owner, dead, asked } = ownerOf(records);
  dead.add(SELF);
  owner.start();
  expect(asked).toEqual([]);
  // This store is the owner of all from here on, and the walk has passed the first of them.
  dead.delete(SELF);
  owner.evaluateAll();
  expect(asked).toEqual([]);
  await clock.runFor(10);
  expect(new Set(asked)).toEqual(new Set(records.map(({ id }) => id)));
  owner.close();
});

it('watches what runs, and not a hundred thousand that wait', async () => {
  const waiting = Array.from({ length: 20 }, ownRecord);
  const running = withFacts(ownRecord(), factOf(SELF, 1, startOf('run1')));
  const { clock, owner, read } = ownerOf([...waiting, running]);
  owner.start();
  owner.synced([running.id, ...waiting.map(({ id }) => id)], () => true);
  read.length = 0;
  await clock.runFor(600);
  expect(new Set(read)).toEqual(new Set([running.id]));
  owner.close();
});

it('counts those that wait for a slot, until they start, are read again, or are another store’s', async () => {
  const records = Array.from({ length: 4 }, ownRecord);
  const [first, second] = records.map(({ id }) => id);
  const { clock, owner, dead } = ownerOf(records);
  owner.start();
  owner.synced(
    records.map(({ id }) => id),
    () => true,
  );
  expect(owner.waitingCount).toBe(4);
  const starting = owner.startOn(first ?? '', { peerId: 'runner', credit: 'c1' });
  expect([owner.waitingCount, owner.stillReady(first ?? '')]).toEqual([3, false]);
  await starting;
  owner.readAgain();
  expect([owner.waitingCount, owner.stillReady(second ?? '')]).toEqual([0, false]);
  owner.synced([second ?? ''], () => true);
  expect([owner.waitingCount, owner.stillReady(second ?? '')]).toEqual([1, true]);
  dead.add(SELF);
  owner.evaluateAll();
  await clock.runFor(10);
  expect(owner.waitingCount).toBe(0);
  owner.close();
});

it('starts nothing that is not its own any more, though the walk has not come to it', async () => {
  const record = ownRecord();
  const { owner, dead, returned } = ownerOf([record]);
  owner.start();
  owner.synced([record.id], () => true);
  dead.add(SELF);
  await owner.startOn(record.id, { peerId: 'runner', credit: 'c1' });
  expect(returned).toEqual(['c1']);
  expect(owner.ownedCount).toBe(0);
  owner.close();
});

it('does not start what it placed before its process stood still: others may have gone on without it', async () => {
  const record = ownRecord();
  const start = startOf('run1', { runner: 'self', runner_store: SELF });
  const fact = factOf(SELF, 1, start);
  const placed = withFacts(record, fact);
  let nowMs = 1_000;
  const done: string[] = [];
  const { owner, held, asked } = ownerOf([record], {
    clock: { nowMs: () => nowMs, wallMs: () => nowMs, after: () => ({ cancel: () => undefined }) },
    attempts: {
      place: async () => {
        held.set(record.id, placed);
        // Stopped here; what it waited for is there when it goes on, before any of its timers.
        nowMs += 11_000;
        return { record: placed, start, fact };
      },
      takeBack: async (_id: string, { run_id: runId }: { run_id: string }) => {
        done.push(`taken back ${runId}`);
      },
    },
    runner: { start: () => done.push('started') },
  });
  owner.start();
  owner.synced([record.id], () => true);
  asked.length = 0;
  await owner.startOn(record.id, { peerId: 'self', credit: 'c1' });
  expect(done).toEqual(['taken back run1']);
  expect(asked).toEqual([record.id]);
  owner.close();
});
