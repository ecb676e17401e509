/**
 * Who comes in and who does not: tokens, foreign meshes, stores that were rolled back, loopback,
 * strangers.
 */
import { describe, expect, it, vi } from 'vitest';
import { AllowList } from '../../src/membership/allow-list.ts';
import { encodeAdmit } from '../../src/membership/hello.ts';
import { INVITES_MAX } from '../../src/membership/limits.ts';
import { decodeToken } from '../../src/membership/token.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { type Host, World } from './membership-world.ts';

async function two(seed: string): Promise<[World, Host, Host]> {
  const world = new World(seed);
  const [a, b] = [world.addHost(), world.addHost()];
  await a.start();
  await b.start();
  return [world, a, b];
}

async function tokenOf(world: World, host: Host, ttlMs = 60_000): Promise<string> {
  const invited = await world.until(host.membership.invite(ttlMs));
  if (!invited.ok) throw new Error(invited.error.message);
  return invited.value.token;
}

const codeOf = (result: { ok: boolean; error?: { code: string } }): string | undefined =>
  result.ok ? undefined : result.error?.code;

describe('admission', () => {
  it('a token lets one peer in, once; the same peer again, another not', async () => {
    const [world, a, b] = await two('token');
    const c = world.addHost();
    await c.start();
    const token = await tokenOf(world, a);
    const joined = await world.until(b.membership.join(token));
    expect(joined).toEqual({ ok: true, value: { meshId: a.membership.meshId, members: 2 } });
    expect(codeOf(await world.until(b.membership.join(token)))).toBeUndefined();
    expect(codeOf(await world.until(c.membership.join(token)))).toBe('TOKEN_USED');
    expect(c.membership.members()).toHaveLength(1);
    await world.timeUntil('linked', () => a.sees(2) && b.sees(2), 5_000);
  });

  it('two peers with one token at the same moment: one of them comes in', async () => {
    const [world, a, b] = await two('race');
    const c = world.addHost();
    await c.start();
    const token = await tokenOf(world, a);
    const both = Promise.all([b.membership.join(token), c.membership.join(token)]);
    const codes = (await world.until(both)).map(codeOf);
    expect(codes.filter((code) => code === undefined)).toHaveLength(1);
    expect(codes).toContain('TOKEN_USED');
  });

  it('a full allow-list is told to whoever admits, and to whom it turns away', async () => {
    const [world, a, b] = await two('full');
    const token = await tokenOf(world, a);
    const full = vi.spyOn(AllowList.prototype, 'isFull', 'get').mockReturnValue(true);
    try {
      expect(codeOf(await world.until(b.membership.join(token)))).toBe('INVALID_PARAMS');
      const allowed = await world.until(a.membership.allow(b.peerId, 'b'));
      expect(codeOf(allowed)).toBe('INVALID_PARAMS');
      // Nobody is hurt by it who is a member already.
      expect(await world.until(a.membership.allow(a.peerId, 'a'))).toMatchObject({ ok: true });
      // It fills while the entry is written.
      full.mockReturnValue(false);
      const late = a.membership.allow(b.peerId, 'b');
      vi.spyOn(AllowList.prototype, 'addAll').mockReturnValueOnce([]);
      full.mockReturnValue(true);
      expect(codeOf(await world.until(late))).toBe('INVALID_PARAMS');
      expect(a.membership.members()).toHaveLength(1);
    } finally {
      vi.restoreAllMocks();
    }
    // The token is not spent.
    expect(codeOf(await world.until(b.membership.join(token)))).toBeUndefined();
  });

  it('a token ends with its time, and outlives a restart of its inviter', async () => {
    const [world, a, b] = await two('expiry');
    const short = await tokenOf(world, a, 1_000);
    const long = await tokenOf(world, a, 600_000);
    await world.clock.runFor(2_000);
    expect(codeOf(await world.until(b.membership.join(short)))).toBe('TOKEN_EXPIRED');
    await a.stop();
    await a.start();
    expect(codeOf(await world.until(b.membership.join(long)))).toBeUndefined();
  });

  it('so many tokens may be open; those that have ended stand in nobody’s way', async () => {
    const [world, a] = await two('many tokens');
    for (let i = 0; i < INVITES_MAX; i++) await tokenOf(world, a, 60_000);
    const more = await world.until(a.membership.invite(60_000));
    expect(more).toMatchObject({ ok: false, error: { code: 'BUSY' } });
    await world.clock.runFor(61_000);
    await tokenOf(world, a);
    const invites = a.disk.read().range('membership/invite/', 'membership/invite/~', 1_000, false);
    expect(invites.length).toBeLessThanOrEqual(INVITES_MAX);
  });

  it('one redeeming that fails does not fail those that come after it', async () => {
    const [world, a, b] = await two('failed');
    const token = decodeToken(await tokenOf(world, a));
    const redeem = encodeAdmit({
      ...{ type: 'redeem', name: 'x' },
      secret: token.ok ? token.value.secret : new Uint8Array(),
    });
    const { sign } = a.identity;
    const broken = Object.assign(a.identity, {
      sign: () => {
        throw new Error('a broken invariant');
      },
    });
    const failures: unknown[] = [];
    a.inOneTurn((to) => {
      to.admitRequest(createSimIdentity('x').peerId, redeem).catch((e: unknown) =>
        failures.push(e),
      );
    });
    await world.timeUntil('failed', () => failures.length > 0, 1_000);
    Object.assign(broken, { sign });
    await b.joinBy(a);
    expect(b.membership.members()).toHaveLength(2);
  });

  it('malformed, foreign and unreachable tokens are named errors', async () => {
    const [world, a, b] = await two('errors');
    expect(codeOf(await world.until(b.membership.join('covey1-nonsense')))).toBe('TOKEN_INVALID');
    const token = await tokenOf(world, a);
    const other = await two('elsewhere');
    await other[2].joinBy(other[1]);
    const [, , member] = other;
    expect(codeOf(await other[0].until(member.membership.join(token)))).toBe('FOREIGN_MESH');
    await a.stop();
    expect(codeOf(await world.until(b.membership.join(token)))).toBe('JOIN_FAILED');
    expect(b.membership.members()).toHaveLength(1);
  });

  it('is in its own view whenever it tells of a member, also while it moves to the other mesh', async () => {
    const [, a, b] = await two('own-view');
    const seen: string[] = [];
    b.membership.onEvent(({ type, member }) => {
      seen.push(`${type} ${member.peerId === b.membership.self().peerId ? 'self' : 'other'}`);
    });
    await b.joinBy(a);
    expect(seen.slice(0, 2)).toEqual(['joined self', 'joined other']);
  });

  it('refuses invite and join on a daemon that listens on loopback alone', async () => {
    const world = new World('loopback');
    const a = world.addHost({ host: '10.0.0.1' });
    const b = world.addHost({ host: '127.0.0.1' });
    await a.start();
    await b.start();
    expect(codeOf(await world.until(b.membership.invite(60_000)))).toBe('LOOPBACK_ONLY');
    const token = await tokenOf(world, a);
    expect(codeOf(await world.until(b.membership.join(token)))).toBe('LOOPBACK_ONLY');
  });

  it('a newcomer shows its chain to members that never heard of it or of its inviter', async () => {
    const world = new World('chain');
    const hosts = await world.mesh(3);
    const [, b, c] = hosts as [Host, Host, Host];
    await c.stop();
    const d = world.addHost();
    await d.start();
    await d.joinBy(b);
    await world.timeUntil('d knows c', () => d.statusOf(c) !== undefined, 5_000);
    await b.stop();
    await c.start();
    await world.timeUntil('linked', () => c.membership.linked(d.peerId), 15_000);
    expect(c.membership.accessList().map(({ peerId }) => peerId)).toContain(d.peerId);
  });

  it('a stranger gets nothing: no frame of it is delivered, and its hello is refused', async () => {
    const [world, a] = await two('stranger');
    const identity = createSimIdentity('stranger');
    const network = world.hub.createNetwork(identity);
    const replies: (Uint8Array | undefined)[] = [];
    const handlers = {
      opened: () => undefined,
      closed: () => undefined,
      frame: () => {
        throw new Error('a stranger was sent a frame');
      },
      admitRequest: () => Promise.resolve(undefined),
      news: () => undefined,
    };
    await network.start(handlers, { host: '127.77.0.99', port: 1 });
    await world.until(network.dial(a.peerId, `${a.address}:26839`, 1_000));
    const redeem = encodeAdmit({ type: 'redeem', secret: new Uint8Array(16), name: 'x' });
    const calls = Array.from({ length: 6 }, () => network.admitCall(a.peerId, redeem, 5_000));
    replies.push(...(await world.until(Promise.all(calls))));
    expect(replies.every((reply) => reply !== undefined)).toBe(true);
    network.send(a.peerId, 'control', new Uint8Array([1, 2, 3]));
    await world.clock.runFor(1_000);
    expect(a.membership.linked(identity.peerId)).toBe(false);
    expect(a.membership.members()).toHaveLength(1);
    await world.until(network.stop());
  });

  it('answers four strangers at a time; the fifth is asked to come again, and does', async () => {
    const [world, a] = await two('busy');
    const newcomers = Array.from({ length: 5 }, () => world.addHost());
    const joins: { host: Host; token: string }[] = [];
    for (const host of newcomers) {
      await host.start();
      joins.push({ host, token: await tokenOf(world, a) });
    }
    a.disk.stallMs = 300;
    const all = Promise.all(joins.map(({ host, token }) => host.membership.join(token)));
    const codes = (await world.until(all, 30_000)).map(codeOf);
    expect(codes).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(a.membership.stats.gossip().refused['admission: BUSY']).toBeGreaterThanOrEqual(1);
  });

  it('gives up on an inviter that stays busy, and may ask again', async () => {
    const [world, a] = await two('busy for long');
    const newcomers = Array.from({ length: 5 }, () => world.addHost());
    const joins: { host: Host; token: string }[] = [];
    for (const host of newcomers) {
      await host.start();
      joins.push({ host, token: await tokenOf(world, a) });
    }
    a.disk.stallMs = 4_000;
    const all = Promise.all(joins.map(({ host, token }) => host.membership.join(token)));
    const codes = (await world.until(all, 60_000)).map(codeOf);
    a.disk.stallMs = 0;
    const late = joins.filter((_, i) => codes[i] !== undefined);
    expect(late).not.toHaveLength(0);
    for (const { host, token } of late)
      expect(codeOf(await world.until(host.membership.join(token), 30_000))).toBeUndefined();
  });

  it('a store that was rolled back is refused, and told so', async () => {
    const world = new World('rollback');
    const hosts = await world.mesh(3);
    const victim = hosts[2] as Host;
    const old = { bootIds: [...victim.bootIds], bootCount: victim.bootCount };
    await victim.stop();
    await victim.start();
    await world.timeUntil('back', () => hosts.every((host) => host.sees(3)), 15_000);
    await victim.stop();
    Object.assign(victim, old);
    await victim.start();
    await world.timeUntil('refused', () => victim.refusals.length > 0, 10_000);
    expect(victim.refusals[0]).toMatch(/rolled back or copied/);
    expect(hosts[0]?.membership.linked(victim.peerId)).toBe(false);
    // With a store of its own again it comes back.
    await victim.stop();
    victim.storeId = 'fresh'.padEnd(32, '0');
    Object.assign(victim, { bootIds: [], bootCount: 0 });
    await victim.start();
    await world.timeUntil('back', () => hosts.every((host) => host.sees(3)), 20_000);
    expect(hosts[0]?.membership.memberOfStore(victim.storeId)?.peerId).toBe(victim.peerId);
  });

  it('two that cannot hear each other stay alive while a third hears both', async () => {
    const world = new World('pair');
    const hosts = await world.mesh(4);
    const [a, b] = hosts as [Host, Host];
    await world.clock.runFor(3_000);
    world.hub.partition([[a.peerId], [b.peerId]]);
    await world.clock.runFor(30_000);
    const deaths = hosts.flatMap((host) => host.events.filter(({ type }) => type === 'dead'));
    expect(deaths).toEqual([]);
    expect(a.statusOf(b)).toBe('suspect');
    world.hub.heal();
    await world.timeUntil('all alive', () => hosts.every((host) => host.sees(4)), 15_000);
  });
});
