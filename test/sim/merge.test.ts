/** `covey mesh merge`: two meshes that become one, and everything that must not come of it. */
import { describe, expect, it } from 'vitest';
import { type Fact, signFact, toWire } from '../../src/membership/fact.ts';
import { decodeAdmit, encodeAdmit } from '../../src/membership/hello.ts';
import { decodeToken } from '../../src/membership/token.ts';
import { prefixEnd } from '../../src/ports/store.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { type Host, World } from './membership-world.ts';

const mergeToken = async (world: World, host: Host, ttlMs = 60_000): Promise<string> => {
  const invited = await world.until(host.membership.invite(ttlMs, true));
  if (!invited.ok) throw new Error(invited.error.message);
  return invited.value.token;
};
const merge = async (world: World, at: Host, token: string, yes = false) => {
  const answer = await world.until(at.membership.merge(token, yes));
  return answer.ok ? answer.value : answer.error;
};
const wholeWithin = (world: World, hosts: readonly Host[], limitMs: number) =>
  world.timeUntil('whole', () => hosts.every((host) => host.sees(hosts.length)), limitMs);
const oneView = (world: World, hosts: readonly Host[], limitMs = 30_000) =>
  world.timeUntil(
    'one view',
    () => new Set(hosts.map(({ membership }) => membership.viewHash())).size === 1,
    limitMs,
  );
const deaths = (hosts: readonly Host[]) =>
  hosts.flatMap((host) => host.events.filter(({ type }) => type === 'dead' || type === 'removed'));
/** It has written its half of the consent, and its answer is under way. */
const hasAccepted = (host: Host): boolean => {
  const prefix = 'membership/fact/merge/';
  return host.disk.read().range(prefix, prefixEnd(prefix), 1, false).length > 0;
};
const ids = (hosts: readonly Host[]) => hosts.map(({ peerId }) => peerId);

const DEAF = {
  opened: () => undefined,
  closed: () => undefined,
  frame: () => undefined,
  news: () => undefined,
  admitRequest: () => Promise.resolve(undefined),
};
const fail = (): never => {
  throw new Error('it should be there');
};

async function twoMeshes(seed: string): Promise<{ world: World; as: Host[]; bs: Host[] }> {
  const world = new World(seed);
  return { world, as: await world.mesh(3), bs: await world.mesh(3) };
}
type Three = [Host, Host, Host];

describe('a merge of two meshes', () => {
  it('makes all six see all six alive, under one mesh id, with nobody taken for dead', async () => {
    const { world, as, bs } = await twoMeshes('merge');
    const all = [...as, ...bs];
    const [, a1] = as as Three;
    const [, , b1] = bs as Three;
    const meshIds = [a1, b1].map(({ membership }) => membership.meshId).sort();
    const merged = await merge(world, b1, await mergeToken(world, a1));
    expect(merged).toEqual({ meshId: meshIds[0], members: 6, cutOff: [], isOld: false });
    expect(await wholeWithin(world, all, 3_000)).toBeLessThan(1_000);
    await oneView(world, all);
    expect(new Set(all.map(({ membership }) => membership.meshId))).toEqual(new Set([meshIds[0]]));
    await world.clock.runFor(30_000);
    expect(deaths(all)).toEqual([]);
    // It is written down: all of them start anew.
    for (const host of all) host.crash();
    for (const host of all) await host.start();
    await wholeWithin(world, all, 20_000);
    // A newcomer of either is one of the whole.
    const late = world.addHost();
    await late.start();
    expect(await late.joinBy(b1)).toEqual({ meshId: meshIds[0], members: 7 });
    await wholeWithin(world, [...all, late], 20_000);
  });

  it('is transitive: who merges with one of two merges with both', async () => {
    const { world, as, bs } = await twoMeshes('transitive');
    const cs = await world.mesh(2);
    const all = [...as, ...bs, ...cs];
    const [a] = as as Three;
    const [b, b1] = bs as Three;
    const [c] = cs as [Host, Host];
    expect(await merge(world, b, await mergeToken(world, a))).toMatchObject({ members: 6 });
    expect(await merge(world, b1, await mergeToken(world, c))).toMatchObject({ members: 8 });
    await wholeWithin(world, all, 20_000);
    await oneView(world, all);
    expect(new Set(all.map(({ membership }) => membership.meshId)).size).toBe(1);
  });

  it('asked for again changes nothing, whoever asks and whatever the token is', async () => {
    const { world, as, bs } = await twoMeshes('again');
    const [a] = as as Three;
    const [b, b1] = bs as Three;
    const token = await mergeToken(world, a);
    await merge(world, b, token);
    await wholeWithin(world, [...as, ...bs], 10_000);
    const hash = a.membership.viewHash();
    expect(await merge(world, b, token)).toMatchObject({ isOld: true, members: 6 });
    expect(await merge(world, b1, await mergeToken(world, a))).toMatchObject({ isOld: true });
    expect(await merge(world, a, await mergeToken(world, b))).toMatchObject({ isOld: true });
    expect(a.membership.viewHash()).toBe(hash);
  });
});

