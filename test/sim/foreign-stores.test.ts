/** A store that lies where another one did: whose it is is asked before its daemon writes anything under its name. */
import { expect, it } from 'vitest';
import { argvOf } from '../../src/sim/commands.ts';
import { World } from '../../src/sim/world.ts';

const ABOUT = { kind: 'exec', attempts: 1, failures: 0 } as const;
const exec = { argv: argvOf({ durationMs: 200, failures: 0, isDeaf: false }), cwd: '/' };

it('a copy of another host’s store is another one from its first start on, with nobody there to refuse it', async () => {
  const world = new World({ seed: 'foreign', peers: 3, slots: 2 });
  await world.run(async () => {
    await world.joinAll();
    const task = world.submit(0, { exec, delay_ms: 600_000 }, ABOUT);
    await world.runFor(3_000);
    const [first, former] = [0, 2].map((i) => world.peer(i).identity.storeId);
    for (const i of [0, 1, 2]) world.crash(i);
    world.host(2).putBack(world.host(0).disk.snapshot());
    await world.until(world.restart(2), 5_000);
    const { identity, replica } = world.peer(2);
    expect([first, former]).not.toContain(identity.storeId);
    expect(identity.former).toEqual({
      storeId: first,
      why: `the last start of this peer was with store ${former}: this one was put in its place`,
    });
    expect([...replica.unfinished()].map(({ id }) => id)).toEqual([task.id]);
    // Started again it is the same one.
    world.crash(2);
    await world.until(world.restart(2), 5_000);
    expect(world.peer(2).identity).toMatchObject({ storeId: identity.storeId, bootCount: 2 });
    for (const i of [0, 1]) await world.until(world.restart(i), 5_000);
    expect(await world.runUntil(() => world.isWhole(), 30_000)).toBe(true);
    expect(world.peer(0).identity.storeId).toBe(first);
  });
});
