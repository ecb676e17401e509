/** One hop through a third member: what gets through, what a third cannot do, and what it need not put up with. */
import { describe, expect, it } from 'vitest';
import { Refused } from '../../src/base/refused.ts';
import { ok } from '../../src/base/result.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import type { Member } from '../../src/membership/types.ts';
import { Detour } from '../../src/peer/detour.ts';
import { Messenger } from '../../src/peer/messenger.ts';
import { NONCE_WINDOW, nonceOf, SeenNonces } from '../../src/peer/nonces.ts';
import { PASS, passingBody, RELAY_BYTES_MAX, sealRequest, TAKE } from '../../src/peer/relay.ts';
import { PASSING_MAX, RelayService } from '../../src/peer/relay-service.ts';
import type { Network } from '../../src/ports/network.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { SimRandom } from '../../src/sim/random.ts';
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  type WireMap,
} from '../../src/wire/envelope.ts';
import type { CallResult } from '../../src/wire/messaging.ts';

const NAMES = ['a', 'third', 'other', 'b'] as const;
const THIRDS: readonly Name[] = ['third', 'other'];
type Name = (typeof NAMES)[number];
const idOf = Object.fromEntries(NAMES.map((name) => [name, createSimIdentity(name)])) as Record<
  Name,
  ReturnType<typeof createSimIdentity>
>;
const nameOf = (peerId: string): Name =>
  NAMES.find((name) => idOf[name].peerId === peerId) ?? 'third';

interface Options {
  /** What becomes of a frame on its way. */
  readonly change?: (from: Name, to: Name, envelope: Envelope) => Envelope;
  readonly thirds?: readonly Name[];
}

/** `a` and `b` have no link; both have one to the third, and to another one. */
const asItIs: NonNullable<Options['change']> = (_from, _to, envelope) => envelope;

function world({ change = asItIs, thirds = ['third'] }: Options = {}) {
  const clock = new SimClock();
  const peers = new Map<Name, { messenger: Messenger; refused: Refused }>();
  const seen: { from: Name; to: Name; envelope: Envelope }[] = [];
  const isLinked = (a: Name, b: Name) =>
    a !== b && THIRDS.some((third) => a === third || b === third);
  for (const name of NAMES) {
    const random = new SimRandom(name);
    const send: Network['send'] = (to, frameClass, bytes) => {
      if (!isLinked(name, nameOf(to))) return 'gone';
      const decoded = decodeEnvelope(bytes);
      if (!decoded.ok) throw new Error(decoded.error);
      const envelope = change(name, nameOf(to), decoded.value);
      seen.push({ from: name, to: nameOf(to), envelope });
      clock.after(1, () => {
        const { messenger } = peers.get(nameOf(to)) ?? {};
        messenger?.receive(idOf[name].peerId, frameClass, encodeEnvelope(envelope));
      });
      return 'sent';
    };
    // The messenger uses nothing but `send` of its network.
    const network = { send } as unknown as Network;
    const identity = idOf[name];
    const self = identity.peerId;
    const messenger = new Messenger({ network, clock, random, log: silentLogger, self });
    const refused = new Refused();
    const meshId = () => 'mesh';
    new RelayService({
      ...{ identity, messenger, refused, meshId, bootId: `boot of ${name}` },
      isLinked: (peerId) => isLinked(name, nameOf(peerId)),
      isMember: () => true,
    });
    messenger.detour = new Detour({
      ...{ clock, identity, messenger, meshId },
      epoch: () => 1,
      mesh: {
        wayTo: (peerId) => (isLinked(name, nameOf(peerId)) ? 'link' : 'relay'),
        connect: async () => false,
        relaysTo: () => thirds.map((third) => idOf[third].peerId),
      },
      memberOf: (peerId) => ({ bootId: `boot of ${nameOf(peerId)}` }) as Member,
      isSettled: () => true,
      mayRelay: () => true,
    });
    peers.set(name, { messenger, refused });
  }
  const of = (name: Name) => {
    const peer = peers.get(name);
    if (!peer) throw new Error(`no peer ${name}`);
    return peer;
  };
  const settled = async (call: Promise<CallResult>): Promise<CallResult> => {
    let done = false;
    void call.then(() => {
      done = true;
    });
    await clock.runUntil(() => done, 60_000);
    return call;
  };
  const call = (body: WireMap, timeoutMs = 5_000) =>
    settled(of('a').messenger.call(idOf.b.peerId, 'add', body, { timeoutMs }));
  const takes = () =>
    seen.flatMap(({ envelope }) =>
      envelope.kind === 'request' && envelope.type === TAKE ? [envelope.body] : [],
    );
  return { clock, of, call, settled, seen, takes };
}

const added: WireMap[] = [];
function serving({ of }: ReturnType<typeof world>): WireMap[] {
  added.length = 0;
  of('b').messenger.onRequest('add', (from, body) => {
    added.push({ from, ...body });
    return ok({ sum: Number(body.n) + 1 });
  });
  return added;
}

const codeOf = (result: CallResult): string => (result.ok ? 'ok' : result.error.code);

