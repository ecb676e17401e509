/** What every Network must do, in virtual and in real time. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PeerId } from '../../src/ports/identity.ts';
import {
  type Address,
  FRAME_BYTES_MAX,
  type FrameClass,
  SEND_BUFFER_BYTES_MAX,
} from '../../src/ports/network.ts';
import { Bench, type NetworkWorld, TestPeer } from './network-bench.ts';

const bytesOf = (...values: number[]): Uint8Array => new Uint8Array(values);

/** Bytes that tell a frame's content and place: a lost or doubled chunk shows. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + seed) & 0xff;
  return bytes;
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array): boolean =>
  a !== undefined && Buffer.compare(a, b) === 0;

/** For a call that is answered; shorter than what the bench waits. */
const ANSWER_MS = 8_000;
let bench: Bench;

const linkTests = [
  () =>
    test('carries a frame from one member to another', async () => {
      const a = await bench.startPeer('a');
      const b = await bench.startPeer('b');
      a.network.admit(b.peerId);
      b.network.admit(a.peerId);
      await bench.connect(a, b);
      expect(a.network.send(b.peerId, 'data', bytesOf(1, 2, 3))).toBe('sent');
      await bench.world.settle(() => b.frames.length === 1);
      expect(b.frames).toEqual([{ from: a.peerId, frameClass: 'data', bytes: bytesOf(1, 2, 3) }]);
    }),
  () =>
    test('reports a link once at each end, and answers a second dial at once', async () => {
      const [a, b] = await bench.linked();
      await bench.world.settle(() => a.openedLinks.length === 1 && b.openedLinks.length === 1);
      expect(a.openedLinks[0]).toEqual({
        peerId: b.peerId,
        address: b.address,
        direction: 'outbound',
      });
      expect(b.openedLinks[0]).toMatchObject({ peerId: a.peerId, direction: 'inbound' });
      expect(await a.network.dial(b.peerId, b.address, 1_000)).toEqual({
        ok: true,
        peerId: b.peerId,
      });
      expect(a.network.links()).toEqual(a.openedLinks);
      expect(b.network.links()).toEqual(b.openedLinks);
    }),
  () =>
    test('finds who announces himself on the local network, where he said, until he stops', async () => {
      const a = await bench.startPeer('a');
      const b = await bench.startPeer('b');
      const c = await bench.startPeer('c');
      const ask = () => bench.wait(a.call((n) => n.resolve('mdns', '', 300)));
      expect(await ask()).toEqual([]);
      a.network.announce([a.address]);
      b.network.announce([b.address, '192.0.2.1:7']);
      const found = (await ask()).toSorted((x, y) => (x.address < y.address ? -1 : 1));
      expect(found).toEqual([
        { address: b.address, peerId: b.peerId },
        { address: '192.0.2.1:7', peerId: b.peerId },
      ]);
      expect(await bench.wait(c.call((n) => n.resolve('mdns', '', 300)))).toHaveLength(3);
      await bench.wait(b.network.stop());
      expect(await ask()).toEqual([]);
    }),
  () =>
    test('dials whoever is there, and by a name', async () => {
      const a = await bench.startPeer('a');
      const b = await bench.startPeer('b');
      const c = await bench.startPeer('c');
      const dial = (address: string) =>
        bench.wait(a.call((n) => n.dial(undefined, address, 5_000)));
      expect(await dial(b.address)).toEqual({ ok: true, peerId: b.peerId });
      expect(await dial(c.address.replace('127.0.0.1', 'localhost'))).toEqual({
        ok: true,
        peerId: c.peerId,
      });
      expect(await dial(a.address)).toMatchObject({ ok: false, code: 'wrong_peer' });
    }),
  () =>
    test('tells why a dial failed', async () => {
      const a = await bench.startPeer('a');
      const b = await bench.startPeer('b');
      const c = await bench.startPeer('c');
      const freed = c.address;
      await bench.wait(c.network.stop());
      const code = async (peerId: PeerId, address: Address, timeoutMs: number) => {
        const result = await bench.wait(a.call((n) => n.dial(peerId, address, timeoutMs)));
        return result.ok || result.code;
      };
      expect(await code(c.peerId, freed, 2_000)).toBe('refused');
      expect(await code(c.peerId, b.address, 2_000)).toBe('wrong_peer');
      expect(await code(c.peerId, await bench.world.silentAddress(), 200)).toBe('timeout');
      expect(await code(b.peerId, b.address, 2_000)).toBe(true);
      await bench.wait(a.network.stop());
      expect(await code(b.peerId, b.address, 2_000)).toBe('stopped');
    }),
  () =>
    test('probe tells whether something listens', async () => {
      const [a, b] = [await bench.startPeer('a'), await bench.startPeer('b')];
      expect(await bench.wait(a.network.probe(b.address, 2_000))).toBe('accepted');
      await bench.wait(b.network.stop());
      expect(await bench.wait(a.network.probe(b.address, 2_000))).toBe('refused');
      expect(b.openedLinks).toEqual([]);
    }),
  () =>
    test('listening fails with its reason', async () => {
      const a = await bench.startPeer('a');
      const { identity, network } = await bench.world.create('b');
      const b = new TestPeer(identity, network);
      const port = Number(a.address.split(':')[1]);
      expect(await bench.wait(network.start(b, { host: '127.0.0.1', port }))).toMatchObject({
        ok: false,
        code: 'in_use',
      });
      expect(await bench.wait(network.start(b, { host: '203.0.113.1', port: 0 }))).toMatchObject({
        ok: false,
        code: 'no_such_address',
      });
      expect(await bench.wait(network.start(b, { host: '127.0.0.1', port: 0 }))).toMatchObject({
        ok: true,
      });
    }),
  () =>
    test('two peers that dial each other have one link', async () => {
      const [a, b] = [await bench.startPeer('a'), await bench.startPeer('b')];
      a.network.admit(b.peerId);
      b.network.admit(a.peerId);
      const both = Promise.all([
        a.network.dial(b.peerId, b.address, 5_000),
        b.network.dial(a.peerId, a.address, 5_000),
      ]);
      expect((await bench.wait(both)).map(({ ok }) => ok)).toEqual([true, true]);
      a.network.send(b.peerId, 'data', bytesOf(1));
      b.network.send(a.peerId, 'data', bytesOf(2));
      await bench.world.settle(() => a.frames.length === 1 && b.frames.length === 1);
      expect([a.openedLinks.length, b.openedLinks.length]).toEqual([1, 1]);
      await bench.wait(a.network.disconnect(b.peerId));
      await bench.world.settle(() => b.closedPeers.length === 1 && a.closedPeers.length === 1);
    }),
];

