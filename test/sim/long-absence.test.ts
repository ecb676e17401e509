/**
 * A store that was away for longer than `tombstone_ttl`: what it holds unfinished may have ended elsewhere and been
 * forgotten. It runs none of that, and says so; what others still know it takes up again.
 */
import { describe, expect, it } from 'vitest';
import { homeOf } from '../../src/records/record.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';
import { viewOf } from '../../src/tasks/view.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const CONFIG = { tombstone_ttl: '60s', retention_age: '5s' };
const job = (delayMs: number) => ({
  exec: { argv: argvOf({ durationMs: 50, failures: 0, isDeaf: false }), cwd: '/' },
  delay_ms: delayMs,
});
const SHORT_MS = 20_000;
const LONG_MS = 400_000;

/** Four peers; the ids of tasks that are due soon and of others that are due late, all with h4 in their home. */
async function inMesh(
  seed: string,
  story: (world: World, ids: { soon: string[]; late: string[] }) => Promise<void>,
) {
  const world = new World({ seed, peers: 4, slots: 4, config: CONFIG });
  await world.run(async () => {
    await world.joinAll();
    for (let i = 0; i < 24; i++) world.submit(i % 4, job(i % 2 === 0 ? SHORT_MS : LONG_MS), ABOUT);
    await world.runFor(3_000);
    const store = world.peer(3).replica.storeId;
    const isAt4 = (id: string): boolean => {
      const record = world.peer(3).replica.get(id);
      return record !== undefined && homeOf(record).includes(store);
    };
    const ids = world.submits.map(({ id }) => id ?? '');
    const soon = ids.filter((id, i) => i % 2 === 0 && isAt4(id));
    const late = ids.filter((id, i) => i % 2 === 1 && isAt4(id));
    expect(Math.min(soon.length, late.length)).toBeGreaterThan(3);
    await story(world, { soon, late });
  });
}

const runsOf = (world: World, ids: readonly string[]): number =>
  world.runs.filter(({ taskId }) => ids.includes(taskId)).length;