describe('a relayed request', () => {
  it('is served as its author’s, and answered the same way', async () => {
    const mesh = world();
    const served = serving(mesh);
    expect(await mesh.call({ n: 1 })).toEqual(ok({ sum: 2 }));
    expect(served).toEqual([{ from: idOf.a.peerId, n: 1 }]);
    // A message too, which has no answer.
    const said: string[] = [];
    mesh.of('b').messenger.onMessage('hint', (from) => said.push(from));
    expect(mesh.of('a').messenger.cast(idOf.b.peerId, 'hint', {})).toBe(true);
    await mesh.clock.runFor(100);
    expect(said).toEqual([idOf.a.peerId]);
  });

  it('brings the refusal of the one that was asked, with its code', async () => {
    const mesh = world();
    expect(await mesh.call({ n: 1 })).toMatchObject({ error: { code: 'METHOD_NOT_FOUND' } });
  });

  it('takes no second hop', async () => {
    const mesh = world();
    serving(mesh);
    const body = mesh.takes;
    await mesh.call({ n: 1 });
    const [first] = body();
    // `a` asks the third to carry a request to `b` that asks `b` to carry one on.
    const nested = mesh.of('a').messenger.call(idOf.b.peerId, PASS, first ?? {});
    expect(codeOf(await mesh.settled(nested))).toBe('UNREACHABLE');
    expect(mesh.of('b').refused.counts).toEqual({
      'relay: of something else than a request': 1,
    });
  });

  it.each<[string, Options['change'], string]>([
    [
      'changes the request',
      (from, _to, envelope) => {
        if (from !== 'third' || envelope.kind !== 'request') return envelope;
        const request = encodeEnvelope({ kind: 'request', id: 0, type: 'add', body: { n: 9 } });
        return { ...envelope, body: { ...envelope.body, request } };
      },
      'relay: not signed by its author',
    ],
    [
      'says that another one asks',
      (from, _to, envelope) =>
        from === 'third' && envelope.kind === 'request'
          ? { ...envelope, body: { ...envelope.body, peer: idOf.third.peerId } }
          : envelope,
      'relay: not signed by its author',
    ],
    [
      'shows it to another boot',
      (from, _to, envelope) =>
        from === 'third' && envelope.kind === 'request'
          ? { ...envelope, body: { ...envelope.body, boot: 'boot before' } }
          : envelope,
      'relay: to another boot',
    ],
  ])('is refused where the third %s', async (_, change, counted) => {
    const mesh = world(change === undefined ? {} : { change });
    const served = serving(mesh);
    expect(codeOf(await mesh.call({ n: 1 }))).toBe('UNREACHABLE');
    expect(served).toEqual([]);
    expect(mesh.of('b').refused.counts).toEqual({ [counted]: 1 });
  });

  it('is not served twice, however often the third shows it', async () => {
    const mesh = world();
    const served = serving(mesh);
    await mesh.call({ n: 1 });
    const [take] = mesh.takes();
    const again = mesh.of('third').messenger.call(idOf.b.peerId, TAKE, take ?? {});
    expect(codeOf(await mesh.settled(again))).toBe('INVALID_PARAMS');
    expect(served.length).toBe(1);
    expect(mesh.of('b').refused.counts).toEqual({ 'relay: seen before': 1 });
  });

  it('is not served twice, however much the third lets others forget', async () => {
    const mesh = world();
    const served = serving(mesh);
    await mesh.call({ n: 1 });
    const [take] = mesh.takes();
    // So many of its own that whoever keeps them all in one memory has forgotten the first.
    const { peerId } = idOf.third;
    const carried = encodeEnvelope({ kind: 'request', id: 0, type: 'add', body: { n: 2 } });
    const about = { meshId: 'mesh', from: peerId, to: idOf.b.peerId, toBoot: 'boot of b' };
    const { messenger } = mesh.of('third');
    for (let count = 1; count <= NONCE_WINDOW; count++) {
      const nonce = nonceOf(7, count);
      const sealed = sealRequest(idOf.third, { ...about, nonce }, carried);
      const body = { ...sealed, peer: peerId, toBoot: about.toBoot, nonce, timeoutMs: 1_000 };
      const sent = messenger.call(idOf.b.peerId, TAKE, passingBody(body));
      if (count % 64 === 0) await mesh.settled(sent);
    }
    expect(served.length).toBe(NONCE_WINDOW + 1);
    const again = messenger.call(idOf.b.peerId, TAKE, take ?? {});
    expect(codeOf(await mesh.settled(again))).toBe('INVALID_PARAMS');
    expect(served.length).toBe(NONCE_WINDOW + 1);
  });

  it('is not served twice where another third is asked, because the first one lies', async () => {
    const mesh = world({
      thirds: ['third', 'other'],
      change: (from, to, envelope) => {
        if (from !== 'third' || to !== 'a' || envelope.kind !== 'reply') return envelope;
        return { ...envelope, body: {} };
      },
    });
    const served = serving(mesh);
    expect(codeOf(await mesh.call({ n: 1 }))).toBe('UNREACHABLE');
    expect(served.length).toBe(1);
    expect(mesh.of('b').refused.counts).toEqual({ 'relay: seen before': 1 });
  });

  it('goes through another third where the first one did not carry it', async () => {
    const mesh = world({
      thirds: ['third', 'other'],
      change: (from, to, envelope) =>
        from === 'a' && to === 'third' && envelope.kind === 'request'
          ? { ...envelope, body: {} }
          : envelope,
    });
    serving(mesh);
    expect(await mesh.call({ n: 1 })).toEqual(ok({ sum: 2 }));
  });

  it('has no answer but that of the one that was asked', async () => {
    const mesh = world({
      change: (from, to, envelope) => {
        if (from !== 'third' || to !== 'a' || envelope.kind !== 'reply') return envelope;
        const answer = encodeEnvelope({ kind: 'reply', id: 0, body: { sum: 1_000 } });
        return { ...envelope, body: { ...envelope.body, answer } };
      },
    });
    serving(mesh);
    expect(codeOf(await mesh.call({ n: 1 }))).toBe('UNREACHABLE');
  });
});