describe('a merge that goes wrong', () => {
  it('is refused with the reason: token, place, loneliness', async () => {
    const { world, as, bs } = await twoMeshes('refused');
    const [a, a1] = as as Three;
    const [b] = bs as Three;
    const codeAt = async (host: Host, token: string) => await merge(world, host, token);
    const plain = await world.until(a.membership.invite(60_000));
    const plainToken = plain.ok ? plain.value.token : '';
    expect(await codeAt(b, plainToken)).toMatchObject({ code: 'TOKEN_NOT_FOR_MERGE' });
    expect(await codeAt(b, 'covey1-nonsense')).toMatchObject({ code: 'TOKEN_INVALID' });
    const [short, good] = [await mergeToken(world, a, 1_000), await mergeToken(world, a)];
    const lone = world.addHost();
    await lone.start();
    expect(await world.until(lone.membership.join(good))).toMatchObject({
      error: { code: 'TOKEN_FOR_MERGE' },
    });
    expect(await codeAt(lone, good)).toMatchObject({ code: 'NOT_MERGEABLE' });
    expect(await world.until(lone.membership.invite(1_000, true))).toMatchObject({
      error: { code: 'NOT_MERGEABLE' },
    });
    expect(await world.until(b.membership.join(plainToken))).toMatchObject({
      error: { code: 'FOREIGN_MESH' },
    });
    await world.clock.runFor(2_000);
    expect(await codeAt(b, short)).toMatchObject({ code: 'TOKEN_EXPIRED' });
    await a.stop();
    expect(await codeAt(b, good)).toMatchObject({ code: 'JOIN_FAILED' });
    await a.start();
    const cs = (await world.mesh(2)) as [Host, Host];
    expect(await codeAt(b, good)).toMatchObject({ isOld: false });
    expect(await codeAt(cs[0], good)).toMatchObject({ code: 'TOKEN_USED' });
    expect(a1.membership.members()).toHaveLength(6);
    expect(cs[0].membership.members()).toHaveLength(2);
  });

  it('a secret that merges lets no single host in', async () => {
    const { world, as } = await twoMeshes('secret');
    const [a] = as as Three;
    const token = await mergeToken(world, a);
    const decoded = decodeToken(token);
    if (!decoded.ok) throw new Error(decoded.error);
    const stranger = world.addHost();
    await stranger.start();
    const network = world.hub.createNetwork(stranger.identity);
    const { secret } = decoded.value;
    const redeem = encodeAdmit({ type: 'redeem', secret, name: 'x' });
    await world.until(network.dial(a.peerId, `${a.address}:26839`, 1_000));
    await world.until(network.admitCall(a.peerId, redeem, 5_000));
    expect(a.membership.accessList()).toHaveLength(3);
  });

  it('is no way in for who says that a mesh is his own: not this one, and not one that has merged', async () => {
    const { world, as, bs } = await twoMeshes('claims');
    const [a, a1] = as as Three;
    const [b] = bs as Three;
    await merge(world, b, await mergeToken(world, a));
    await wholeWithin(world, [...as, ...bs], 10_000);
    const token = decodeToken(await mergeToken(world, a));
    const [secret, hash] = [token.ok ? token.value.secret : fail(), a.membership.viewHash()];
    const thief = createSimIdentity('thief');
    const network = world.hub.createNetwork(thief);
    const listening = network.start(DEAF, { host: '127.77.0.99', port: 1 });
    expect((await world.until(listening)).ok).toBe(true);
    await world.until(network.dial(a.peerId, `${a.address}:26839`, 1_000));
    const ask = async (meshId: string, facts: Fact[]) => {
      const side = { meshId, root: thief.peerId, members: 1, revoked: [] };
      const agreed = { isAgreed: true, withCuts: true, facts: facts.map(toWire) };
      const frame = encodeAdmit({ type: 'merge', secret, side, ...agreed });
      const bytes = await world.until(network.admitCall(a.peerId, frame, 5_000));
      const reply = bytes && decodeAdmit(bytes);
      return reply?.ok && reply.value.type === 'refuse' ? reply.value.error.code : reply;
    };
    const founder = (meshId: string) =>
      signFact(thief, meshId, {
        ...{ kind: 'entry', peerId: thief.peerId, name: 'x', admittedAtMs: 0 },
      });
    for (const host of [a, b]) {
      const invite = decodeToken(await mergeToken(world, host));
      const meshId = invite.ok ? invite.value.meshId : fail();
      expect(await ask(meshId, [founder(meshId)])).toBe('NOT_ALLOWED');
    }
    // A mesh of his own, whose entries do not lead to him.
    const other = signFact(createSimIdentity('other'), 'x', founder('x').statement);
    expect(await ask('x', [])).toBe('INVALID_REQUEST');
    expect(await ask('x', [other])).toBe('INVALID_REQUEST');
    expect(await ask('x', [founder('y')])).toBe('INVALID_REQUEST');
    expect(a.membership.viewHash()).toBe(hash);
    expect(a1.membership.accessList()).toHaveLength(6);
    await world.until(network.stop());
  });

  it('the inviter dies before its answer comes: the same again, when it is back', async () => {
    const { world, as, bs } = await twoMeshes('lost answer');
    const [a] = as as Three;
    const [b, b1] = bs as Three;
    const token = await mergeToken(world, a);
    const asked = b.membership.merge(token, false);
    await world.timeUntil('accepted', () => hasAccepted(a), 5_000);
    world.hub.partition([[a.peerId], ids(bs)]);
    a.crash();
    expect(await world.until(asked)).toMatchObject({ error: { code: 'JOIN_FAILED' } });
    world.hub.heal();
    expect(b.membership.members()).toHaveLength(3);
    await a.start();
    // Also by another member of the same mesh: it is accepted, and the secret is gone.
    expect(await merge(world, b1, token)).toMatchObject({ isOld: false });
    await wholeWithin(world, [...as, ...bs], 20_000);
    await oneView(world, [...as, ...bs]);
  });

  it('the one that asked dies before it reads the answer: the same again', async () => {
    const { world, as, bs } = await twoMeshes('lost asker');
    const [a, a1, a2] = as as Three;
    const [b] = bs as Three;
    await world.clock.runFor(2_000);
    const token = await mergeToken(world, a);
    void b.membership.merge(token, false);
    await world.timeUntil('accepted', () => hasAccepted(a), 5_000);
    b.crash();
    await world.clock.runFor(5_000);
    // The one half of the consent alone lets nobody in.
    expect(a2.membership.members()).toHaveLength(3);
    await a1.stop();
    await b.start();
    expect(await merge(world, b, token)).toMatchObject({ isOld: false });
    await a1.start();
    await wholeWithin(world, [...as, ...bs], 20_000);
  });

  it('revoked on one side, a member of the other: says whom it cuts off, and does it when told to', async () => {
    const { world, as, bs } = await twoMeshes('cuts');
    const [a] = as as Three;
    const [b, b1, out] = bs as Three;
    // It was a member of the one mesh before: known there, and revoked.
    const allowed = await world.until(a.membership.allow(out.peerId, 'stolen'));
    expect(allowed.ok).toBe(true);
    expect((await world.until(a.membership.revoke(out.peerId))).ok).toBe(true);
    const token = await mergeToken(world, a);
    expect(await merge(world, b, token)).toMatchObject({
      code: 'MERGE_CUTS',
      details: { who: out.name },
    });
    expect(b.membership.members()).toHaveLength(3);
    expect(await merge(world, out, token, true)).toMatchObject({ code: 'REVOKED' });
    expect(await merge(world, b, token, true)).toMatchObject({ cutOff: [out.name], isOld: false });
    await world.timeUntil('out', () => out.standing.length > 0, 10_000);
    const rest = [...as, b, b1];
    await world.timeUntil(
      'whole',
      () =>
        rest.every((host) =>
          rest.every((other) => host === other || host.membership.linked(other.peerId)),
        ),
      20_000,
    );
    await oneView(world, rest);
    expect(rest.map((host) => host.statusOf(out))).toEqual(rest.map(() => 'removed'));
  });
});

