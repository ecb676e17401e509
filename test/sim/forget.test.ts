/** `covey forget`: what becomes of a removed member, of its part in old homes, and of itself when it lives after all. */
import { describe, expect, it } from 'vitest';
import { standingHome } from '../../src/records/directory.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World as Mesh } from '../../src/sim/world.ts';
import { type Host, World } from './membership-world.ts';

const forget = async (world: World, at: Host, whom: Host) => {
  const answer = await world.until(at.membership.forget(whom.peerId));
  return answer.ok ? 'removed' : answer.error.message;
};

describe('a removed member', () => {
  it('is removed everywhere, also for one that was away, and after a restart', async () => {
    const world = new World('forget');
    const hosts = (await world.mesh(4)) as [Host, Host, Host, Host];
    const [a, b, c, gone] = hosts;
    await world.clock.runFor(3_000);
    expect(await forget(world, a, gone)).toBe('Member h4 cannot be removed: it is alive.');
    expect(await forget(world, a, a)).toBe('Member h1 cannot be removed: it is this peer.');
    const unknown = await world.until(a.membership.forget('nobody'));
    expect(unknown).toMatchObject({ ok: false, error: { code: 'NOT_FOUND' } });
    gone.crash();
    const rest = [a, b, c];
    const isDead = () => rest.every((host) => host.statusOf(gone) === 'dead');
    await world.timeUntil('dead', isDead, 3_000);
    c.crash();
    expect(await forget(world, a, gone)).toBe('removed');
    expect(await forget(world, a, gone)).toBe('removed');
    await world.timeUntil('removed at b', () => b.statusOf(gone) === 'removed', 1_000);
    expect(b.events.map(({ type }) => type)).toContain('removed');
    expect(b.membership.isRemoved(gone.storeId)).toBe(true);
    expect(b.membership.member(gone.peerId)?.deadBy).toBe('crash');
    await c.start();
    await world.timeUntil('removed at c', () => c.statusOf(gone) === 'removed', 10_000);
    await world.clock.runFor(1_000);
    a.crash();
    await a.start();
    expect(a.statusOf(gone)).toBe('removed');
    await world.clock.runFor(5_000);
    const hashes = new Set(rest.map((host) => host.membership.viewHash()));
    expect(hashes.size).toBe(1);
  });

  it('is told when it comes back, and is a member again with another store', async () => {
    const world = new World('back');
    const [a, b, gone] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(3_000);
    gone.crash();
    await world.timeUntil('dead', () => a.statusOf(gone) === 'dead', 3_000);
    expect(await forget(world, a, gone)).toBe('removed');
    await world.timeUntil('removed', () => b.statusOf(gone) === 'removed', 3_000);
    const former = gone.storeId;
    await gone.start();
    await world.timeUntil('told', () => gone.refusals.length > 0, 15_000);
    expect(gone.refusals[0]).toMatch(/^it was removed from the mesh by h1, \d{4}-/);
    expect(a.statusOf(gone)).toBe('removed');
    await gone.stop();
    gone.storeId = 'another'.padEnd(32, '0');
    await gone.start();
    await world.timeUntil('alive', () => [a, b, gone].every((host) => host.sees(3)), 15_000);
    expect(a.membership.isRemoved(former)).toBe(true);
    expect(a.membership.isRemoved(gone.storeId)).toBe(false);
  });

  it('that lived on the other side of a partition hears of it when that heals', async () => {
    const world = new World('lives');
    const hosts = (await world.mesh(5)) as [Host, Host, Host, Host, Host];
    const [a, , , d, gone] = hosts;
    await world.clock.runFor(3_000);
    const ids = hosts.map(({ peerId }) => peerId);
    world.hub.partition([ids.slice(0, 3), ids.slice(3)]);
    await world.timeUntil('dead', () => a.statusOf(gone) === 'dead', 10_000);
    expect(await forget(world, a, gone)).toBe('removed');
    expect(d.statusOf(gone)).toBe('alive');
    world.hub.heal();
    await world.timeUntil('told', () => gone.refusals.length > 0, 30_000);
    await world.timeUntil('removed', () => d.statusOf(gone) === 'removed', 10_000);
  });
});

const logOf = (host: Host): string => host.log.lines.map(({ message }) => message).join('\n');

