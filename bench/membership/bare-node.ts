/** A libp2p node with what Covey's has, and nothing of Covey: what the platform alone takes in memory. */
import { gossipsub, StrictNoSign } from '@chainsafe/libp2p-gossipsub';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [tls(), noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    gossip: gossipsub({ globalSignaturePolicy: StrictNoSign }),
  },
});
process.stdout.write(`${JSON.stringify({ event: 'ready', peer_id: node.peerId.toString() })}\n`);
