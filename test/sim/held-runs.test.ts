/**
 * A runner on the small knowledge of a cut: the stores that know of its run are on the other side, and the store that
 * takes the task over on this side does not. The runner does, and that must count.
 */
import { expect, it } from 'vitest';
import { argvOf } from '../../src/sim/commands.ts';
import type { Submitted } from '../../src/sim/evidence.ts';
import { World } from '../../src/sim/world.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { taskOf } from '../../src/tasks/task.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const SLOTS = 2;
const DELAY_MS = 3_000;

const command = (durationMs: number) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});

/** An id whose home leaves out two hosts, and its hosts: the home in the order of ownership, then the two others. */
function cast(world: World): { id: string; hosts: [number, number, number, number, number] } {
  const stores = world.hosts.map((_, i) => world.peer(i).replica.storeId);
  const { submitter } = world.peer(0).tasks;
  for (const id of submitter.reserve(200).ids) {
    const home = ownerOrder(id, submitter.homeOfId(id)).map((store) => stores.indexOf(store));
    const others = stores.flatMap((_, i) => (home.includes(i) ? [] : [i]));
    const [owner, second, third] = home;
    const [runner, other] = others;
    if (owner === undefined || second === undefined || third === undefined) continue;
    if (runner !== undefined && other !== undefined)
      return { id, hosts: [owner, second, third, runner, other] };
  }
  throw new Error('no id has a home of three');
}

/** All slots of the other hosts are taken. */
async function leaveRoomAt(world: World, runner: number): Promise<void> {
  const stores = world.hosts.map((_, i) => world.peer(i).replica.storeId);
  for (const i of world.hosts.keys()) {
    if (i === runner) continue;
    const { submitter } = world.peer(i).tasks;
    const mine = submitter
      .reserve(200)
      .ids.filter((id) => ownerOrder(id, submitter.homeOfId(id))[0] === stores[i]);
    for (const id of mine.slice(0, SLOTS)) world.submit(i, { ...command(500_000), id }, ABOUT);
  }
  const isFull = () => world.runs.length === SLOTS * (world.hosts.length - 1);
  expect(await world.runUntil(isFull, 10_000)).toBe(true);
  expect(world.runs.map(({ host }) => host)).not.toContain(`h${runner + 1}`);
}

it.each([
  ['that goes on', 40_000],
  ['that is over, and whose end nobody has', 1_000],
])('a run %s is not started again by an owner that has not heard of it', async (_, durationMs) => {
  const world = new World({ seed: 'held', peers: 5, slots: SLOTS });
  await world.run(async () => {
    await world.joinAll();
    await world.runFor(3_000);
    const { id, hosts } = cast(world);
    const [owner, second, third, runner, other] = hosts;
    await leaveRoomAt(world, runner);
    const input = { ...command(durationMs), id, delay_ms: DELAY_MS };
    const submitted: Submitted = world.submit(owner, input, ABOUT);
    const runs = () => world.runs.filter(({ taskId }) => taskId === id);
    await world.runFor(DELAY_MS - 500);
    // It is placed while the third store of its home hears nobody.
    world.partition([[third], [owner, second, runner, other]]);
    expect(await world.runUntil(() => runs().length === 1, 5_000)).toBe(true);
    expect(runs()).toMatchObject([{ host: `h${runner + 1}` }]);
    // And from then on that one and the runner are on the side without the others.
    world.partition([
      [owner, second],
      [third, runner, other],
    ]);
    const here = () => world.peer(third).replica.get(id);
    const isOver = () => {
      const record = here();
      return record !== undefined && taskOf(record).final?.state === 'completed';
    };
    await world.runUntil(isOver, 60_000);
    expect(submitted.outcome).toBe('acknowledged');
    expect(runs()).toHaveLength(1);
    expect(isOver()).toBe(true);
    world.heal();
    await world.runFor(20_000);
    expect(runs()).toHaveLength(1);
    for (const i of [owner, second, third]) {
      const record = world.peer(i).replica.get(id);
      expect(record && taskOf(record).final?.state).toBe('completed');
    }
  });
});