describe('a member that was away while its mesh merged', () => {
  it('learns of it from its old mates', async () => {
    const { world, as, bs } = await twoMeshes('away');
    const [a] = as as Three;
    const [b, , away] = bs as Three;
    await world.clock.runFor(3_000);
    away.crash();
    await world.clock.runFor(2_000);
    await merge(world, b, await mergeToken(world, a));
    await world.clock.runFor(5_000);
    await away.start();
    await wholeWithin(world, [...as, ...bs], 20_000);
    await oneView(world, [...as, ...bs]);
  });

  it('learns of it from the others, when all its old mates are gone', async () => {
    const { world, as, bs } = await twoMeshes('alone');
    const [a] = as as Three;
    const [b, b1, away] = bs as Three;
    await away.stop();
    // The author of the merge came when it was away: not even that name is known to it.
    const late = world.addHost();
    await late.start();
    await late.joinBy(b1);
    await merge(world, late, await mergeToken(world, a));
    await world.timeUntil(
      'known',
      () => as.every((host) => host.statusOf(away) !== undefined),
      20_000,
    );
    for (const host of [b, b1, late]) await host.stop();
    await away.start();
    await world.timeUntil(
      'linked',
      () => as.every((host) => host.membership.linked(away.peerId)),
      30_000,
    );
    expect(as.map((host) => host.statusOf(away))).toEqual(['alive', 'alive', 'alive']);
    expect(away.membership.meshId).toBe(a.membership.meshId);
  });

  it('comes back on the other side of a partition, which heals', async () => {
    const { world, as, bs } = await twoMeshes('partition');
    const all = [...as, ...bs];
    const [a, a1, a2] = as as Three;
    const [b, b1, b2] = bs as Three;
    const [left, right] = [
      [a, a1, b],
      [a2, b1, b2],
    ];
    await world.clock.runFor(3_000);
    world.hub.partition([ids(left), ids(right)]);
    expect(await merge(world, b, await mergeToken(world, a))).toMatchObject({ isOld: false });
    await world.clock.runFor(20_000);
    world.hub.heal();
    await wholeWithin(world, all, 60_000);
    await oneView(world, all);
  });
});