describe('the nonces of an author', () => {
  it('are taken once each, in any order within the window, and never below it', () => {
    const seen = new SeenNonces();
    const take = (count: number, epoch = 3) => seen.take('a', nonceOf(epoch, count));
    expect([take(1), take(3), take(2), take(2), take(3), take(1)]).toEqual([
      ...[true, true, true],
      ...[false, false, false],
    ]);
    expect([take(NONCE_WINDOW), take(NONCE_WINDOW)]).toEqual([true, false]);
    expect([take(4), take(NONCE_WINDOW + 4), take(4), take(5)]).toEqual([true, true, false, true]);
    // Another start of it: what it asked before is refused, whatever is remembered of it.
    expect([take(1, 4), take(NONCE_WINDOW + 5), take(2, 4), take(1, 4)]).toEqual([
      ...[true, false],
      ...[true, false],
    ]);
    // A leap of any size costs no memory.
    expect(take(1, Number.MAX_SAFE_INTEGER)).toBe(true);
    expect(seen.take('b', nonceOf(3, 1))).toBe(true);
  });
});

describe('the third', () => {
  it('carries so much at once for one member, and no more', async () => {
    const mesh = world();
    mesh.of('b').messenger.onRequest('add', () => new Promise(() => undefined));
    const { messenger } = mesh.of('a');
    const calls = Array.from({ length: PASSING_MAX + 1 }, () =>
      messenger.call(idOf.b.peerId, 'add', { n: 1 }, { timeoutMs: 1_000 }),
    );
    await mesh.clock.runFor(2_000);
    const codes = (await Promise.all(calls)).map(codeOf);
    expect(codes.filter((code) => code === 'BUSY').length).toBe(1);
    expect(codes.filter((code) => code === 'TIMEOUT').length).toBe(PASSING_MAX);
    // They are over, and others may come.
    mesh.of('b').messenger.onRequest('add', () => ok({}));
    expect(codeOf(await mesh.call({ n: 1 }))).toBe('ok');
  });

  it('carries nothing that is too large, and no answer either', async () => {
    const mesh = world();
    const big = new Uint8Array(RELAY_BYTES_MAX);
    expect(codeOf(await mesh.call({ big }))).toBe('PAYLOAD_TOO_LARGE');
    expect(mesh.seen).toEqual([]);
    mesh.of('b').messenger.onRequest('add', () => ok({ big }));
    expect(codeOf(await mesh.call({ n: 1 }))).toBe('PAYLOAD_TOO_LARGE');
  });

  it.each<[string, WireMap, string]>([
    ['nothing', {}, 'INVALID_PARAMS'],
    ['no texts', { peer: 1, boot: [] }, 'INVALID_PARAMS'],
    ['no nonce', { peer: 'x', boot: 'y', nonce: new Uint8Array(3) }, 'INVALID_PARAMS'],
    [
      'no signature',
      { peer: 'x', boot: 'y', nonce: new Uint8Array(16), signature: new Uint8Array(1) },
      'INVALID_PARAMS',
    ],
  ])('refuses what says %s', async (_, body, code) => {
    const mesh = world();
    for (const type of [PASS, TAKE]) {
      const sent = mesh.of('a').messenger.call(idOf.third.peerId, type, body);
      expect(codeOf(await mesh.settled(sent))).toBe(code);
    }
    expect(mesh.of('third').refused.counts).toEqual({ 'relay: not readable': 2 });
  });

  it('refuses what is for itself, for the asker, or for one that it does not reach', async () => {
    const mesh = world();
    await mesh.call({ n: 1 });
    const [take] = mesh.takes();
    const codes: string[] = [];
    for (const peer of [idOf.third.peerId, idOf.a.peerId, createSimIdentity('x').peerId]) {
      const sent = mesh.of('a').messenger.call(idOf.third.peerId, PASS, { ...take, peer });
      codes.push(codeOf(await mesh.settled(sent)));
    }
    expect(codes.slice(0, 2)).toEqual(['INVALID_PARAMS', 'INVALID_PARAMS']);
    expect(codes[2]).not.toBe('ok');
  });
});
