/** Names instead of addresses: resolved at each dial, kept as names, and lists of places for a peer that has lost all others. */
import { describe, expect, it } from 'vitest';
import { type Host, World } from './membership-world.ts';

const PORT = 26_839;

describe('a name in an advertised address', () => {
  it('stays a name in every view and token, and is resolved at each dial', async () => {
    const world = new World('name');
    const a = world.addHost({ advertise: ['a.example.org:0'] });
    const b = world.addHost();
    world.hub.hosts.set('a.example.org', a.address);
    await a.start();
    await b.start();
    await b.joinBy(a);
    await world.timeUntil('linked', () => a.sees(2) && b.sees(2), 5_000);
    expect(b.membership.member(a.peerId)?.addresses).toEqual([`a.example.org:${PORT}`]);
    // Both are down together, and the one comes back elsewhere, under its name.
    await a.stop();
    await b.stop();
    a.address = '127.77.9.1';
    world.hub.hosts.set('a.example.org', a.address);
    await b.start();
    await world.clock.runFor(5_000);
    // Only `b` dials: `a` does not hear of it otherwise.
    b.disk.stallMs = 0;
    await a.start();
    await world.timeUntil('linked again', () => a.sees(2) && b.sees(2), 60_000);
  });
});

describe('the places of `peers`', () => {
  /** c is away while a and b move; nothing that it knows is right any more. */
  async function moved(
    seed: string,
    peers: readonly string[],
    others: readonly string[] = [],
  ): Promise<[World, Host, Host, Host]> {
    const world = new World(seed);
    const [a, b] = [world.addHost({ peers: others }), world.addHost({ peers: others })];
    const c = world.addHost({ peers });
    for (const host of [a, b, c]) await host.start();
    await b.joinBy(a);
    await c.joinBy(a);
    await world.timeUntil('whole', () => [a, b, c].every((host) => host.sees(3)), 10_000);
    await c.stop();
    for (const [i, host] of [a, b].entries()) {
      await host.stop();
      host.address = `127.77.8.${i + 1}`;
      await host.start();
      const isBack = () => a.membership.linked(b.peerId) && b.membership.linked(a.peerId);
      await world.timeUntil('they are linked', isBack, 60_000);
    }
    // They cannot find it either: it has moved as well.
    c.address = '127.77.8.3';
    await c.start();
    return [world, a, b, c];
  }
  const whole = (hosts: readonly Host[]) => () => hosts.every((host) => host.sees(3));

  it('lead a peer back whose members have all moved, by an SRV name that is asked each time', async () => {
    const [world, a, b, c] = await moved('srv', ['srv:_covey._tcp.example.org']);
    await world.clock.runFor(60_000);
    expect(c.membership.linked(a.peerId)).toBe(false);
    const places = [{ address: '127.77.8.77:1' }, { address: `${b.address}:${PORT}` }];
    world.hub.names.set('srv:_covey._tcp.example.org', places);
    await world.timeUntil('found', whole([a, b, c]), 60_000);
  });

  it('may be the local network, where those answer that look there as well', async () => {
    const [world, a, b, c] = await moved('mdns', ['mdns'], ['mdns']);
    await world.timeUntil('found', whole([a, b, c]), 60_000);
    const [quiet, d, , f] = await moved('mdns, unanswered', ['mdns']);
    await quiet.clock.runFor(60_000);
    expect(f.membership.linked(d.peerId)).toBe(false);
  });

  it('may be a dnsaddr list with PeerIds, or an address', async () => {
    const [world, a, b, c] = await moved('dnsaddr', ['dnsaddr:example.org']);
    const address = `${b.address}:${PORT}`;
    // The first is nobody that it knows, the second not who is there.
    world.hub.names.set('dnsaddr:example.org', [
      { address, peerId: 'nobody' },
      { address, peerId: a.peerId },
      { address, peerId: b.peerId },
    ]);
    await world.timeUntil('found', whole([a, b, c]), 90_000);
    const [plain, ...hosts] = await moved('plain', [`127.77.8.1:${PORT}`]);
    await plain.timeUntil('found', whole(hosts), 90_000);
  });

  it('let nobody in: a stranger there stays one', async () => {
    const world = new World('stranger there');
    const [a, b, stranger] = [
      world.addHost(),
      world.addHost({ peers: [`127.77.0.3:${PORT}`] }),
      world.addHost(),
    ];
    for (const host of [a, b, stranger]) await host.start();
    await b.joinBy(a);
    await a.stop();
    await world.clock.runFor(60_000);
    expect(b.membership.linked(stranger.peerId)).toBe(false);
    expect(b.membership.members()).toHaveLength(2);
    expect(stranger.membership.members()).toHaveLength(1);
  });
});
