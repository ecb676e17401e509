/**
 * Homes that grow: when peers arrive, and when a store of them dies. Every record gets its copies in bounded time, and
 * at a bounded rate: what grows at once would stop everything else.
 */
import { describe, expect, it } from 'vitest';
import type { RecordState } from '../../src/records/record.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { AMPLE } from '../../src/sim/disk.ts';
import { World, type WorldOptions } from '../../src/sim/world.ts';
import { GROWS_MAX } from '../../src/tasks/redundancy.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const job = (durationMs: number) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});

/** Records of which fewer than `copies` stores have a copy by right, keys included. */
function short(world: World, copies: number): string[] {
  const ids = new Set(
    world.hosts.flatMap(({ peer }) => peer?.replica.ids({ limit: 10_000 }) ?? []),
  );
  return [...ids].filter((id) => {
    const held = world.hosts.filter(({ peer }) => peer?.replica.shared.get(id) !== undefined);
    return held.length < copies;
  });
}

/** When each store added another one to a home, in virtual milliseconds. */
function watchGrowth(world: World): number[][] {
  return world.hosts.map(({ peer }) => {
    const times: number[] = [];
    const byIt = (record: RecordState | undefined): number =>
      record?.facts.filter(
        ({ store, value }) => value.t === 'home' && store === peer?.identity.storeId,
      ).length ?? 0;
    peer?.replica.onVisible((after, before) => {
      if (before !== undefined && byIt(after) > byIt(before)) times.push(world.clock.nowMs());
    });
    return times;
  });
}

/** The most within any second. */
const peakOf = (times: readonly number[]): number =>
  Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 1_000).length));

async function inWorld(options: WorldOptions, story: (world: World) => Promise<void>) {
  const world = new World(options);
  await world.run(() => story(world));
}

describe('a mesh of one that becomes a mesh of three', () => {
  it('has three copies of every task and key soon, at a bounded rate', async () => {
    await inWorld({ seed: 'grow', peers: 3, slots: 4 }, async (world) => {
      for (const host of world.hosts) await world.until(host.start(), 10_000);
      for (let i = 0; i < 60; i++) world.submit(0, job(20), ABOUT);
      for (let i = 0; i < 20; i++) world.submit(0, { ...job(20), dedupe_key: `k${i}` }, ABOUT);
      await world.runUntil(() => world.peer(0).replica.unfinishedCount === 0, 30_000);
      for (let i = 0; i < 250; i++) world.submit(0, { ...job(20), delay_ms: 600_000 }, ABOUT);
      await world.runUntil(
        () => world.submits.every(({ outcome }) => outcome === 'acknowledged'),
        10_000,
      );
      expect(short(world, 2)).toHaveLength(350);
      const times = watchGrowth(world);
      const startMs = world.clock.nowMs();
      await world.joinAll();
      const areHeld = () => world.hosts.every(({ peer }) => peer?.replica.heldCount === 350);
      expect(await world.runUntil(() => areHeld() && short(world, 3).length === 0, 60_000)).toBe(
        true,
      );
      expect(world.clock.nowMs() - startMs).toBeLessThan(30_000);
      // Two stores for each of 350 records.
      expect(times.flat().length).toBeGreaterThanOrEqual(700);
      // What is owned and what is over each have their rate; a window of a second meets one tick of each.
      for (const store of times) expect(peakOf(store)).toBeLessThanOrEqual(2 * GROWS_MAX);
      expect(Math.max(...times.map(peakOf))).toBeGreaterThan(GROWS_MAX / 2);
      expect(await world.runUntil(() => world.isWhole(), 10_000)).toBe(true);
    });
  });
});

describe('a store that dies', () => {
  it('is replaced in the homes of what is unfinished, one store for each, and not at once', async () => {
    await inWorld({ seed: 'dies', peers: 4 }, async (world) => {
      await world.joinAll();
      await world.runFor(3_000);
      for (let i = 0; i < 40; i++) world.submit(i % 4, { ...job(20), delay_ms: 600_000 }, ABOUT);
      await world.runFor(3_000);
      expect(short(world, 3)).toEqual([]);
      const stores = watchGrowth(world);
      world.crash(3);
      const { directory } = world.peer(0).sight;
      await world.runUntil(() => directory.present().length === 3, 10_000);
      const deadMs = world.clock.nowMs();
      expect(await world.runUntil(() => short(world, 3).length === 0, 20_000)).toBe(true);
      const times = stores.flat();
      expect(times.length).toBeGreaterThan(20);
      expect(times.length).toBeLessThanOrEqual(40);
      expect(Math.min(...times) - deadMs).toBeGreaterThan(200);
      // A wave from each of three owners, not one from all.
      expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(50);
    });
  });
});

describe('a store that leaves', () => {
  it('is replaced, for what is over, by another one of the home while the disk of its first one is full', async () => {
    await inWorld({ seed: 'leaves', peers: 4 }, async (world) => {
      await world.joinAll();
      await world.runFor(3_000);
      for (let i = 0; i < 40; i++) world.submit(i % 4, job(20), ABOUT);
      await world.runFor(10_000);
      expect(short(world, 3)).toEqual([]);
      world.host(0).disk.space = { ...AMPLE, freeBytes: 0 };
      const isFull = (): boolean =>
        world.peer(1).sight.peer(world.host(0).peerId)?.shortage === 'full';
      expect(await world.runUntil(isFull, 10_000)).toBe(true);
      void world.host(3).leave();
      const lacking = (): number =>
        [...world.peer(0).replica.ids({ limit: 1_000 })].filter((id) =>
          [1, 2].some((i) => world.peer(i).replica.shared.get(id) === undefined),
        ).length;
      expect(await world.runUntil(() => world.host(3).peer === undefined, 10_000)).toBe(true);
      expect(lacking()).toBeGreaterThan(0);
      expect(await world.runUntil(() => lacking() === 0, 20_000)).toBe(true);
    });
  });
});
