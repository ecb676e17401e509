/** `covey access revoke` and `allow`: whom the mesh cuts off, what that ends, and who comes back. */
import { describe, expect, it } from 'vitest';
import { randomBelow, SeededRandom } from '../../src/base/random.ts';
import { standingHome } from '../../src/records/directory.ts';
import { argvOf } from '../../src/sim/commands.ts';
import { World as Mesh } from '../../src/sim/world.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { type Host, World } from './membership-world.ts';

const revoke = async (world: World, at: Host, whom: Host) => {
  const answer = await world.until(at.membership.revoke(whom.peerId));
  if (!answer.ok) return answer.error.message;
  return answer.value.already === undefined ? 'revoked' : `already by ${answer.value.already}`;
};
const linksOf = (hosts: readonly Host[], whom: Host) =>
  hosts.filter((host) => host.runs && host.membership.linked(whom.peerId));
const ids = (hosts: readonly Host[]) => hosts.map(({ peerId }) => peerId);
const hashes = (hosts: readonly Host[]) => new Set(hosts.map((host) => host.membership.viewHash()));
const settled = (world: World, hosts: readonly Host[]) =>
  world.timeUntil('one view', () => hashes(hosts).size === 1, 60_000);
/** `inviter` lets it in, on whatever side of a partition. */
const addTo = async (world: World, inviter: Host, host = world.addHost()) => {
  await host.start();
  await host.joinBy(inviter);
  return host;
};

describe('a revoked peer', () => {
  it('is cut off everywhere within a second, knows by whom, and never returns', async () => {
    const world = new World('revoke');
    const hosts = (await world.mesh(5)) as [Host, Host, Host, Host, Host];
    const [a, b, , , out] = hosts;
    const rest = hosts.slice(0, 4);
    await world.clock.runFor(3_000);
    expect(await revoke(world, a, a)).toBe('Peer h1 cannot be revoked: it is this peer.');
    expect(await revoke(world, a, world.addHost())).toMatch(/^Peer \S+ is not known to any/);
    expect(await revoke(world, b, out)).toBe('revoked');
    const cut = () => rest.every((host) => host.statusOf(out) === 'removed');
    await world.timeUntil('removed', cut, 1_000);
    expect(linksOf(rest, out)).toEqual([]);
    await world.timeUntil('told', () => out.standing.length > 0, 1_000);
    expect(out.standing).toEqual(['revoked by h2']);
    expect(await revoke(world, a, out)).toBe('already by h2');
    const removed = rest[3]?.events.find(({ type }) => type === 'removed');
    expect(removed).toMatchObject({
      member: { name: 'h5' },
      evidence: 'revoked by h2: it may not come in again',
    });
    // Neither by itself nor after a restart nor with a token.
    await world.clock.runFor(30_000);
    await out.stop();
    await out.start();
    expect(out.membership.expelled).toMatchObject({ kind: 'revoked', by: 'h2' });
    await world.clock.runFor(60_000);
    expect(linksOf(rest, out)).toEqual([]);
    const invited = await world.until(a.membership.invite(60_000));
    const token = invited.ok ? invited.value.token : '';
    const again = await world.until(out.membership.join(token));
    expect(again).toMatchObject({ ok: false, error: { code: 'REVOKED', details: { by: 'h2' } } });
    const allowed = await world.until(a.membership.allow(out.peerId, 'h5'));
    expect(allowed).toMatchObject({ ok: false, error: { code: 'REVOKED' } });
    expect(hashes(rest).size).toBe(1);
  });

  it('that was away is told when it comes back, by a member that restarted as well', async () => {
    const world = new World('away');
    const [a, b, out] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(2_000);
    await out.stop();
    expect(await revoke(world, a, out)).toBe('revoked');
    await world.timeUntil('b knows', () => b.statusOf(out) === 'removed', 1_000);
    await world.clock.runFor(50);
    await a.stop();
    b.crash();
    await b.start();
    await out.start();
    await world.timeUntil('told', () => out.standing.length > 0, 10_000);
    expect(out.standing).toEqual(['revoked by h1']);
    expect(b.membership.linked(out.peerId)).toBe(false);
  });

  it('had said of others what its revoker says again: who was dead or removed stays so', async () => {
    const world = new World('said');
    const hosts = (await world.mesh(5)) as [Host, Host, Host, Host, Host];
    const [a, b, c, dead, gone] = hosts;
    const rest = [a, b, c];
    await world.clock.runFor(3_000);
    dead.crash();
    gone.crash();
    const both = () =>
      rest.every((host) => [dead, gone].every((one) => host.statusOf(one) === 'dead'));
    await world.timeUntil('dead', both, 5_000);
    const forgot = await world.until(b.membership.forget(gone.peerId));
    expect(forgot.ok).toBe(true);
    await world.timeUntil('removed', () => a.statusOf(gone) === 'removed', 2_000);
    for (const host of rest) host.events = [];
    expect(await revoke(world, a, b)).toBe('revoked');
    await world.timeUntil('cut', () => c.statusOf(b) === 'removed', 1_000);
    expect(await revoke(world, a, c)).toBe('revoked');
    await world.clock.runFor(3_000);
    expect([dead, gone].map((one) => a.statusOf(one))).toEqual(['dead', 'removed']);
    for (const host of [a, c])
      expect(host.events.filter(({ type }) => type === 'alive')).toEqual([]);
  });
});

