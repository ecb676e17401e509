/** A mesh with more members than links: who is linked with whom, and that everybody still knows of everybody. */
import { describe, expect, it } from 'vitest';
import { type Host, World } from './membership-world.ts';

const FEW = { max_connections: 4, observers: 2 };

const linksOf = (host: Host): number =>
  host.membership.members().filter(({ peerId }) => host.membership.linked(peerId)).length;
const others = (hosts: readonly Host[], host: Host): Host[] =>
  hosts.filter((other) => other !== host && other.runs);
const unlinked = (hosts: readonly Host[], host: Host): Host =>
  hosts.find((other) => other !== host && !host.membership.linked(other.peerId)) as Host;

async function settled(world: World, n: number): Promise<Host[]> {
  const hosts = await world.mesh(n);
  const few = () => hosts.every((host) => linksOf(host) <= FEW.max_connections);
  await world.timeUntil('surplus links are closed', few, 60_000);
  return hosts;
}

describe('a partial mesh', () => {
  it('has few links, and all see all alive', async () => {
    const world = new World('partial', FEW);
    const hosts = await settled(world, 12);
    await world.clock.runFor(60_000);
    expect(hosts.map(linksOf).every((n) => n >= 1 && n <= 4)).toBe(true);
    expect(hosts.every((host) => host.sees(12))).toBe(true);
    const deaths = hosts.flatMap(({ events }) => events.filter(({ type }) => type === 'dead'));
    expect(deaths).toEqual([]);
  });

  it('sees a crash everywhere within 1.5 s, and only that one', async () => {
    const world = new World('partial crash', FEW);
    const hosts = await settled(world, 12);
    const victim = hosts[5] as Host;
    victim.crash();
    const rest = others(hosts, victim);
    const dead = () => rest.every((host) => host.statusOf(victim) === 'dead');
    await world.timeUntil('dead', dead, 1_500);
    await world.clock.runFor(20_000);
    for (const host of rest)
      expect(host.membership.members().filter(({ status }) => status === 'dead').length).toBe(1);
  });

  it('sees a silent one dead, and alive again when it speaks', async () => {
    const world = new World('partial silence', FEW);
    const hosts = await settled(world, 12);
    const frozen = hosts[3] as Host;
    frozen.freezer.freeze();
    const rest = others(hosts, frozen);
    const dead = () => rest.every((host) => host.statusOf(frozen) === 'dead');
    expect(await world.timeUntil('dead', dead, 16_500)).toBeGreaterThan(6_000);
    frozen.freezer.thaw();
    await world.timeUntil('alive', () => hosts.every((host) => host.sees(12)), 30_000);
  });

  it('two halves of a long partition find one another again', async () => {
    const world = new World('partial partition', FEW);
    const hosts = await settled(world, 12);
    const [left, right] = [hosts.slice(0, 6), hosts.slice(6)];
    world.hub.partition([left.map(({ peerId }) => peerId), right.map(({ peerId }) => peerId)]);
    const apart = (side: readonly Host[], far: readonly Host[]) =>
      side.every((host) => far.every((other) => host.statusOf(other) === 'dead'));
    await world.timeUntil('apart', () => apart(left, right) && apart(right, left), 120_000);
    await world.clock.runFor(600_000);
    world.hub.heal();
    await world.timeUntil('whole', () => hosts.every((host) => host.sees(12)), 60_000);
    const hashes = () => new Set(hosts.map((host) => host.membership.viewHash()));
    await world.timeUntil('views equal', () => hashes().size === 1, 30_000);
  });

  it('dials for whoever needs a link, and lets it go again when there are too many', async () => {
    const world = new World('partial dial', FEW);
    const hosts = await settled(world, 12);
    const asker = hosts[2] as Host;
    const asked = unlinked(hosts, asker);
    expect(asker.membership.mesh.canBeDialled(asked.peerId)).toBe(true);
    const isUp = await world.until(asker.membership.mesh.connect(asked.peerId, 2_000));
    expect([isUp, asker.membership.linked(asked.peerId)]).toEqual([true, true]);
    const few = () => hosts.every((host) => linksOf(host) <= 4);
    await world.timeUntil('closed with a goodbye', few, 60_000);
    expect(hosts.every((host) => host.sees(12))).toBe(true);
  });

  it('a dial that fails says so in time, and for a while', async () => {
    const world = new World('partial blocked', FEW);
    const hosts = await settled(world, 12);
    const asker = hosts[2] as Host;
    const asked = unlinked(hosts, asker);
    world.hub.block(asker.peerId, asked.peerId);
    const startMs = world.clock.nowMs();
    expect(await world.until(asker.membership.mesh.connect(asked.peerId, 1_000))).toBe(false);
    expect(world.clock.nowMs() - startMs).toBeLessThanOrEqual(1_000);
    expect(asker.membership.mesh.canBeDialled(asked.peerId)).toBe(false);
    // It is alive all the same: its observers hear it.
    expect(asker.statusOf(asked)).toBe('alive');
  });
});
