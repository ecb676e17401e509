/** Peers of a real network and libp2p nodes that know nothing of Covey, for the tests that dial them. */
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { TestPeer } from './network-bench.ts';
import type { RealWorld } from './network-worlds.ts';

export async function startPeer(world: RealWorld, name: string): Promise<TestPeer> {
  const { identity, network } = await world.create(name);
  const peer = new TestPeer(identity, network);
  const result = await network.start(peer, { host: '127.0.0.1', port: 0 });
  if (!result.ok) throw new Error(result.detail);
  peer.address = `127.0.0.1:${result.port}`;
  return peer;
}

/** A libp2p node that knows nothing of Covey. */
export async function bareNode(cleanUps: (() => unknown)[], host = '127.0.0.1') {
  const dialOpts = { noDelay: true, localAddress: host };
  const node = await createLibp2p({
    transports: [tcp({ dialOpts })],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
  });
  cleanUps.push(() => node.stop());
  return node;
}

export const addressOf = (peer: TestPeer) =>
  multiaddr(`/ip4/127.0.0.1/tcp/${peer.address.split(':')[1]}/p2p/${peer.peerId}`);