describe('a merge and revocations', () => {
  it('is void when its author was revoked by one that had not heard of it', async () => {
    const { world, as, bs } = await twoMeshes('void');
    const [a, a1, a2] = as as Three;
    const [b] = bs as Three;
    await world.clock.runFor(2_000);
    // a's key was stolen: it lets a mesh in, on its side of a partition.
    world.hub.partition([[a.peerId, ...ids(bs)], ids([a1, a2])]);
    expect((await world.until(a1.membership.revoke(a.peerId))).ok).toBe(true);
    expect(await merge(world, b, await mergeToken(world, a))).toMatchObject({ isOld: false });
    world.hub.heal();
    await world.timeUntil('a is out', () => a.standing.length > 0, 60_000);
    await world.clock.runFor(30_000);
    for (const host of [a1, a2])
      for (const other of bs) expect(host.membership.linked(other.peerId)).toBe(false);
    // A member whom they trust asks again, and they are one.
    expect(await merge(world, b, await mergeToken(world, a1))).toMatchObject({ isOld: false });
    await world.timeUntil(
      'together',
      () => [a1, a2].every((host) => bs.every((other) => host.membership.linked(other.peerId))),
      60_000,
    );
  });

  it('stands when its author is revoked later, on whichever side', async () => {
    const { world, as, bs } = await twoMeshes('kept');
    const [a, a1, a2] = as as Three;
    const [b, b1, b2] = bs as Three;
    await merge(world, b, await mergeToken(world, a));
    await wholeWithin(world, [...as, ...bs], 10_000);
    await oneView(world, [...as, ...bs]);
    expect((await world.until(b1.membership.revoke(a.peerId))).ok).toBe(true);
    expect((await world.until(b1.membership.revoke(b.peerId))).ok).toBe(true);
    const rest = [a1, a2, b1, b2];
    await world.clock.runFor(10_000);
    for (const host of rest)
      for (const other of rest)
        if (host !== other) expect(host.membership.linked(other.peerId)).toBe(true);
    await oneView(world, rest);
    expect(new Set(rest.map(({ membership }) => membership.meshId)).size).toBe(1);
  });
});