const frameTests = [
  () =>
    test('frames of every size arrive whole and in order, in each class', async () => {
      const [a, b] = await bench.linked();
      const sizes = [0, 1, 127, 128, 16_383, 16_384, 65_535, 65_536, 65_537, 300_000, 2_097_152];
      const classes: FrameClass[] = ['control', 'data', 'bulk'];
      for (const [i, size] of sizes.entries()) {
        for (const frameClass of classes) {
          expect(a.network.send(b.peerId, frameClass, pattern(size, i))).toBe('sent');
        }
      }
      await bench.world.settle(() => b.frames.length === sizes.length * classes.length);
      for (const frameClass of classes) {
        const got = b.frames.filter((frame) => frame.frameClass === frameClass);
        expect(got.map(({ bytes }) => bytes.length)).toEqual(sizes);
        expect(got.every(({ bytes }, i) => sameBytes(bytes, pattern(sizes[i] ?? 0, i)))).toBe(true);
      }
    }),
  () =>
    test('the longest frame arrives, a longer one is a fault of the caller', async () => {
      const [a, b] = await bench.linked();
      expect(a.network.send(b.peerId, 'bulk', pattern(FRAME_BYTES_MAX))).toBe('sent');
      await bench.world.settle(() => b.frames.length === 1);
      expect(sameBytes(b.frames[0]?.bytes, pattern(FRAME_BYTES_MAX))).toBe(true);
      expect(() => a.network.send(b.peerId, 'bulk', pattern(FRAME_BYTES_MAX + 1))).toThrow(
        RangeError,
      );
    }),
  () =>
    test('thousands of frames of one turn, both ways at once, stay in order', async () => {
      const [a, b] = await bench.linked();
      const count = 3_000;
      const numbered = (i: number) => bytesOf(i & 0xff, i >>> 8);
      for (let i = 0; i < count; i++) {
        a.network.send(b.peerId, 'data', numbered(i));
        b.network.send(a.peerId, 'data', numbered(i));
      }
      await bench.world.settle(() => a.frames.length === count && b.frames.length === count);
      const expected = Array.from({ length: count }, (_, i) => i);
      for (const peer of [a, b]) {
        const got = peer.frames.map(({ bytes }) => (bytes[0] ?? 0) + 256 * (bytes[1] ?? 0));
        expect(got).toEqual(expected);
      }
    }),
  () =>
    test('an answer sent from a handler arrives', async () => {
      const [a, b] = await bench.linked();
      b.onFrame = ({ from, bytes }) => {
        b.network.send(from, 'control', bytes);
      };
      a.network.send(b.peerId, 'data', bytesOf(7));
      await bench.world.settle(() => a.frames.length === 1);
      expect(a.frames[0]).toEqual({ from: b.peerId, frameClass: 'control', bytes: bytesOf(7) });
    }),
  () =>
    test('says full when more waits than the buffer takes, and gone without a link', async () => {
      const [a, b] = await bench.linked();
      const mebibyte = pattern(1_048_576);
      const results = Array.from({ length: 20 }, () => a.network.send(b.peerId, 'bulk', mebibyte));
      const taken = results.filter((result) => result === 'sent').length;
      expect(taken).toBeLessThanOrEqual(SEND_BUFFER_BYTES_MAX / mebibyte.length);
      expect(taken).toBeGreaterThanOrEqual(SEND_BUFFER_BYTES_MAX / mebibyte.length - 1);
      expect(results.slice(taken)).toEqual(results.slice(taken).map(() => 'full'));
      expect(a.network.send(b.peerId, 'control', bytesOf(1))).toBe('sent');
      await bench.world.settle(() => b.frames.length === taken + 1);
      expect(a.network.send(b.peerId, 'bulk', mebibyte)).toBe('sent');
      const stranger = await bench.world.create('nobody');
      expect(a.network.send(stranger.identity.peerId, 'data', bytesOf(1))).toBe('gone');
    }),
];