describe('revocations at the same time', () => {
  it('of each other: both are out, and the others go on', async () => {
    const world = new World('mutual');
    const hosts = (await world.mesh(5)) as [Host, Host, Host, Host, Host];
    const [a, b, c, d, e] = hosts;
    await world.clock.runFor(3_000);
    const rest = [c, d, e];
    // Each is heard by somebody before the other one is: who is out already revokes nobody.
    world.hub.partition([ids([a, c]), ids([b, d, e])]);
    const both = Promise.all([a.membership.revoke(b.peerId), b.membership.revoke(a.peerId)]);
    expect((await world.until(both)).every(({ ok }) => ok)).toBe(true);
    const isHeard = () => c.statusOf(b) === 'removed' && d.statusOf(a) === 'removed';
    await world.timeUntil('heard', isHeard, 2_000);
    world.hub.heal();
    const out = () => rest.every((host) => [a, b].every((one) => host.statusOf(one) === 'removed'));
    await world.timeUntil('both out', out, 2_000);
    await world.timeUntil('told', () => a.standing.length + b.standing.length === 2, 2_000);
    await settled(world, rest);
    // The founder is one of them: its entries go on to hold for those whom the other knew.
    expect(rest.every((host) => host.membership.expelled === undefined)).toBe(true);
    const more = await addTo(world, d);
    await world.timeUntil('joined', () => linksOf([c, e], more).length === 2, 10_000);
  });

  it('by one that is cut off before its own is written: it is told, and the others have heard nothing', async () => {
    const world = new World('overtaken');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    await world.clock.runFor(3_000);
    b.disk.stallMs = 1_000;
    const late = b.membership.revoke(a.peerId);
    const admitted = b.membership.allow(world.addHost().peerId, 'h4');
    expect(await revoke(world, a, b)).toBe('revoked');
    expect(await world.until(late)).toMatchObject({ error: { code: 'REVOKED' } });
    expect(await world.until(admitted)).toMatchObject({ error: { code: 'REVOKED' } });
    expect([a, c].map((host) => host.statusOf(a))).toEqual(['alive', 'alive']);
  });

  it('on both sides of a partition: heard on the other side when it heals', async () => {
    const world = new World('sides');
    const hosts = (await world.mesh(6)) as [Host, Host, Host, Host, Host, Host];
    const [a, b, c, d, e, f] = hosts;
    await world.clock.runFor(3_000);
    const ids = hosts.map(({ peerId }) => peerId);
    world.hub.partition([ids.slice(0, 3), ids.slice(3)]);
    await world.clock.runFor(1_000);
    // The revoked one works on, on its side, and revokes one of the other side that it may not like.
    expect(await revoke(world, a, d)).toBe('revoked');
    expect(await revoke(world, d, b)).toBe('revoked');
    await world.clock.runFor(20_000);
    expect(d.membership.linked(e.peerId)).toBe(true);
    world.hub.heal();
    await world.timeUntil('d is out', () => linksOf([a, c, e, f], d).length === 0, 60_000);
    await world.timeUntil('b is out', () => linksOf([a, c, e, f], b).length === 0, 60_000);
    await world.timeUntil('told', () => d.standing.length + b.standing.length === 2, 60_000);
    await settled(world, [a, c, e, f]);
    await world.timeUntil(
      'whole',
      () => [a, c, e, f].every((host) => linksOf([a, c, e, f], host).length === 3),
      60_000,
    );
  });
});