describe('a store away for longer than tombstone_ttl', () => {
  it('sets aside what nobody knows any more, says so, and runs none of it', async () => {
    await inMesh('away', async (world, { soon, late }) => {
      world.crash(3);
      await world.runFor(150_000);
      expect(runsOf(world, soon)).toBe(soon.length);
      for (const i of [0, 1, 2]) {
        const { replica } = world.peer(i);
        expect(soon.filter((id) => replica.get(id) ?? replica.tombstone(id))).toEqual([]);
      }
      await world.until(world.restart(3), 5_000);
      const { replica, membership } = world.peer(3);
      expect(soon.filter((id) => !replica.isUnfinished(id))).toEqual([]);
      expect(await world.runUntil(() => world.isWhole(), 20_000)).toBe(true);
      await world.runFor(5_000);
      expect(replica.aside.ids().sort()).toEqual([...soon].sort());
      expect(late.filter((id) => !replica.isUnfinished(id))).toEqual([]);
      // Seen from anywhere.
      const seen = await world.until(
        world.peer(0).tasks.reader.findOrRemains(soon[0] ?? '', false),
        5_000,
      );
      expect(seen && viewOf(seen.record, 0, seen.extras)).toMatchObject({
        reason: 'set_aside',
        set_aside_by: [replica.storeId],
      });
      const { peerId } = membership.self();
      expect(world.peer(0).membership.member(peerId)?.load.setAside).toBe(soon.length);
      // Also after a restart of its own, and of others.
      world.crash(3);
      await world.runFor(2_000);
      await world.until(world.restart(3), 5_000);
      await world.runFor(90_000);
      expect(world.peer(3).replica.aside.count).toBe(soon.length);
      expect(runsOf(world, soon)).toBe(soon.length);
      await world.runFor(LONG_MS);
      expect(runsOf(world, late)).toBe(late.length);
      expect(runsOf(world, soon)).toBe(soon.length);
    });
  });

  it('of less time finds the tombstones, and sets nothing aside', async () => {
    await inMesh('brief', async (world, { soon, late }) => {
      world.crash(3);
      await world.runFor(45_000);
      await world.until(world.restart(3), 5_000);
      expect(await world.runUntil(() => world.isWhole(), 20_000)).toBe(true);
      await world.runFor(15_000);
      const { replica } = world.peer(3);
      expect(replica.aside.count).toBe(0);
      expect(soon.filter((id) => replica.isUnfinished(id))).toEqual([]);
      expect(late.filter((id) => !replica.isUnfinished(id))).toEqual([]);
      expect(runsOf(world, soon)).toBe(soon.length);
    });
  });

  it('with all others, as a mesh that slept, sets nothing aside', async () => {
    await inMesh('slept', async (world, { soon, late }) => {
      for (let i = 0; i < 4; i++) world.crash(i);
      await world.runFor(10 * 86_400_000);
      for (let i = 0; i < 4; i++) await world.until(world.restart(i), 5_000);
      expect(await world.runUntil(() => world.isWhole(), 20_000)).toBe(true);
      const isOver = () =>
        world.submits.every(({ id }) => world.runs.some((run) => run.taskId === id));
      expect(await world.runUntil(isOver, 60_000)).toBe(true);
      expect(runsOf(world, [...soon, ...late])).toBe(soon.length + late.length);
      for (const host of world.hosts) expect(host.peer?.replica.aside.count).toBe(0);
    });
  });

  it('with another one: neither believes the other', async () => {
    await inMesh('two', async (world, { soon }) => {
      world.crash(2);
      world.crash(3);
      await world.runFor(150_000);
      const before = runsOf(world, soon);
      expect(before).toBe(soon.length);
      await world.until(world.restart(2), 5_000);
      await world.until(world.restart(3), 5_000);
      expect(await world.runUntil(() => world.isWhole(), 20_000)).toBe(true);
      await world.runFor(120_000);
      expect(runsOf(world, soon)).toBe(before);
      const aside = new Set([2, 3].flatMap((i) => world.peer(i).replica.aside.ids()));
      expect(soon.filter((id) => !aside.has(id))).toEqual([]);
    });
  });

  it('in a partition: what was given to it alone goes on, and both sides keep what both hold', async () => {
    await inMesh('cut', async (world, { soon, late }) => {
      world.cut(3);
      await world.runFor(150_000);
      const alone = world.submit(3, job(60_000), ABOUT);
      await world.runFor(2_000);
      world.heal();
      expect(await world.runUntil(() => world.isWhole(), 60_000)).toBe(true);
      await world.runFor(100_000);
      const { id = '' } = alone;
      expect(runsOf(world, [id])).toBe(1);
      expect(late.filter((item) => !world.peer(3).replica.isUnfinished(item))).toEqual([]);
      await world.runFor(LONG_MS);
      for (const item of late) expect(runsOf(world, [item])).toBe(1);
      for (const item of soon) expect(runsOf(world, [item])).toBeLessThanOrEqual(2);
      expect(world.peer(0).replica.unfinishedCount).toBe(0);
    });
  });

  it('in a partition: the larger side keeps what named the other one in its home and never came there', async () => {
    await inMesh('kept', async (world) => {
      world.cut(3);
      const cutStore = world.peer(3).replica.storeId;
      // It is silent, and not yet known to be out of reach: it is in the homes of what is submitted.
      const given = Array.from({ length: 12 }, (_, i) => world.submit(i % 3, job(LONG_MS), ABOUT));
      await world.runFor(150_000);
      const named = given
        .map(({ id = '' }) => id)
        .filter((id) => {
          const record = world.peer(0).replica.get(id) ?? world.peer(1).replica.get(id);
          return record !== undefined && homeOf(record).includes(cutStore);
        });
      expect(named.length).toBeGreaterThan(3);
      world.heal();
      expect(await world.runUntil(() => world.isWhole(), 60_000)).toBe(true);
      await world.runFor(30_000);
      for (const i of [0, 1, 2]) expect(world.peer(i).replica.aside.count).toBe(0);
      await world.runFor(LONG_MS);
      for (const id of named) expect(runsOf(world, [id])).toBe(1);
    });
  });
});
