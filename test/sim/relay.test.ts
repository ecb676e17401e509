/** Work in a mesh in which not everybody is linked with everybody: by choice, or because two cannot reach each other. */
import { describe, expect, it } from 'vitest';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const FEW = { max_connections: 4, observers: 2 } as const;
const command = (durationMs = 200) => ({
  exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
});

const linksOf = (world: World, i: number): number =>
  world.hosts.filter(({ peerId }) => world.peer(i).membership.linked(peerId)).length;

describe('a mesh of twelve with four links each', () => {
  it('finishes tasks that are submitted anywhere, and waits hear of it anywhere', async () => {
    const world = new World({ seed: 'sparse', peers: 12, slots: 1, config: FEW });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(30_000);
      expect(world.hosts.every((_, i) => linksOf(world, i) <= 4)).toBe(true);
      for (const i of world.hosts.keys()) world.submit(i, command(), ABOUT);
      expect(await world.runUntil(() => world.pending().length === 0, 60_000)).toBe(true);
      const states = world.submits.map(({ outcome }) => outcome);
      expect(states).toEqual(Array.from({ length: 12 }, () => 'acknowledged'));
      expect(world.runs.length).toBe(12);
    });
  });

  it('goes on with what a dead host ran', async () => {
    const world = new World({ seed: 'sparse crash', peers: 12, slots: 1, config: FEW });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(20_000);
      for (const i of world.hosts.keys()) world.submit(i, command(5_000), ABOUT);
      expect(await world.runUntil(() => world.runs.length === 12, 20_000)).toBe(true);
      world.crash(3);
      const rest = world.hosts.filter((_, i) => i !== 3);
      const { peerId } = world.host(3);
      const isSeen = () =>
        rest.every(({ peer }) => peer?.membership.member(peerId)?.status === 'dead');
      expect(await world.runUntil(isSeen, 2_000)).toBe(true);
      await world.runFor(1_000);
      await world.until(world.restart(3), 20_000);
      expect(await world.runUntil(() => world.pending().length === 0, 120_000)).toBe(true);
    });
  });
});

describe('two that cannot reach each other', () => {
  it.each([
    ['in a full mesh', 4, {}],
    ['in a partial mesh', 9, { max_connections: 4, observers: 3 }],
  ] as const)('%s ask each other through a third', async (_, peers, config) => {
    const world = new World({ seed: 'broken', peers, config });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(10_000);
      const [a, b] = [world.host(0).peerId, world.host(1).peerId];
      world.hub.block(a, b);
      world.hub.block(b, a);
      world.hub.breakLink(a, b, 'reset');
      world.hub.breakLink(b, a, 'reset');
      await world.runFor(6_000);
      const { messenger, membership, sight } = world.peer(0);
      expect(membership.linked(b)).toBe(false);
      const ask = () => messenger.call(b, 'run.query', { run_id: 'x', owner: 'y' });
      const answer = await world.until(ask(), 10_000);
      expect(answer).toMatchObject({ ok: true, value: { state: 'unknown' } });
      expect(membership.mesh.wayTo(b)).toBe('relay');
      expect(sight.peer(b)).toMatchObject({ reachable: true, linked: false });
      // Their work is not held up.
      world.submit(0, command(), ABOUT);
      world.submit(1, command(), ABOUT);
      expect(
        await world.runUntil(
          () => world.runs.every((run) => run.endedMs !== undefined) && world.runs.length === 2,
          20_000,
        ),
      ).toBe(true);
      world.heal();
      expect(await world.runUntil(() => world.pending().length === 0, 60_000)).toBe(true);
      // What was dialled in vain is dialled again after a while.
      await world.runFor(6_000);
      expect(membership.mesh.wayTo(b)).not.toBe('relay');
    });
  });
});