describe('whom a revoked peer had admitted', () => {
  it('stays, if the revoker knew it; else it is cut off, and let in again by a member', async () => {
    const world = new World('void');
    const hosts = (await world.mesh(4)) as [Host, Host, Host, Host];
    const [a, b, c, d] = hosts;
    const known = await addTo(world, d);
    await world.timeUntil('a knows it', () => a.statusOf(known) === 'alive', 5_000);
    await world.clock.runFor(2_000);
    const [unseen, further] = [world.addHost(), world.addHost()];
    const [left, right] = [
      [a, b, known],
      [c, d, unseen, further],
    ];
    world.hub.partition([left.map(({ peerId }) => peerId), right.map(({ peerId }) => peerId)]);
    await world.clock.runFor(500);
    expect(await revoke(world, a, d)).toBe('revoked');
    await addTo(world, d, unseen);
    await addTo(world, unseen, further);
    await world.timeUntil('in', () => c.statusOf(further) === 'alive', 10_000);
    world.hub.heal();
    const rest = [a, b, c, known];
    const cut = () =>
      [unseen, further].every(
        (host) => linksOf(rest, host).length === 0 && host.standing.length > 0,
      );
    await world.timeUntil('cut off', cut, 90_000);
    expect(unseen.standing).toEqual(['void by h1']);
    expect(further.standing).toEqual(['void by h1']);
    expect(known.membership.expelled).toBeUndefined();
    await settled(world, rest);
    const listed = a.membership.accessList().filter(({ isVoid }) => isVoid);
    expect(listed.map(({ name }) => name).sort()).toEqual(['h6', 'h7']);
    // An entry is enough for the one: it dials for ever. The other takes a token.
    expect((await world.until(b.membership.allow(unseen.peerId, 'h6'))).ok).toBe(true);
    await world.timeUntil(
      'back',
      () => unseen.standing.at(-1) === '' && unseen.membership.linked(a.peerId),
      90_000,
    );
    // Whom it had admitted is in again with it.
    await world.timeUntil('both', () => linksOf(rest, further).length === 4, 90_000);
    await settled(world, [...rest, unseen, further]);
  });

  it('takes a new token of the same mesh', async () => {
    const world = new World('token again');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    world.hub.partition([[a.peerId, b.peerId], [c.peerId]]);
    expect(await revoke(world, a, c)).toBe('revoked');
    const late = await addTo(world, c);
    world.hub.heal();
    await world.timeUntil('void', () => late.membership.expelled?.kind === 'void', 60_000);
    expect(await world.until(late.membership.invite(1_000))).toMatchObject({
      ok: false,
      error: { code: 'ADMISSION_VOID', details: { by: 'h1' } },
    });
    await late.joinBy(b);
    expect(late.standing).toEqual(['void by h1', '']);
    await world.timeUntil('in', () => a.membership.linked(late.peerId), 10_000);
    expect(late.membership.expelled).toBeUndefined();
  });

  it('an open token of a revoked inviter lets nobody in, that of a dead one is not answered', async () => {
    const world = new World('open token');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    const tokens = [];
    for (const inviter of [b, c]) {
      const invited = await world.until(inviter.membership.invite(600_000));
      if (invited.ok) tokens.push(invited.value.token);
    }
    await world.clock.runFor(2_000);
    expect(await revoke(world, a, b)).toBe('revoked');
    await world.timeUntil('told', () => b.standing.length > 0, 2_000);
    c.crash();
    const late = world.addHost();
    await late.start();
    const codes = [];
    for (const token of tokens) {
      const joined = await world.until(late.membership.join(token));
      codes.push(joined.ok ? 'joined' : joined.error.code);
    }
    expect(codes).toEqual(['NOT_ALLOWED', 'JOIN_FAILED']);
    // It comes back, and the token is good still.
    await c.start();
    expect((await world.until(late.membership.join(tokens[1] ?? ''))).ok).toBe(true);
  });
});

describe('covey access allow', () => {
  it('lets one PeerId in by a token that is no secret', async () => {
    const world = new World('allow');
    const [a, b] = (await world.mesh(2)) as [Host, Host];
    const [known, stranger] = [world.addHost(), world.addHost()];
    await known.start();
    await stranger.start();
    const allowed = await world.until(a.membership.allow(known.peerId, 'known'));
    if (!allowed.ok) throw new Error(allowed.error.message);
    expect(allowed.value.isNew).toBe(true);
    const isKnown = () => b.membership.accessList().some(({ peerId }) => peerId === known.peerId);
    await world.timeUntil('b knows', isKnown, 1_000);
    const again = await world.until(b.membership.allow(known.peerId, 'known'));
    expect(again).toMatchObject({ ok: true, value: { isNew: false } });
    const { token } = allowed.value;
    expect((await world.until(stranger.membership.join(token))).ok).toBe(false);
    expect((await world.until(known.membership.join(token))).ok).toBe(true);
    await world.timeUntil('in', () => b.statusOf(known) === 'alive', 5_000);
  });
});

