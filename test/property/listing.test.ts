/** Lists of the whole mesh: whatever lies where, all pages together show every task once, the newest first. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { TaskState } from '../../src/api/task.ts';
import { LIST_LIMITS, Lister } from '../../src/tasks/listing.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';
import {
  endOf,
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const HOSTS = ['a', 'b', 'c', 'd'] as const;
const STATES = ['waiting', 'active', 'completed'] as const;
const OTHER_END = [
  factOf(storeOf('y'), 1, startOf('run2')),
  factOf(storeOf('y'), 2, endOf('run2')),
  factOf(storeOf('y'), 3, finalOf({ run_id: 'run2', digest: 'other' })),
];
const FACTS = {
  waiting: [],
  active: [factOf(storeOf('x'), 1, startOf('run1'))],
  completed: [
    factOf(storeOf('x'), 1, startOf('run1')),
    factOf(storeOf('x'), 2, endOf('run1')),
    factOf(storeOf('x'), 3, finalOf()),
  ],
};

interface Planned {
  readonly home: readonly (typeof HOSTS)[number][];
  readonly state: (typeof STATES)[number];
  /** How many of its home know how far it is; the others hold the creation alone. */
  readonly knowing: number;
}

const planned: fc.Arbitrary<Planned> = fc.record({
  home: fc.subarray([...HOSTS], { minLength: 1, maxLength: 3 }),
  state: fc.constantFrom(...STATES),
  knowing: fc.integer({ min: 1, max: 3 }),
});

/** A world with these tasks, the oldest first, and a lister with these limits. */
async function worldOf(plans: readonly Planned[], limits: Partial<typeof LIST_LIMITS>) {
  const world = await AttemptsWorld.of(...HOSTS);
  const { clock } = world.stores;
  const expected: { id: string; state: TaskState }[] = [];
  for (const [age, plan] of plans.entries()) {
    const stores = plan.home.map((name) => world.host(name).storeId);
    const record = newRecord(stores, { stamp: clock.wallMs() + age });
    const grown = withFacts(record, ...FACTS[plan.state]);
    for (const [i, name] of plan.home.entries()) {
      const copy = i < plan.knowing ? grown : record;
      const { sharing } = world.host(name);
      await world.stores.run(
        sharing.accept({ record: copy, blob: undefined, fresh: false, standIn: false }),
      );
    }
    expected.unshift({ id: record.id, state: plan.state });
  }
  const listers = world.hosts.map(({ messaging, replica, visibility, view }) => {
    const deps = { clock, messaging, replica, visibility, view, waitingReason: () => undefined };
    return new Lister(deps, { ...LIST_LIMITS, ...limits });
  });
  const [lister] = listers;
  if (lister === undefined) throw new Error('no host');
  return { world, lister, expected };
}

type World = Awaited<ReturnType<typeof worldOf>>;

/** All pages, as a client reads them: as long as there is a cursor. */
async function pagesOf({ world, lister }: World, query: { state?: TaskState; limit: number }) {
  const ids: string[] = [];
  let before: string | undefined;
  let pages = 0;
  do {
    const listing = await world.stores.run(
      lister.list({ ...query, ...(before === undefined ? {} : { before }) }),
    );
    expect(listing.tasks.length).toBeLessThanOrEqual(query.limit);
    ids.push(...listing.tasks.map((task) => task.id));
    before = listing.cursor;
    pages += 1;
  } while (before !== undefined && pages < 200);
  return { ids, pages };
}

it('finds the few active ones below many that wait, at the first call', async () => {
  const active: Planned = { home: ['b', 'c', 'd'], state: 'active', knowing: 1 };
  const waiting: Planned = { home: ['a', 'b', 'c'], state: 'waiting', knowing: 1 };
  const made = await worldOf([active, active, ...Array.from({ length: 40 }, () => waiting)], {
    scanRecords: 15,
  });
  const listing = await made.world.stores.run(made.lister.list({ state: 'active', limit: 10 }));
  expect(listing.tasks.map((task) => task.id)).toEqual(
    made.expected.slice(-2).map((task) => task.id),
  );
  expect(listing.cursor).toBeUndefined();
});

it('finds the tasks that came to more than one end, where any copy knows of it', async () => {
  const done: Planned = { home: ['a', 'b'], state: 'completed', knowing: 2 };
  const made = await worldOf([done, done, done], {});
  const [newest, doubled] = made.expected.map((task) => task.id);
  if (doubled === undefined) throw new Error('no task');
  const { replica, sharing } = made.world.host('b');
  const record = replica.get(doubled);
  if (record === undefined) throw new Error('no record');
  const joined = withFacts(record, ...OTHER_END);
  await made.world.stores.run(
    sharing.accept({ record: joined, blob: undefined, fresh: false, standIn: false }),
  );
  const list = (query: { conflicts?: true }) =>
    made.world.stores.run(made.lister.list({ limit: 10, ...query }));
  expect((await list({ conflicts: true })).tasks).toMatchObject([{ id: doubled, conflicts: 1 }]);
  const all = (await list({})).tasks;
  expect(all.map(({ id }) => id)).toContain(newest);
  expect(all.find(({ id }) => id === doubled)?.conflicts).toBe(1);
  expect(all.find(({ id }) => id === newest)).not.toHaveProperty('conflicts');
});

it('shows every task once in the order of age, however scans are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(planned, { maxLength: 24 }),
      fc.constantFrom<TaskState | undefined>(undefined, ...STATES),
      fc.integer({ min: 1, max: 6 }),
      fc.record({
        scanRecords: fc.integer({ min: 1, max: 8 }),
        scanTasks: fc.integer({ min: 1, max: 8 }),
        confirmIds: fc.integer({ min: 1, max: 8 }),
        rounds: fc.integer({ min: 1, max: 4 }),
        answerBytes: fc.constantFrom(1, 2_500, LIST_LIMITS.answerBytes),
      }),
      async (plans, state, limit, limits) => {
        const made = await worldOf(plans, limits);
        const { ids } = await pagesOf(made, {
          limit,
          ...(state === undefined ? {} : { state }),
        });
        const wanted = made.expected.filter((task) => state === undefined || task.state === state);
        expect(ids).toEqual(wanted.map((task) => task.id));
      },
    ),
    { numRuns: 60 },
  );
});