describe('a store that was replaced', () => {
  const replace = async (host: Host, storeId: string): Promise<void> => {
    host.crash();
    host.storeId = storeId.padEnd(32, '0');
    host.bootCount = 0;
    host.bootIds = [];
    await host.start();
  };

  it('is removed by its own peer, when all have been in touch for a while', async () => {
    const world = new World('replaced');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(3_000);
    const former = c.storeId;
    await replace(c, 'another');
    expect(logOf(c)).toContain('the store of this peer is another one');
    await world.timeUntil('back', () => a.sees(3) && b.sees(3) && c.sees(3), 10_000);
    expect(logOf(a)).toContain('h3 came with another store than before');
    b.crash();
    await world.clock.runFor(60_000);
    // The one that is away may have the only copy of what the former store had acknowledged.
    expect(a.membership.isRemoved(former)).toBe(false);
    await b.start();
    await world.timeUntil('removed', () => b.membership.isRemoved(former), 60_000);
    expect(a.membership.isRemoved(c.storeId)).toBe(false);
    expect([a, b, c].map((host) => host.sees(3))).toEqual([true, true, true]);
    expect(c.refusals).toEqual([]);
  });

  it('that was a copy of the one of another member stays: its own peer has it', async () => {
    const world = new World('cloned');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(3_000);
    const former = c.storeId;
    await replace(c, b.storeId);
    await world.timeUntil('told', () => c.refusals.length > 0, 15_000);
    expect(c.refusals[0]).toContain('a copy');
    await replace(c, 'another');
    await world.timeUntil('removed', () => a.membership.isRemoved(former), 60_000);
    await world.clock.runFor(60_000);
    expect(a.membership.isRemoved(b.storeId)).toBe(false);
    expect([...b.refusals, ...a.refusals]).toEqual([]);
  });
});

describe('what a removed store held', () => {
  const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
  const job = (durationMs: number) => ({
    exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
  });

  it('is read by a quorum of the home as it stands, however often stores of it were replaced', async () => {
    const world = new Mesh({ seed: 'replaced', peers: 3, slots: 4 });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(3_000);
      const task = world.submit(0, { ...job(200), delay_ms: 600_000 }, about);
      await world.runFor(2_000);
      const formers: string[] = [];
      for (const i of [1, 2, 1, 2]) {
        formers.push(world.peer(i).identity.storeId);
        world.crash(i);
        world.host(i).putBack([]);
        await world.until(world.restart(i), 5_000);
        await world.runUntil(() => world.isWhole(), 30_000);
        await world.runFor(8_000);
      }
      const { reader } = world.peer(0).tasks;
      const quorum = () => world.until(reader.findFrom(task.id ?? '', false, 'quorum'), 5_000);
      expect(await quorum()).toMatchObject({ ok: false, error: { code: 'NOT_ENOUGH_READ' } });
      const { membership } = world.peer(0);
      const isDone = () => formers.every((store) => membership.isRemoved(store));
      expect(await world.runUntil(isDone, 60_000)).toBe(true);
      expect(await quorum()).toMatchObject({ ok: true, value: { record: { id: task.id } } });
    });
  });

  it('gets other homes; it comes back as another store, and nothing runs twice or is lost', async () => {
    const world = new Mesh({ seed: 'forget', peers: 4, slots: 4 });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(3_000);
      for (let i = 0; i < 12; i++) world.submit(i % 4, job(200), about);
      for (let i = 0; i < 8; i++) world.submit(i % 4, { ...job(200), delay_ms: 90_000 }, about);
      await world.runFor(8_000);
      const former = world.peer(3).identity.storeId;
      world.crash(3);
      const directory = world.peer(0).sight.directory;
      await world.runUntil(() => directory.statusOf(former) === 'dead', 5_000);
      const { peerId } = world.host(3);
      const removed = await world.until(world.peer(0).membership.forget(peerId), 5_000);
      expect(removed).toMatchObject({ ok: true, value: { name: 'h4', storeId: former } });
      const isKept = () =>
        [...world.replicas().values()].every((copies) => {
          const [first] = copies;
          const home = first === undefined ? [] : standingHome(directory, first.record);
          const live = copies.filter((copy) => home.includes(copy.storeId) && copy.host !== 'h4');
          return home.length === 3 && !home.includes(former) && live.length === 3;
        });
      expect(await world.runUntil(isKept, 30_000)).toBe(true);
      await world.until(world.restart(3), 5_000);
      expect(await world.runUntil(() => world.isWhole(), 30_000)).toBe(true);
      const { former: renewed } = world.peer(3).storeHealth();
      expect(renewed?.storeId).toBe(former);
      expect(renewed?.why).toMatch(/^it was removed from the mesh by h1/);
      expect(await world.runUntil(() => world.pending().length === 0, 150_000)).toBe(true);
      expect(world.runs).toHaveLength(20);
    });
  });
});