describe('drawn revocations, admissions and partitions', () => {
  for (const seed of ['1', '2', '3', '4', '5', '6'])
    it(`end in one view, with the revoked out and the members together (seed ${seed})`, async () => {
      const world = new World(`drawn ${seed}`);
      const random = new SeededRandom(`revocations ${seed}`);
      const hosts = [...(await world.mesh(6))];
      const pick = (): Host => {
        const up = hosts.filter((host) => host.runs);
        return up[randomBelow(random, up.length)] as Host;
      };
      for (let step = 0; step < 16; step++) {
        const kind = randomBelow(random, 7);
        const [at, other] = [pick(), pick()];
        if (kind === 0 && hosts.length < 9 && !at.membership.expelled)
          hosts.push(await addTo(world, at));
        else if (kind === 1 && at !== other) await revoke(world, at, other);
        else if (kind === 2) {
          const ids = hosts.map(({ peerId }) => peerId);
          const cut = 1 + randomBelow(random, ids.length - 1);
          world.hub.partition([ids.slice(0, cut), ids.slice(cut)]);
        } else if (kind === 3) world.hub.heal();
        else if (kind === 4) await world.until(at.membership.allow(other.peerId, other.name));
        else if (kind === 5 && hosts.filter((host) => host.runs).length > 2) at.crash();
        else for (const host of hosts) if (!host.runs) await host.start();
        await world.clock.runFor(100 + randomBelow(random, 3_000));
      }
      world.hub.heal();
      for (const host of hosts) if (!host.runs) await host.start();
      const [founder] = hosts as [Host, ...Host[]];
      const members = () => hosts.filter((host) => host.membership.expelled === undefined);
      const together = () => {
        const inside = members();
        return inside.every((host) => linksOf(inside, host).length === inside.length - 1);
      };
      await world.timeUntil('together', () => together() && hashes(members()).size <= 1, 120_000);
      for (const inside of members())
        for (const host of hosts)
          expect(host.membership.expelled === undefined).toBe(
            inside.statusOf(host) === undefined ? false : inside.statusOf(host) !== 'removed',
          );
      expect(founder.runs).toBe(true);
    });
});

describe('what a revoked peer held and ran', () => {
  const about = { kind: 'exec', attempts: 1, failures: 0 } as const;
  const job = (durationMs: number) => ({
    exec: { argv: argvOf({ durationMs, failures: 0, isDeaf: false }), cwd: '/' },
  });

  it('is lost with it: other homes, other runners; its own commands end, and it stays outside', async () => {
    const world = new Mesh({ seed: 'revoked', peers: 4, slots: 4 });
    await world.run(async () => {
      await world.joinAll();
      await world.runFor(3_000);
      for (let i = 0; i < 12; i++) world.submit(i % 3, job(4_000), about);
      for (let i = 0; i < 8; i++) world.submit(i % 3, { ...job(200), delay_ms: 30_000 }, about);
      const runsThere = () =>
        world.runs.filter(({ host, endedMs }) => host === 'h4' && endedMs === undefined);
      expect(await world.runUntil(() => runsThere().length > 0, 5_000)).toBe(true);
      const former = world.peer(3).identity.storeId;
      const { peerId } = world.host(3);
      const revoked = await world.until(world.peer(0).membership.revoke(peerId), 5_000);
      expect(revoked).toMatchObject({ ok: true, value: { name: 'h4', storeId: former } });
      expect(await world.runUntil(() => runsThere().length === 0, 2_000)).toBe(true);
      expect(await world.runUntil(() => world.host(3).state === 'up', 5_000)).toBe(true);
      expect(world.peer(3).membership.expelled).toMatchObject({ kind: 'revoked', by: 'h1' });
      const { directory } = world.peer(0).sight;
      expect(directory.statusOf(former)).toBe('removed');
      const isKept = () =>
        [...world.replicas().values()].every((copies) => {
          const [first] = copies;
          const home = first === undefined ? [] : standingHome(directory, first.record);
          return home.length === 3 && !home.includes(former);
        });
      expect(await world.runUntil(isKept, 30_000)).toBe(true);
      const isOver = () =>
        [...world.replicas().values()].every((copies) =>
          copies.some(({ host, record }) => host !== 'h4' && taskOf(record).final !== undefined),
        );
      expect(await world.runUntil(isOver, 90_000)).toBe(true);
    });
  });
});
