/** Dedupe keys in the small world: who holds a key is not forgotten when the ring changes. */
import { expect, it } from 'vitest';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';
import { taskOf } from '../../src/tasks/task.ts';

const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
const request = (i: number) => ({
  exec: { argv: argvOf({ durationMs: 60_000, failures: 0, isDeaf: false }), cwd: '/' },
  dedupe_key: `k${i}`,
});
const KEYS = 24;

/** Asks for all keys through one peer; answers the ids that were told. */
async function askAll(world: World, at: number): Promise<(string | undefined)[]> {
  const submits = Array.from({ length: KEYS }, (_, i) => world.submit(at, request(i), about));
  const isAnswered = () =>
    submits.every(({ outcome }) => ['acknowledged', 'existing'].includes(outcome));
  expect(await world.runUntil(isAnswered, 10_000)).toBe(true);
  // Of a task that was there already the receipt alone names the id.
  return submits.map(({ id, detail }) => id ?? (JSON.parse(detail) as { id?: string }).id);
}

it('starts nothing twice when a member is killed, and when it comes back', async () => {
  const world = new World({ seed: 'keys', peers: 4, slots: 40 });
  await world.run(async () => {
    await world.joinAll();
    const first = await askAll(world, 0);
    await world.runFor(8_000);
    world.crash(3);
    await world.runFor(9_000);
    expect(await askAll(world, 0)).toEqual(first);
    await world.until(world.restart(3), 9_000);
    await world.runUntil(() => world.isWhole(), 20_000);
    expect(await askAll(world, 3)).toEqual(first);
  });
  const attempts = world.runs.map(({ taskId, attempt }) => `${taskId} ${attempt}`);
  expect(new Set(world.runs.map(({ taskId }) => taskId)).size).toBe(KEYS);
  expect(new Set(attempts).size).toBe(attempts.length);
});

it('starts nothing twice when a member joins, and when one leaves', async () => {
  const world = new World({ seed: 'keys join', peers: 5, slots: 40 });
  await world.run(async () => {
    await world.joinAll();
    await world.until(world.stop(4), 60_000);
    await world.runFor(9_000);
    const first = await askAll(world, 0);
    await world.until(world.restart(4), 9_000);
    await world.runUntil(() => world.isWhole(), 20_000);
    expect(await askAll(world, 1)).toEqual(first);
    await world.until(world.stop(2), 60_000);
    await world.runFor(9_000);
    expect(await askAll(world, 0)).toEqual(first);
  });
});

it('ends one of two tasks that the sides of a partition let in, when neither has started', async () => {
  const world = new World({ seed: 'keys parted', peers: 4, slots: 4 });
  const inAnHour = { ...request(0), delay_ms: 3_600_000 };
  await world.run(async () => {
    await world.joinAll();
    world.partition([
      [0, 1],
      [2, 3],
    ]);
    await world.runFor(20_000);
    const submits = [0, 2].map((at) => world.submit(at, inAnHour, about));
    await world.runUntil(
      () => submits.every(({ outcome }) => ['acknowledged', 'existing'].includes(outcome)),
      10_000,
    );
    const ids = submits.map(({ id }) => id ?? '').sort();
    expect(new Set(ids).size).toBe(2);
    world.heal();
    const finals = () =>
      ids.map((id) => {
        const copies = world.hosts.map((_, i) => world.peer(i).replica.get(id));
        const ended = copies.find((copy) => copy && taskOf(copy).final !== undefined);
        return ended && taskOf(ended).final;
      });
    expect(await world.runUntil(() => finals()[1] !== undefined, 60_000)).toBe(true);
    await world.runFor(10_000);
    expect(finals()).toMatchObject([undefined, { state: 'canceled', dup: ids[0] }]);
  });
});
