/** Every transition says why, and who saw it, also at those who only heard the news of it. */
import { describe, expect, it } from 'vitest';
import { signFact, toWire } from '../../src/membership/fact.ts';
import { encodeMessage } from '../../src/membership/messages.ts';
import type { MemberEvent } from '../../src/membership/types.ts';
import { type Host, World } from './membership-world.ts';

const find = (host: Host, type: MemberEvent['type'], about: Host): MemberEvent | undefined =>
  host.events.findLast((event) => event.type === type && event.member.peerId === about.peerId);

async function untilAll(world: World, hosts: Host[], type: MemberEvent['type'], about: Host) {
  const seen = () => hosts.every((host) => find(host, type, about) !== undefined);
  await world.timeUntil(`all heard that ${about.name} is ${type}`, seen, 30_000);
  return hosts.map((host) => find(host, type, about));
}

describe('member events', () => {
  it('a crash: who saw the connection end and the port refuse, at all that hear of it', async () => {
    const world = new World('events crash, heard as news');
    const hosts = await world.mesh(5);
    const [victim, ...others] = hosts as [Host, ...Host[]];
    // Its link never ends: it hears of the death as news.
    const cut = others[3] as Host;
    world.hub.block(victim.peerId, cut.peerId);
    world.hub.block(cut.peerId, victim.peerId);
    victim.crash();
    const events = await untilAll(world, others, 'dead', victim);
    const names = new Set(others.map(({ name }) => name));
    for (const event of events) {
      const { cause, evidence = '', was } = event ?? {};
      expect(evidence).toMatch(
        /^connection ended without goodbye, redial refused: seen by h\d and h\d/,
      );
      expect(cause?.kind).toBe('crash');
      expect(cause?.seenBy.length).toBeGreaterThanOrEqual(2);
      for (const [name] of evidence.matchAll(/h\d/g)) expect(names).toContain(name);
      expect(['alive', 'suspect']).toContain(was);
    }
    expect(['news', 'anti_entropy']).toContain(events[3]?.cause?.via);
  });

  it('a freeze: suspected by phi, dead to nobody, heard again', async () => {
    const world = new World('events freeze');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    c.freezer.freeze();
    await untilAll(world, [a, b], 'suspect', c);
    expect(find(a, 'suspect', c)).toMatchObject({
      was: 'alive',
      cause: { kind: 'phi', seenBy: [a.peerId], via: 'own' },
      evidence: expect.stringMatching(/^heartbeats are late, phi \d+\.\d: seen by h1$/),
    });
    c.freezer.thaw();
    await world.timeUntil('alive again', () => find(a, 'alive', c)?.was === 'suspect', 10_000);
    const back = find(a, 'alive', c)?.cause?.kind;
    expect(['heard', 'refuted']).toContain(back);
    expect(find(a, 'dead', c)).toBeUndefined();
  });

  it('a join, a restart, a leave and a removal name who said so', async () => {
    const world = new World('events leave');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    expect(find(b, 'joined', c)?.evidence).toBe('admitted by h1');
    c.crash();
    await untilAll(world, [a, b], 'dead', c);
    await c.start();
    await untilAll(world, [a, b], 'boot', c);
    expect(find(a, 'boot', c)).toMatchObject({
      evidence: 'restarted, boot 2',
      cause: { kind: 'restarted', bootCount: 2 },
    });
    await world.timeUntil('back', () => a.sees(3) && b.sees(3), 10_000);
    expect(find(a, 'alive', c)).toMatchObject({ was: 'dead' });
    await c.stop('leave');
    await untilAll(world, [a, b], 'left', c);
    expect(find(b, 'left', c)?.evidence).toBe('it said that it leaves');
    await world.until(a.membership.forget(c.peerId));
    await untilAll(world, [a, b], 'removed', c);
    expect(find(b, 'removed', c)).toMatchObject({
      was: 'left',
      evidence: 'removed by h1: its store does not come back',
    });
  });

  it('a revocation names its author', async () => {
    const world = new World('events revoked');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    const fact = signFact(a.identity, a.membership.meshId, {
      ...{ kind: 'revocation', peerId: c.peerId, revokedAtMs: 1, keeps: [] },
    });
    const bytes = encodeMessage({ type: 'delta', facts: [toWire(fact)], want: [] });
    // As if a had said it: sent on a's own link.
    a.send(b, bytes);
    await untilAll(world, [b], 'revoked', c);
    expect(find(b, 'revoked', c)?.evidence).toBe('revoked by h1: it may not come in again');
  });

  it('a member that comes and goes is told of as flapping, once', async () => {
    const world = new World('events flapping');
    const [a, b, c] = (await world.mesh(3)) as [Host, Host, Host];
    for (let times = 0; times < 5; times++) {
      c.crash();
      await world.timeUntil('dead', () => [a, b].every((h) => h.statusOf(c) === 'dead'), 10_000);
      await c.start();
      await world.timeUntil('back', () => a.sees(3) && b.sees(3), 20_000);
    }
    const told = a.events.filter(({ type }) => type === 'flapping');
    expect(told.map(({ evidence }) => evidence)).toEqual(['came back 4 times within minutes']);
    expect(a.membership.stats.flapping()).toEqual([{ peerId: c.peerId, returns: 5 }]);
  });

  it('statistics tell who observes whom, and rounds that found no difference', async () => {
    const world = new World('stats');
    const hosts = await world.mesh(3);
    await world.clock.runFor(30_000);
    const [a] = hosts as [Host];
    const { observes, observedBy, rounds, health, links } = a.membership.stats.gossip();
    const others = hosts
      .slice(1)
      .map(({ peerId }) => peerId)
      .sort();
    expect(observes.map(({ peerId }) => peerId).sort()).toEqual(others);
    expect(observes.every(({ hears, opinion }) => hears && opinion === 'fine')).toBe(true);
    expect([...observedBy].sort()).toEqual(others);
    expect(rounds.started).toBeGreaterThan(10);
    expect(rounds.startedDifferent).toBeLessThan(5);
    expect(health).toMatchObject({ step: 0, patience: 1, pauses: 0 });
    expect(links.map(({ up }) => up)).toEqual([true, true]);
    expect(await world.until(a.membership.stats.unreached())).toEqual([]);
  });
});
