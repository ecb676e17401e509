/** Two meshes with work in both become one: what runs goes on, nothing runs twice, and nobody takes over what is not lost. */
import { describe, expect, it } from 'vitest';
import { check } from '../../src/sim/checkers.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';
import { taskOf } from '../../src/tasks/task.ts';

const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
const job = (durationMs: number) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});
/** Hosts 1 to 3 and 4 to 6. */
const SIDES = [
  [0, 1, 2],
  [3, 4, 5],
] as const;
const LIMIT_MS = 180_000;
const STRICT = { strict: true, cutsOnly: false, strayMsMax: 10_000 };

async function underWork(seed: string, story: (world: World) => Promise<void>): Promise<World> {
  const world = new World({ seed, peers: 6, slots: 2 });
  await world.run(async () => {
    await world.joinAll(SIDES);
    await world.runFor(3_000);
    await story(world);
  });
  return world;
}

async function tokenOf(world: World, i: number): Promise<string> {
  const invited = await world.until(world.peer(i).membership.invite(600_000, true), 10_000);
  if (!invited.ok) throw new Error(invited.error.message);
  return invited.value.token;
}

const merge = async (world: World, at: number, inviter: number) =>
  world.until(world.peer(at).membership.merge(await tokenOf(world, inviter), false), 20_000);

/** Everything is at its end, and the checkers have nothing to say. */
async function endsWell(world: World, options = STRICT): Promise<void> {
  await world.runUntil(() => world.pending().length === 0, LIMIT_MS);
  expect(world.pending()).toEqual([]);
  expect(check(world.evidence(), options)).toEqual([]);
}

const starts = ({ runs }: World) => runs.map(({ taskId, attempt }) => `${taskId} ${attempt}`);
const submitAll = (world: World, count: number, durationMs: (i: number) => number) => {
  for (let i = 0; i < count; i++) world.submit(i % 6, job(durationMs(i)), about);
};

describe('a merge under work', () => {
  it('ends every task once, and takes nothing over', async () => {
    const world = await underWork('merge tasks', async (world) => {
      submitAll(world, 24, (i) => 3_000 + 500 * i);
      await world.runFor(2_000);
      expect(await merge(world, 5, 1)).toMatchObject({ ok: true, value: { cutOff: [] } });
      expect(await world.runUntil(() => world.isWhole(), 5_000)).toBe(true);
      submitAll(world, 12, () => 500);
      await endsWell(world);
    });
    expect(starts(world)).toHaveLength(36);
    expect(new Set(starts(world)).size).toBe(36);
    // Work of the one mesh ran on hosts of the other.
    const helped = world.runs.filter(({ taskId, host }) => {
      const submit = world.submits.find(({ id }) => id === taskId);
      return (
        submit !== undefined && submit.number % 6 < 3 !== SIDES[0].some((i) => `h${i + 1}` === host)
      );
    });
    expect(helped.length).toBeGreaterThan(0);
  });

  it('with one member down, which comes back when its old mates are gone', async () => {
    const world = await underWork('merge away', async (world) => {
      world.crash(5);
      await world.runFor(10_000);
      for (let i = 0; i < 20; i++) world.submit(i % 5, job(4_000), about);
      await world.runFor(1_000);
      expect(await merge(world, 4, 0)).toMatchObject({ ok: true });
      await world.runFor(30_000);
      await world.until(world.stop(3), 60_000);
      await world.until(world.stop(4), 60_000);
      await world.until(world.restart(5), 20_000);
      const isIn = () =>
        SIDES[0].every((i) => world.peer(i).membership.linked(world.host(5).peerId));
      expect(await world.runUntil(isIn, 40_000)).toBe(true);
      for (let i = 0; i < 6; i++) world.submit(5, job(300), about);
      await world.runFor(3_000);
      await world.until(world.restart(3), 20_000);
      await world.until(world.restart(4), 20_000);
      await endsWell(world, { ...STRICT, strict: false });
    });
    expect(new Set(starts(world)).size).toBe(26);
    expect(starts(world)).toHaveLength(26);
  });

  it('in the middle of which the two are parted: each goes on with its own, and they are one when it heals', async () => {
    const world = await underWork('merge parted', async (world) => {
      submitAll(world, 24, (i) => 2_000 + 1_500 * i);
      await world.runFor(2_000);
      const token = await tokenOf(world, 0);
      const merged = world.peer(3).membership.merge(token, false);
      const isTold = () => world.peer(1).membership.members().length > 3;
      expect(await world.runUntil(isTold, 5_000)).toBe(true);
      world.partition(SIDES);
      await world.until(merged, 20_000);
      await world.runFor(40_000);
      world.heal();
      expect(await world.runUntil(() => world.isWhole(), 60_000)).toBe(true);
      await endsWell(world, { ...STRICT, strict: false });
    });
    expect(new Set(starts(world)).size).toBe(24);
    expect(starts(world)).toHaveLength(24);
  });

  it('finds a key that both meshes have given: of two tasks that wait one goes', async () => {
    await underWork('merge keys', async (world) => {
      const keyed = { ...about, key: 'k' };
      const late = { ...job(1_000), delay_ms: 60_000, dedupe_key: 'k' };
      const submits = [0, 3].map((at) => world.submit(at, late, keyed));
      const isAnswered = () => submits.every(({ outcome }) => outcome === 'acknowledged');
      expect(await world.runUntil(isAnswered, 5_000)).toBe(true);
      expect(await merge(world, 3, 0)).toMatchObject({ ok: true });
      expect(await world.runUntil(() => world.isWhole(), 5_000)).toBe(true);
      await endsWell(world, { ...STRICT, strict: false });
      const ends = submits.map(({ id = '' }) => {
        const copies = world.replicas().get(id) ?? [];
        return copies
          .map(({ record }) => taskOf(record).final)
          .find((final) => final !== undefined);
      });
      const states = ends.map((final) => final?.state).sort();
      expect(states).toEqual(['canceled', 'completed']);
      const again = world.submit(1, late, keyed);
      expect(await world.runUntil(() => again.outcome !== 'open', 5_000)).toBe(true);
      expect(again.outcome).toBe('acknowledged');
    });
  });
});
