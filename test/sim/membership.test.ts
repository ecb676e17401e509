/**
 * Membership on simulated ports: joining, detection, dissemination, restarts. Times are virtual.
 */
import { describe, expect, it } from 'vitest';
import { type Host, World } from './membership-world.ts';

const others = (hosts: readonly Host[], host: Host): Host[] =>
  hosts.filter((other) => other !== host && other.runs);
const deathsSeen = (hosts: readonly Host[]): string[] =>
  hosts.flatMap((host) =>
    host.events.filter(({ type }) => type === 'dead').map(({ member }) => member.name),
  );

describe('membership', () => {
  it('five join by token and see one another alive and linked', async () => {
    const world = new World('join');
    const hosts = await world.mesh(5);
    const hashes = () => new Set(hosts.map((host) => host.membership.viewHash()));
    await world.timeUntil('views equal', () => hashes().size === 1, 5_000);
    expect(new Set(hosts.map((host) => host.membership.meshId)).size).toBe(1);
    expect(
      hosts[3]?.membership
        .accessList()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['h1', 'h2', 'h3', 'h4', 'h5']);
  });

  it('one that joins is known to all by the word of its inviter, before it has a link to them', async () => {
    const world = new World('arrival');
    const [first, ...rest] = await world.mesh(4);
    const newcomer = world.addHost();
    for (const { peerId } of rest) {
      world.hub.block(newcomer.peerId, peerId);
      world.hub.block(peerId, newcomer.peerId);
    }
    await newcomer.start();
    await newcomer.joinBy(first as Host);
    expect(rest.map((host) => host.statusOf(newcomer))).toEqual(['alive', 'alive', 'alive']);
    expect(rest.map((host) => host.membership.linked(newcomer.peerId))).not.toContain(true);
  });

  it('a crash is seen by all as a death by crash within 1.5 s', async () => {
    const world = new World('crash');
    const hosts = await world.mesh(5);
    const victim = hosts[2] as Host;
    await world.clock.runFor(3_000);
    victim.crash();
    const rest = others(hosts, victim);
    const dead = () => rest.every((host) => host.statusOf(victim) === 'dead');
    expect(await world.timeUntil('dead', dead, 1_500)).toBeLessThan(1_500);
    for (const host of rest) {
      expect(host.membership.member(victim.peerId)?.deadBy).toBe('crash');
    }
    expect(new Set(deathsSeen(rest))).toEqual(new Set([victim.name]));
  });

  it('a process stopped for 5 s is suspected, not called dead, and alive again', async () => {
    const world = new World('freeze');
    const hosts = await world.mesh(5);
    const frozen = hosts[1] as Host;
    await world.clock.runFor(3_000);
    frozen.freezer.freeze();
    const suspected = () => others(hosts, frozen).some((h) => h.statusOf(frozen) === 'suspect');
    await world.timeUntil('suspect', suspected, 4_500);
    await world.clock.runFor(5_000 - 4_500);
    frozen.freezer.thaw();
    await world.timeUntil('alive', () => hosts.every((host) => host.sees(5)), 5_000);
    await world.clock.runFor(20_000);
    expect(deathsSeen(hosts)).toEqual([]);
  });

  it.each([15_000, 120_000])(
    'one stopped for %i ms is dead within 8 s, accuses nobody and returns by itself',
    async (pauseMs) => {
      const world = new World(`frozen ${pauseMs}`);
      const hosts = await world.mesh(5);
      const frozen = hosts[4] as Host;
      await world.clock.runFor(3_000);
      frozen.freezer.freeze();
      const rest = others(hosts, frozen);
      const dead = () => rest.every((host) => host.statusOf(frozen) === 'dead');
      const deadAfterMs = await world.timeUntil('dead', dead, 8_000);
      expect(deadAfterMs).toBeGreaterThan(6_000);
      expect(rest[0]?.membership.member(frozen.peerId)?.deadBy).toBe('silence');
      await world.clock.runFor(pauseMs - deadAfterMs);
      frozen.freezer.thaw();
      await world.timeUntil('all alive', () => hosts.every((host) => host.sees(5)), 15_000);
      await world.clock.runFor(10_000);
      expect(deathsSeen([frozen])).toEqual([]);
      expect(new Set(deathsSeen(rest))).toEqual(new Set([frozen.name]));
    },
  );

  it('a partition convicts on both sides; healed, the views are equal again', async () => {
    const world = new World('partition');
    const hosts = await world.mesh(5);
    await world.clock.runFor(3_000);
    const [a, b, ...right] = hosts as [Host, Host, ...Host[]];
    world.hub.partition([[a.peerId, b.peerId], right.map(({ peerId }) => peerId)]);
    const split = () =>
      right.every((r) => r.statusOf(a) === 'dead' && a.statusOf(r) === 'dead') &&
      right.every((r) => r.statusOf(b) === 'dead' && b.statusOf(r) === 'dead');
    await world.timeUntil('both sides convict', split, 10_000);
    expect(a.statusOf(b)).toBe('alive');
    await world.clock.runFor(20_000);
    world.hub.heal();
    await world.timeUntil('all alive', () => hosts.every((host) => host.sees(5)), 20_000);
    const hashes = () => new Set(hosts.map((host) => host.membership.viewHash()));
    await world.timeUntil('views equal', () => hashes().size === 1, 10_000);
  });

  it.each(Array.from({ length: 6 }, (_, i) => i))(
    'nobody convicts whom another one hears, though its record has changed meanwhile (%i)',
    async (seed) => {
      const world = new World(`bridge ${seed}`);
      const hosts = await world.mesh(5);
      await world.clock.runFor(3_000);
      const [a, b, changed, d, bridge] = hosts as [Host, Host, Host, Host, Host];
      world.hub.lossy.lost = 1;
      for (const left of [a, b]) {
        for (const right of [changed, d]) {
          world.hub.block(left.peerId, right.peerId);
          world.hub.block(right.peerId, left.peerId);
        }
      }
      // Both sides accuse, and the bridge objects, when what it objects for becomes another turn.
      await world.clock.runFor(9_000);
      changed.membership.updateSelf({ labels: { changed: 'yes' } });
      await world.clock.runFor(6_000);
      expect(bridge.statusOf(a)).toBe('alive');
      expect(deathsSeen(hosts)).toEqual([]);
    },
  );

  it('a newcomer that stops for 5 s before all have a link to it is not called dead', async () => {
    const world = new World('unmet');
    const hosts = await world.mesh(5);
    await world.clock.runFor(3_000);
    const newcomer = world.addHost();
    await newcomer.start();
    const unmet = hosts.slice(2);
    for (const host of unmet) {
      world.hub.block(host.peerId, newcomer.peerId);
      world.hub.block(newcomer.peerId, host.peerId);
    }
    await newcomer.joinBy(hosts[0] as Host);
    await world.clock.runFor(3_500);
    expect(unmet.map((host) => host.statusOf(newcomer))).not.toContain(undefined);
    newcomer.freezer.freeze();
    await world.clock.runFor(5_000);
    newcomer.freezer.thaw();
    world.hub.heal();
    const all = [...hosts, newcomer];
    await world.timeUntil('all alive', () => all.every((host) => host.sees(6)), 15_000);
    expect(deathsSeen(all)).toEqual([]);
  });

  it('one that never met its observers is dead to them after twice the patience', async () => {
    const world = new World('never met');
    const hosts = await world.mesh(5);
    const newcomer = world.addHost();
    await newcomer.start();
    for (const host of hosts.slice(1)) {
      world.hub.block(host.peerId, newcomer.peerId);
      world.hub.block(newcomer.peerId, host.peerId);
    }
    await newcomer.joinBy(hosts[0] as Host);
    newcomer.freezer.freeze();
    const dead = () => hosts.every((host) => host.statusOf(newcomer) === 'dead');
    expect(await world.timeUntil('dead', dead, 20_000)).toBeGreaterThan(10_000);
  });

  it('a link on which nothing comes is ended and dialled again, though another one hears the member', async () => {
    const world = new World('stale link');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(3_000);
    world.hub.block(a.peerId, b.peerId);
    world.hub.block(b.peerId, a.peerId);
    expect(a.membership.linked(b.peerId)).toBe(true);
    const ended = () => !a.membership.linked(b.peerId) && !b.membership.linked(a.peerId);
    expect(await world.timeUntil('ended', ended, 30_000)).toBeGreaterThan(15_000);
    await world.clock.runFor(30_000);
    expect(deathsSeen([a, b, c])).toEqual([]);
    world.hub.heal();
    await world.timeUntil('linked again', () => a.sees(3) && b.sees(3), 15_000);
    expect(a.membership.linked(b.peerId)).toBe(true);
  });

  it('a restart is a boot, and refutes its death at once', async () => {
    const world = new World('restart');
    const hosts = await world.mesh(5);
    const victim = hosts[3] as Host;
    await world.clock.runFor(3_000);
    victim.crash();
    const rest = others(hosts, victim);
    await world.timeUntil('dead', () => rest.every((h) => h.statusOf(victim) === 'dead'), 2_000);
    await victim.start();
    await world.timeUntil('all alive', () => hosts.every((host) => host.sees(5)), 12_000);
    for (const host of rest) {
      const about = host.events.filter(({ member }) => member.peerId === victim.peerId);
      const types = about.map(({ type }) => type);
      expect(types.indexOf('boot')).toBeLessThan(types.lastIndexOf('alive'));
      expect(host.membership.member(victim.peerId)?.bootCount).toBe(2);
    }
  });

  it.each([[[0, 1, 2, 3, 4]], [[4, 3, 2, 1, 0]], [[2, 0, 4, 1, 3]]])(
    'all five stopped and started in the order %j find one another',
    async (order) => {
      const world = new World(`order ${order.join('')}`);
      const hosts = await world.mesh(5);
      await world.clock.runFor(3_000);
      for (const host of hosts) await host.stop();
      await world.clock.runFor(60_000);
      for (const index of order) {
        await hosts[index]?.start();
        await world.clock.runFor(1_000);
      }
      await world.timeUntil('all alive', () => hosts.every((host) => host.sees(5)), 30_000);
    },
  );

  it('one that said goodbye is dead only after silence, and not by crash', async () => {
    const world = new World('stop');
    const hosts = await world.mesh(5);
    await world.clock.runFor(3_000);
    const gone = hosts[0] as Host;
    await gone.stop();
    const rest = others(hosts, gone);
    await world.clock.runFor(5_000);
    expect(rest.map((host) => host.statusOf(gone))).not.toContain('dead');
    await world.timeUntil('dead', () => rest.every((h) => h.statusOf(gone) === 'dead'), 4_000);
    expect(rest[0]?.membership.member(gone.peerId)?.deadBy).toBe('silence');
  });

  it('one that left is left everywhere, and may return', async () => {
    const world = new World('leave');
    const hosts = await world.mesh(5);
    await world.clock.runFor(3_000);
    const leaver = hosts[2] as Host;
    await leaver.stop('leave');
    const rest = others(hosts, leaver);
    await world.timeUntil('left', () => rest.every((h) => h.statusOf(leaver) === 'left'), 3_000);
    await world.clock.runFor(30_000);
    expect(deathsSeen(rest)).toEqual([]);
    await leaver.start();
    await world.timeUntil('all alive', () => hosts.every((host) => host.sees(5)), 15_000);
  });

  it('one that leaves is heard by all to say so, also where gossip loses everything', async () => {
    const world = new World('leave told');
    const hosts = await world.mesh(12);
    await world.clock.runFor(3_000);
    world.hub.lossy.lost = 1;
    const leaver = hosts[2] as Host;
    await leaver.stop('leave');
    const rest = others(hosts, leaver);
    const left = () => rest.every((host) => host.statusOf(leaver) === 'left');
    expect(await world.timeUntil('left', left, 3_000)).toBeLessThan(100);
  });

  it('of two, the other dies by crash after a second, by silence after 14 s', async () => {
    const world = new World('two');
    const [a, b] = (await world.mesh(2)) as [Host, Host];
    await world.clock.runFor(3_000);
    b.crash();
    const crashMs = await world.timeUntil('dead', () => a.statusOf(b) === 'dead', 2_500);
    expect(crashMs).toBeGreaterThan(900);
    await b.start();
    await world.timeUntil('alive', () => a.sees(2) && b.sees(2), 15_000);
    b.freezer.freeze();
    const silenceMs = await world.timeUntil('dead', () => a.statusOf(b) === 'dead', 16_500);
    expect(silenceMs).toBeGreaterThan(13_000);
  });
});