const admissionTests = [
  () =>
    test('a stranger gets an answer to its admission request and nothing else', async () => {
      const [a, b] = [await bench.startPeer('a'), await bench.startPeer('b')];
      a.network.admit(b.peerId);
      await bench.connect(a, b);
      b.onAdmit = (_, bytes) => Promise.resolve(bytesOf(...bytes, 99));
      a.network.send(b.peerId, 'data', bytesOf(1));
      const reply = await bench.wait(
        a.call((n) => n.admitCall(b.peerId, bytesOf(5, 6), ANSWER_MS)),
      );
      expect(reply).toEqual(bytesOf(5, 6, 99));
      expect(b.requests).toEqual([{ from: a.peerId, bytes: bytesOf(5, 6) }]);
      await bench.severalExchanges(a, b);
      expect(b.frames).toEqual([]);
      b.network.admit(a.peerId);
      await bench.sendUntilHeard(a, b);
    }),
  () =>
    test('an admission request that is refused, late, or without a link gets no answer', async () => {
      const [a, b] = [await bench.startPeer('a'), await bench.startPeer('b')];
      expect(await a.network.admitCall(b.peerId, bytesOf(1), 1_000)).toBeUndefined();
      await bench.connect(a, b);
      b.onAdmit = () => Promise.resolve(undefined);
      expect(
        await bench.wait(a.network.admitCall(b.peerId, bytesOf(1), ANSWER_MS)),
      ).toBeUndefined();
      b.onAdmit = () => new Promise(() => undefined);
      expect(await bench.wait(a.network.admitCall(b.peerId, bytesOf(2), 1_000))).toBeUndefined();
      b.onAdmit = () => Promise.reject(new Error('a handler failed'));
      expect(
        await bench.wait(a.network.admitCall(b.peerId, bytesOf(3), ANSWER_MS)),
      ).toBeUndefined();
      b.onAdmit = (_, bytes) => Promise.resolve(bytes);
      const heard = await bench.wait(a.network.admitCall(b.peerId, bytesOf(4), ANSWER_MS));
      expect(heard).toEqual(bytesOf(4));
      expect(b.requests.map(({ bytes }) => bytes[0])).toEqual([1, 2, 3, 4]);
    }),
  () =>
    test('a stranger that nobody admits is cut off', { timeout: 30_000 }, async () => {
      const strangerMs = 2_000;
      const [a, b] = [
        await bench.startPeer('a', strangerMs),
        await bench.startPeer('b', strangerMs),
      ];
      await bench.connect(a, b);
      a.network.admit(b.peerId);
      await bench.world.settle(
        () => a.closedPeers.length === 1 && b.closedPeers.length === 1,
        20_000,
      );
      expect(a.closedPeers).toEqual([b.peerId]);
      expect(b.closedPeers).toEqual([a.peerId]);
      expect(a.network.links()).toEqual([]);
    }),
  () =>
    test('disconnect takes back the admission', async () => {
      const [a, b] = await bench.linked();
      await bench.wait(a.network.disconnect(b.peerId));
      await bench.world.settle(() => b.closedPeers.length === 1 && a.closedPeers.length === 1);
      await bench.connect(b, a);
      b.network.send(a.peerId, 'data', bytesOf(1));
      await bench.severalExchanges(b, a);
      expect(a.frames).toEqual([]);
    }),
  () =>
    test('news reaches members, whichever admitted the other first', {
      timeout: 20_000,
    }, async () => {
      const [a, b, c, d] = [
        await bench.startPeer('a'),
        await bench.startPeer('b'),
        await bench.startPeer('c'),
        await bench.startPeer('d'),
      ];
      for (const peer of [b, c, d]) await bench.connect(a, peer);
      // b first admits a, then the other way round; c the reverse; d stays a stranger to a.
      b.network.admit(a.peerId);
      a.network.admit(c.peerId);
      expect(await bench.wait(a.network.admitCall(b.peerId, bytesOf(1), ANSWER_MS))).toBeDefined();
      expect(await bench.wait(a.network.admitCall(c.peerId, bytesOf(1), ANSWER_MS))).toBeDefined();
      a.network.admit(b.peerId);
      c.network.admit(a.peerId);
      d.network.admit(a.peerId);
      let sent = 0;
      await bench.world.settle(() => {
        // Lossy by contract, above all in the beginning: said again until both have heard.
        a.network.publish(bytesOf(1, sent & 0xff, sent++ >>> 8));
        return b.newsHeard.length > 0 && c.newsHeard.length > 0;
      });
      expect(b.newsHeard[0]?.[0]).toBe(1);
      expect(d.newsHeard).toEqual([]);
      expect(a.newsHeard).toEqual([]);
      let answered = 0;
      await bench.world.settle(() => {
        c.network.publish(bytesOf(3, answered & 0xff, answered++ >>> 8));
        return a.newsHeard.length > 0;
      });
      expect(a.newsHeard[0]?.[0]).toBe(3);
    }),
];

