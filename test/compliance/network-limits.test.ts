/** What others may open and send: how many of them, how much at once, and who has to wait. */
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import type { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  CONNECTIONS_PER_PEER_MAX,
  type Connection,
  STRANGERS_MAX,
} from '../../src/host/libp2p-node.ts';
import { nodeTls } from '../../src/host/libp2p-tls.ts';
import { addressOf, bareNode, startPeer } from './network-nodes.ts';
import { type RealWorld, realWorld } from './network-worlds.ts';

let world: RealWorld;
const cleanUps: (() => unknown)[] = [];

beforeEach(() => {
  world = realWorld();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  await world.dispose();
});

test('thousands of small frames in one piece are handled in order, and others have their turn between', async () => {
  const a = await startPeer(world, 'a');
  const node = await bareNode(cleanUps);
  a.network.admit(node.peerId.toString());
  const connection = await node.dial(addressOf(a));
  const stream = await connection.newStream('/covey/data/1');
  const COUNT = 20_000;
  const sent = Array.from({ length: COUNT }, (_, i) => [2, i >> 8, i & 255]).flat();
  stream.send(new Uint8Array(sent));
  let most = 0;
  for (let before = 0; before < COUNT; ) {
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, a.frames.length - before);
    before = a.frames.length;
  }
  expect(a.frames.map(({ bytes }) => 256 * (bytes[0] ?? 0) + (bytes[1] ?? 0))).toEqual(
    Array.from({ length: COUNT }, (_, i) => i),
  );
  expect(most).toBeLessThanOrEqual(512);
  expect(connection.status).toBe('open');
});

test('no more strangers than the limit have a link', { timeout: 60_000 }, async () => {
  const a = await startPeer(world, 'a');
  const nodes: Awaited<ReturnType<typeof bareNode>>[] = [];
  for (let i = 0; i < STRANGERS_MAX + 3; i++) nodes.push(await bareNode(cleanUps));
  const open = async (from: number, to: number): Promise<number> => {
    const dials = nodes.slice(from, to).map((node) => node.dial(addressOf(a)));
    return (await Promise.allSettled(dials)).filter(({ status }) => status === 'fulfilled').length;
  };
  for (let i = 0; i < nodes.length; i += 8) await open(i, i + 8);
  expect(a.network.links().length).toBeLessThanOrEqual(STRANGERS_MAX);
  expect(a.openedLinks.length).toBeGreaterThanOrEqual(STRANGERS_MAX);
  // All places are one host's; another one gets in, and stays.
  const elsewhere = await bareNode(cleanUps, '127.77.201.1');
  const other = await elsewhere.dial(addressOf(a));
  await world.settle(() => a.closedPeers.length > 0);
  expect(a.network.links().map(({ peerId }) => peerId)).toContain(elsewhere.peerId.toString());
  expect(a.network.links().length).toBeLessThanOrEqual(STRANGERS_MAX);
  expect([other.status, a.closedPeers.length]).toEqual(['open', 1]);
});

/** A node that stops in each connection it makes when it is encrypted, until `goOn`. */
async function stallingNode() {
  interface Transports {
    dial(to: ReturnType<typeof multiaddr>, options: { signal: AbortSignal }): Promise<Connection>;
  }
  let transports: Transports | undefined;
  let goOn = (): void => undefined;
  let stalled = 0;
  const released = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [
      (components) => {
        const real = nodeTls()(components);
        return {
          ...real,
          secureOutbound: async (stream, options) => {
            // Which muxer it is to be is said later.
            const later = { ...options, skipStreamMuxerNegotiation: true };
            const secured = await real.secureOutbound(stream, later);
            stalled += 1;
            secured.connection.pause();
            await released;
            secured.connection.resume();
            return secured;
          },
        };
      },
    ],
    streamMuxers: [yamux()],
    services: {
      grab: ({ transportManager }: { transportManager: Transports }) => {
        transports = transportManager;
        return {};
      },
    },
  });
  cleanUps.push(() => node.stop());
  const dial = (to: ReturnType<typeof multiaddr>) => {
    if (!transports) throw new Error('no transports');
    return transports.dial(to, { signal: AbortSignal.timeout(20_000) });
  };
  return { dial, goOn: () => goOn(), stalled: () => stalled };
}

test('nobody has more connections than the limit, though all were asked for at once', async () => {
  const a = await startPeer(world, 'a');
  const { dial, goOn, stalled } = await stallingNode();
  const count = 3 * CONNECTIONS_PER_PEER_MAX;
  const dials = Array.from({ length: count }, () => dial(addressOf(a)));
  await world.settle(() => stalled() === count);
  goOn();
  const done = await Promise.allSettled(dials);
  const open = () =>
    done.filter((one) => one.status === 'fulfilled' && one.value.status === 'open').length;
  await world.settle(() => open() <= CONNECTIONS_PER_PEER_MAX);
  expect(open()).toBeGreaterThan(0);
  expect(a.network.links()).toHaveLength(1);
});
