/** Whoever is not let in: what it can leave behind, and what it can make a member believe; and what one that is in can cost. */
import { describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { type Fact, signFact, toWire } from '../../src/membership/fact.ts';
import {
  type AdmitFrame,
  decodeAdmit,
  encodeAdmit,
  type Hello,
} from '../../src/membership/hello.ts';
import {
  type ControlMessage,
  decodeMessage,
  encodeMessage,
} from '../../src/membership/messages.ts';
import type { Identity, PeerId } from '../../src/ports/identity.ts';
import type { Network, NetworkHandlers } from '../../src/ports/network.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { encodeEnvelope } from '../../src/wire/envelope.ts';
import { WIRE_VERSION_MAX, WIRE_VERSION_MIN } from '../../src/wire/versions.ts';
import { type Host, World } from './membership-world.ts';

const PORT = 26_839;
const ID = 'outsider'.padEnd(32, '0');
const DEAF: NetworkHandlers = {
  opened: () => undefined,
  closed: () => undefined,
  frame: () => undefined,
  news: () => undefined,
  admitRequest: () => Promise.resolve(undefined),
};

const helloTo = (host: Host, said: Partial<Hello>): AdmitFrame => ({
  type: 'hello',
  hello: {
    ...{ meshId: host.membership.meshId, storeId: ID, bootCount: 1, bootId: ID, bootIds: [ID] },
    ...{ seq: 0, spans: [], versions: { min: WIRE_VERSION_MIN, max: WIRE_VERSION_MAX } },
    ...{ features: [], record: null, chain: [], merges: [], known: undefined, away: undefined },
    ...said,
  },
});

/** One with a key and a network, and nothing else. */
class Outsider {
  readonly identity: Identity;
  readonly network: Network;
  readonly #world: World;

  constructor(world: World, identity: Identity) {
    this.#world = world;
    this.identity = identity;
    this.network = world.hub.createNetwork(identity);
  }

  async start(address = '127.77.0.99', handlers = DEAF): Promise<void> {
    const listening = this.network.start(handlers, { host: address, port: PORT });
    expect((await this.#world.until(listening)).ok).toBe(true);
  }

  async dial(host: Host): Promise<void> {
    const dialled = this.network.dial(host.peerId, `${host.address}:${PORT}`, 1_000);
    expect(await this.#world.until(dialled)).toMatchObject({ ok: true });
  }

  async say(host: Host, frame: AdmitFrame): Promise<AdmitFrame | undefined> {
    const call = this.network.admitCall(host.peerId, encodeAdmit(frame), 5_000);
    const bytes = await this.#world.until(call);
    const reply = bytes && decodeAdmit(bytes);
    return reply?.ok ? reply.value : undefined;
  }
}

const outsider = async (world: World, name: string | Identity, address?: string) => {
  const identity = typeof name === 'string' ? createSimIdentity(name) : name;
  const one = new Outsider(world, identity);
  await one.start(address);
  return one;
};
const revocation = (by: Identity, meshId: string, peerId: PeerId): Fact =>
  signFact(by, meshId, { kind: 'revocation', peerId, revokedAtMs: 1, keeps: [] });
const entry = (by: Identity, meshId: string, peerId: PeerId): Fact =>
  signFact(by, meshId, { kind: 'entry', peerId, name: 'x', admittedAtMs: 1 });

/** Three members, and the key of a fourth that was revoked. */
async function withThief(seed: string): Promise<[World, Host, Host, Host, Identity]> {
  const world = new World(seed);
  const [a, b, c, thief] = (await world.mesh(4)) as [Host, Host, Host, Host];
  expect((await world.until(a.membership.revoke(thief.peerId))).ok).toBe(true);
  const rest = [a, b, c];
  const isOut = () => rest.every((host) => host.statusOf(thief) === 'removed');
  await world.timeUntil('out', isOut, 2_000);
  await thief.stop();
  return [world, a, b, c, thief.identity];
}

describe('the key of a revoked peer', () => {
  it('revokes nobody from outside, by whatever door', async () => {
    const [world, a, b, c, thief] = await withThief('door');
    const { meshId } = a.membership;
    const hash = a.membership.viewHash();
    const forged = [b, c].map(({ peerId }) => toWire(revocation(thief, meshId, peerId)));
    const one = await outsider(world, 'friend');
    await one.dial(a);
    await one.say(a, helloTo(a, { chain: forged }));
    await one.say(a, helloTo(a, { merges: forged }));
    const error = coveyError('NOT_ALLOWED');
    await one.say(a, { type: 'refused', error, proof: forged });
    await world.clock.runFor(3_000);
    expect(a.membership.viewHash()).toBe(hash);
    expect(b.standing).toEqual([]);
  });

  it('fills nobody’s list, and neither does that of one whom it had let in', async () => {
    const world = new World('list');
    const [a, b, thief] = (await world.mesh(3)) as [Host, Host, Host];
    const { meshId } = a.membership;
    const late = world.addHost();
    await late.start();
    await late.joinBy(thief);
    await world.timeUntil('known', () => a.statusOf(late) === 'alive', 5_000);
    // Its revoker had not seen whom it let in, and the others had: they are known, and void.
    const facts = [toWire(revocation(b.identity, meshId, thief.peerId))];
    const told = encodeMessage({ type: 'delta', facts, want: [] });
    a.inOneTurn((to) => to.frame(b.peerId, 'control', told));
    const areOut = () => [thief, late].every((host) => a.statusOf(host) === 'removed');
    await world.timeUntil('out', areOut, 5_000);
    for (const host of [thief, late]) await host.stop();
    await world.clock.runFor(5_000);
    const hash = a.membership.viewHash();
    const one = await outsider(world, 'friend');
    await one.dial(a);
    for (const { identity } of [thief, late]) {
      const invented = Array.from({ length: 8 }, (_, i) =>
        toWire(entry(identity, meshId, createSimIdentity(`invented ${i}`).peerId)),
      );
      await one.say(a, helloTo(a, { chain: invented }));
      const error = coveyError('NOT_ALLOWED');
      await one.say(a, { type: 'refused', error, proof: invented });
    }
    expect(a.membership.viewHash()).toBe(hash);
    expect(a.membership.accessList().filter(({ name }) => name === 'x')).toEqual([]);
  });

  it('gets nothing for having been a member that was away when it was revoked', async () => {
    const world = new World('stale');
    const [a, b, c, thief] = (await world.mesh(4)) as [Host, Host, Host, Host];
    thief.crash();
    const isDead = () => [a, b, c].every((host) => host.statusOf(thief) === 'dead');
    await world.timeUntil('dead', isDead, 20_000);
    expect((await world.until(a.membership.revoke(thief.peerId))).ok).toBe(true);
    const isOut = () => [a, b, c].every((host) => host.statusOf(thief) === 'removed');
    await world.timeUntil('out', isOut, 2_000);
    const hash = b.membership.viewHash();
    const one = await outsider(world, thief.identity);
    let ended = '';
    await one.network.stop();
    const again = new Outsider(world, thief.identity);
    const closed = (_: PeerId, error: string | undefined): void => {
      ended = error ?? 'ended';
    };
    await again.start('127.77.0.98', { ...DEAF, closed });
    await again.dial(b);
    again.network.admit(b.peerId);
    const facts = [toWire(revocation(thief.identity, b.membership.meshId, c.peerId))];
    const news = encodeEnvelope({ kind: 'message', type: 'news', body: { facts } });
    for (let i = 0; i < 5; i++) again.network.publish(news);
    await world.timeUntil('closed', () => ended !== '', 11_000);
    expect(b.membership.viewHash()).toBe(hash);
    expect(c.standing).toEqual([]);
  });
});

describe('a revocation', () => {
  it('that comes in the same moment as a hello is not overtaken by it', async () => {
    const world = new World('moment');
    const [a, b, thief] = (await world.mesh(3)) as [Host, Host, Host];
    const { meshId } = a.membership;
    thief.crash();
    await world.timeUntil('dead', () => a.statusOf(thief) === 'dead', 20_000);
    const one = await outsider(world, thief.identity);
    await one.dial(a);
    const record = signFact(thief.identity, meshId, {
      ...{ kind: 'record', peerId: thief.peerId, epoch: 9, incarnation: 0, storeId: ID },
      ...{ bootCount: 1, bootId: ID, name: 'h3', addresses: [], labels: {}, version: '1' },
      ...{ features: [], execEnabled: true, stopping: false, left: false },
    });
    const facts = [toWire(revocation(b.identity, meshId, thief.peerId))];
    const hello = helloTo(a, { record: toWire(record) });
    a.inOneTurn(
      (to) => void to.admitRequest(thief.peerId, encodeAdmit(hello)),
      (to) => to.frame(b.peerId, 'control', encodeMessage({ type: 'delta', facts, want: [] })),
    );
    await world.clock.runFor(100);
    expect(a.statusOf(thief)).toBe('removed');
    one.network.admit(a.peerId);
    one.network.send(a.peerId, 'control', encodeMessage({ type: 'ready' }));
    await world.clock.runFor(100);
    expect(a.membership.linked(thief.peerId)).toBe(false);
  });
});

describe('a stranger', () => {
  it('leaves nothing behind, however many there are', async () => {
    const world = new World('knock');
    const [a] = (await world.mesh(2)) as [Host, Host];
    const before = a.membership.stats.remembered;
    for (let i = 0; i < 40; i++) {
      const one = await outsider(world, `stranger ${i}`, `127.77.1.${i + 1}`);
      await one.dial(a);
      await one.say(a, helloTo(a, {}));
      await one.say(a, { type: 'refused', error: coveyError('NOT_ALLOWED'), proof: [] });
      await world.until(one.network.stop());
    }
    await world.clock.runFor(60_000);
    expect(a.membership.stats.remembered).toBe(before);
  });

  it('at a place where members are looked for can end nobody and renew no store', async () => {
    const world = new World('place');
    const a = world.addHost();
    const b = world.addHost({ peers: [`127.77.0.99:${PORT}`] });
    for (const host of [a, b]) await host.start();
    await b.joinBy(a);
    await a.stop();
    let asked = 0;
    const one = new Outsider(world, createSimIdentity('place'));
    const errors = [
      coveyError('STORE_REFUSED', { why: 'rolled back' }),
      coveyError('BUSY', { what: 'you', retry_after_ms: 100, twin: '127.77.0.99:1' }),
    ];
    await one.start('127.77.0.99', {
      ...DEAF,
      admitRequest: () => {
        const error = errors[asked++ % 2] ?? coveyError('NOT_ALLOWED');
        return Promise.resolve(encodeAdmit({ type: 'refuse', error }));
      },
    });
    await b.stop();
    await b.start();
    await world.timeUntil('asked', () => asked > 3, 120_000);
    expect([b.refusals, b.twins]).toEqual([[], []]);
  });
});

describe('a member that asks without end', () => {
  const MANY = 200;
  async function two(seed: string): Promise<[World, Host, Host]> {
    const world = new World(seed);
    const [a, b] = (await world.mesh(2)) as [Host, Host];
    await world.clock.runFor(5_000);
    return [world, a, b];
  }

  it('gets no view for each hash that it makes up', async () => {
    const [world, a, b] = await two('views');
    const { digest } = await counted(world, a, b, (i) => ({ type: 'view', hash: `${i}` }));
    expect(digest).toBeLessThan(MANY / 4);
    expect(b.membership.stats.gossip().refused['control: too many views']).toBeGreaterThan(0);
  });

  it('gets no facts each time that it names some', async () => {
    const [world, a, b] = await two('wants');
    const want = [`record/${b.peerId}`];
    const { delta } = await counted(world, a, b, () => ({ type: 'delta', facts: [], want }));
    expect(delta).toBeLessThan(MANY / 4);
  });

  it('makes nobody answer to all for each time that it calls him dead', async () => {
    const [world, a, b] = await two('accused');
    const before = b.membership.self().incarnation;
    await counted(world, a, b, (i) => {
      return { type: 'accused', turn: { epoch: 1, incarnation: before + i }, level: 'dead' };
    });
    const after = b.membership.self().incarnation;
    expect(after).toBeGreaterThan(before);
    await counted(world, a, b, (i) => {
      return { type: 'accused', turn: { epoch: 1, incarnation: after + i }, level: 'dead' };
    });
    expect(b.membership.stats.gossip().refused['control: too many accusations']).toBeGreaterThan(0);
  });

  /** What `b` answers to so many of them at once, by type. */
  async function counted(
    world: World,
    a: Host,
    b: Host,
    message: (i: number) => ControlMessage,
  ): Promise<Record<string, number>> {
    const types: Record<string, number> = {};
    a.onFrame = (from, bytes) => {
      const read = decodeMessage(bytes);
      const type = read.ok ? read.value.type : 'none';
      if (from === b.peerId) types[type] = (types[type] ?? 0) + 1;
    };
    for (let i = 0; i < MANY; i++) a.send(b, encodeMessage(message(i)));
    await world.clock.runFor(1_000);
    return types;
  }
});