const endTests = [
  () =>
    test('what was sent before disconnect arrives before the link is closed', async () => {
      const [a, b] = await bench.linked();
      const seenAtClose: number[] = [];
      const closed = b.closed.bind(b);
      b.closed = (peerId) => {
        seenAtClose.push(b.frames.length);
        closed(peerId);
      };
      for (let i = 0; i < 50; i++) a.network.send(b.peerId, 'data', pattern(20_000, i));
      a.network.send(b.peerId, 'control', bytesOf(42));
      await bench.wait(a.call((n) => n.disconnect(b.peerId)));
      await bench.world.settle(() => a.closedPeers.length === 1 && b.closedPeers.length === 1);
      expect(seenAtClose).toEqual([51]);
      expect(a.network.send(b.peerId, 'data', bytesOf(1))).toBe('gone');
      expect([a.network.links(), b.network.links()]).toEqual([[], []]);
    }),
  () =>
    test('after stop no handler is called, and the others see the end', async () => {
      const [a, b] = await bench.linked();
      for (let i = 0; i < 20; i++) b.network.send(a.peerId, 'data', pattern(1_000));
      const before = a.closedPeers.length + a.frames.length;
      await bench.wait(a.call((n) => n.stop()));
      await bench.world.settle(() => b.closedPeers.length === 1);
      expect(a.closedPeers.length + a.frames.length).toBe(before);
      expect(a.network.send(b.peerId, 'data', bytesOf(1))).toBe('gone');
      expect(await bench.wait(b.network.probe(a.address, 1_000))).toBe('refused');
      await bench.wait(a.network.stop());
    }),
  () =>
    test('no handler is called from inside a call of the port', async () => {
      const [a, b] = await bench.linked();
      a.call((n) => n.send(b.peerId, 'data', bytesOf(1)));
      a.call((n) => n.publish(bytesOf(1)));
      await bench.wait(a.call((n) => n.admitCall(b.peerId, bytesOf(1), 1_000)));
      await bench.wait(b.call((n) => n.disconnect(a.peerId)));
      await bench.world.settle(() => a.closedPeers.length === 1 && b.closedPeers.length === 1);
      expect([a.reentered, b.reentered]).toEqual([false, false]);
    }),
];

export function networkSuite(makeWorld: () => NetworkWorld): void {
  // One suite is run for two worlds: the tests find theirs here, and each begins with a new one.
  beforeEach(() => {
    bench = new Bench(makeWorld);
  });
  afterEach(() => bench.dispose());
  for (const define of [...linkTests, ...frameTests, ...admissionTests, ...endTests]) define();
}
