/**
 * Builds the libp2p node: every setting, and why it is not the default. The numbers (D1–D14) count the traps of
 * libp2p's defaults that long-lived meshes of equals have fallen into; each is told where it is avoided.
 */
import { createHash } from 'node:crypto';
import {
  type GossipSub,
  type GossipSubComponents,
  gossipsub,
  type Message,
  StrictNoSign,
} from '@chainsafe/libp2p-gossipsub';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p, type Libp2p, type Libp2pOptions } from 'libp2p';
import { inFewPackets } from './libp2p-muxer.ts';
import { nodeTls } from './libp2p-tls.ts';

export type Libp2pNode = Libp2p<Record<string, unknown>>;
export type PrivateKey = NonNullable<Libp2pOptions['privateKey']>;
export type Connection = ReturnType<Libp2pNode['getConnections']>[number];
export type Stream = Awaited<ReturnType<Connection['newStream']>>;
export type RemotePeer = Connection['remotePeer'];
type Endpoint = Pick<Connection, 'remoteAddr'>;
type ServiceFactory = NonNullable<Libp2pOptions['services']>[string];
type Components = Parameters<ServiceFactory>[0];
type TransportManager = Components['transportManager'];
type Upgrader = Components['upgrader'];
type Registrar = GossipSubComponents['registrar'];
type Topology = Parameters<Registrar['register']>[1];
type LibP2pLogger = ReturnType<Components['logger']['forComponent']>;

export const NEWS_TOPIC = 'covey/news/1';
/** Gossipsub's own protocols begin with this. */
export const GOSSIP_PROTOCOL_PREFIX = '/meshsub/';

// Limits of this room.
/** Links of members, the `max_connections` of a partial mesh and half as many again in transition. */
export const LINKS_MAX_DEFAULT = 192;
/** Links of PeerIds that nobody admitted: enough for a rack that joins at once, little memory (0.2 MiB each). */
export const STRANGERS_MAX = 64;
/** Two peers that dial each other have two connections; more than this is a fault of the other end. */
export const CONNECTIONS_PER_PEER_MAX = 4;
/**
 * D3: the default of 5 a second *per source host* refuses the sixth daemon of one machine. A handshake costs 4 ms of CPU:
 * who does nothing else from one host takes a quarter of a core.
 */
const INBOUND_CONNECTIONS_PER_SECOND_MAX = 64;
/** D3: the default of 10 is fewer than the peers that come back at once after a power cut. */
const INBOUND_PENDING_MAX = 256;
/** A stranger that opens a connection and never finishes the handshake holds a slot this long. */
const INBOUND_UPGRADE_TIMEOUT_MS = 10_000;
/** Of one connection; the default is 1,000. Eight of each class, and a few of libp2p's own. */
const INBOUND_STREAMS_MAX = 64;
/** A stream that was begun and not named within this is reset. */
const INBOUND_NEGOTIATION_TIMEOUT_MS = 10_000;
/** Gossipsub opens its streams one after the other: a frozen peer holds up the others this long. */
const OUTBOUND_NEGOTIATION_TIMEOUT_MS = 3_000;
/** D6: yamux has no limit at all by default. Our own streams hold one chunk at most. */
const STREAM_WRITE_BUFFER_BYTES_MAX = 4 * 1_024 * 1_024;
/** D7: gossipsub has no backpressure; a peer that reads nothing cost 200 MB in 20 s without this. */
const GOSSIP_OUTBOUND_BUFFER_BYTES_MAX = 4 * 1_024 * 1_024;
/** How often gossipsub looks through scores that nobody uses. */
const SCORE_DECAY_MS = 600_000;
/** D9: four times a piece of news; the default is 4 MiB. */
const GOSSIP_INBOUND_BYTES_MAX = 64 * 1_024;

export interface NodeOptions {
  readonly privateKey: PrivateKey;
  readonly dialFrom: string | undefined;
  readonly linksMax: number;
  /** False for strangers: every protocol but `/covey/admit/1` is refused to them. */
  isMember(peer: RemotePeer): boolean;
  /** Asked for each inbound connection once its PeerId is proven. */
  denyInbound(peer: RemotePeer, from: Endpoint['remoteAddr']): boolean;
}

export interface NodeParts {
  readonly node: Libp2pNode;
  readonly transports: TransportManager;
  readonly upgrader: Upgrader;
  readonly gossip: GossipSub;
  /** Tells gossipsub of a member's connection; harmless to repeat. */
  gossipConnect(peer: RemotePeer, connection: Connection): void;
  gossipDisconnect(peer: RemotePeer): void;
}

/** libp2p's own log is for debugging libp2p; formatting it costs more than our frames do. */
const silent: LibP2pLogger = Object.assign(() => undefined, {
  error: () => undefined,
  trace: () => undefined,
  enabled: false,
  newScope: (): LibP2pLogger => silent,
});

/** D10: the id of a message is its content, so a repeated or looping one is one message. */
const messageId = (message: Message): Uint8Array =>
  createHash('sha256').update(message.data).digest().subarray(0, 20);

/**
 * The registrar as gossipsub and identify see it: what they handle is refused to strangers, and gossipsub's
 * topology is given to us instead, so that a peer enters gossip when it is *admitted*, not when identify says so.
 * libp2p's `registrar.use` looks made for this and is not: up to 3.3 each inbound stream appends its handler to
 * the middleware list itself, and outbound streams run that list too.
 */
function guardRegistrar(
  registrar: Registrar,
  isMember: (peer: RemotePeer) => boolean,
  onTopology: (topology: Topology) => void,
): Registrar {
  return {
    getProtocols: () => registrar.getProtocols(),
    handle: (protocol, handler, options) =>
      registrar.handle(
        protocol,
        (stream, connection) => {
          if (!isMember(connection.remotePeer)) {
            stream.abort(new Error('refused to a stranger'));
            return undefined;
          }
          return handler(stream, checkedConnection(connection));
        },
        options,
      ),
    unhandle: (protocol, options) => registrar.unhandle(protocol, options),
    getHandler: (protocol) => registrar.getHandler(protocol),
    register: (_protocol, topology) => {
      onTopology(topology);
      return Promise.resolve('covey');
    },
    unregister: () => undefined,
    getTopologies: (protocol) => registrar.getTopologies(protocol),
    use: (protocol, middleware) => registrar.use(protocol, middleware),
    unuse: (protocol) => registrar.unuse(protocol),
    getMiddleware: (protocol) => registrar.getMiddleware(protocol),
  };
}

/**
 * The connection as gossipsub sees it: `newStream` fails for a stream that was reset while it was being opened,
 * as the first one to a peer that has not admitted us yet always is. Gossipsub 17 keeps such a stream, waits for
 * its close event, which has passed, and never opens another.
 */
function checkedConnection(connection: Connection): Connection {
  const newStream: Connection['newStream'] = async (protocols, options) => {
    const stream = await connection.newStream(protocols, options);
    if (stream.status !== 'open') throw new Error(`the stream is ${stream.status}`);
    return stream;
  };
  return new Proxy(connection, {
    get: (target, name) => (name === 'newStream' ? newStream : Reflect.get(target, name, target)),
  });
}

const gossipFactory = gossipsub({
  // Payloads are signed by their authors; gossipsub's own signature costs 0.76 ms a delivery and adds nothing.
  globalSignaturePolicy: StrictNoSign,
  msgIdFn: messageId,
  allowedTopics: [NEWS_TOPIC],
  // D11: our own news goes to every subscriber we have a link to, not to the six of the mesh alone.
  floodPublish: true,
  fallbackToFloodsub: false,
  // Nobody may be listening yet, and the same news may be published twice: neither is an error.
  allowPublishToZeroTopicPeers: true,
  ignoreDuplicatePublishError: true,
  emitSelf: false,
  // Peer exchange and tags would have libp2p dial and prune by its own mind (D2, D4).
  doPX: false,
  tagMeshPeers: false,
  // D11: everybody was admitted by a member; ten daemons on one address are normal.
  scoreParams: {
    topics: {},
    appSpecificWeight: 0,
    IPColocationFactorWeight: 0,
    behaviourPenaltyWeight: 0,
    // Scores that are always zero need not decay every second.
    decayInterval: SCORE_DECAY_MS,
  },
  maxOutboundBufferSize: GOSSIP_OUTBOUND_BUFFER_BYTES_MAX,
  maxInboundDataLength: GOSSIP_INBOUND_BYTES_MAX,
});

function settings(options: NodeOptions) {
  // TCP_NODELAY: a heartbeat must not wait for the next frame. The port of `localAddress` is the system's.
  const socketOptions = { noDelay: true, keepAlive: true };
  const dialOpts = { ...socketOptions, localAddress: options.dialFrom };
  return {
    // The listener is our own (see listen in libp2p-network.ts): libp2p hides why listening failed.
    addresses: { listen: [] },
    transports: [
      tcp({
        dialOpts,
        listenOpts: socketOptions,
        // The default ends a socket after 2 min of silence: phi decides that, not a timer of the transport.
        inboundSocketInactivityTimeout: 0,
        outboundSocketInactivityTimeout: 0,
      }),
    ],
    // TLS first: 828 k messages/s against 372 k with Noise, whose cipher is not Node's own.
    connectionEncrypters: [nodeTls(), noise()],
    streamMuxers: [
      inFewPackets(
        yamux({
          maxInboundStreams: INBOUND_STREAMS_MAX,
          // D1: liveness is phi's business; a ping that times out on a slow host proves nothing.
          enableKeepAlive: false,
          streamOptions: { maxWriteBufferLength: STREAM_WRITE_BUFFER_BYTES_MAX },
        }),
      ),
    ],
    // D1: it aborts connections whose ping is slow.
    connectionMonitor: { enabled: false },
    connectionManager: {
      // D2: above this libp2p prunes, at random; so never reach it. Our own limits are smaller.
      maxConnections: CONNECTIONS_PER_PEER_MAX * options.linksMax + STRANGERS_MAX,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND_MAX,
      maxIncomingPendingConnections: INBOUND_PENDING_MAX,
      inboundUpgradeTimeout: INBOUND_UPGRADE_TIMEOUT_MS,
      inboundStreamProtocolNegotiationTimeout: INBOUND_NEGOTIATION_TIMEOUT_MS,
      outboundStreamProtocolNegotiationTimeout: OUTBOUND_NEGOTIATION_TIMEOUT_MS,
      // D2: nobody is tagged KEEP_ALIVE, and this makes sure of it: redialling is membership's.
      reconnectRetries: 0,
    },
    connectionGater: {
      // The default refuses loopback and private addresses in browsers only; say it all the same.
      denyDialMultiaddr: () => false,
      // D13: who may stay is settled before any handler of a protocol runs.
      denyInboundEncryptedConnection: (peer: RemotePeer, { remoteAddr }: Endpoint) =>
        options.denyInbound(peer, remoteAddr),
    },
  };
}

export async function createNode(options: NodeOptions): Promise<NodeParts> {
  const topologies = new Set<Topology>();
  let components: Components | undefined;
  let gossip: GossipSub | undefined;
  const node = await createLibp2p({
    ...settings(options),
    start: false,
    privateKey: options.privateKey,
    logger: { forComponent: () => silent },
    services: {
      // Gossipsub insists on identify; it never runs by itself, and answers members only.
      identify: (parts: Components) => {
        components = parts;
        return identify({ runOnConnectionOpen: false })({
          peerId: parts.peerId,
          privateKey: parts.privateKey,
          peerStore: parts.peerStore,
          addressManager: parts.addressManager,
          events: parts.events,
          logger: parts.logger,
          nodeInfo: parts.nodeInfo,
          registrar: guardRegistrar(parts.registrar, options.isMember, () => undefined),
        });
      },
      gossip: (parts: Components) => {
        gossip = gossipFactory({
          peerId: parts.peerId,
          privateKey: parts.privateKey,
          peerStore: parts.peerStore,
          connectionManager: parts.connectionManager,
          logger: parts.logger,
          registrar: guardRegistrar(parts.registrar, options.isMember, (t) => topologies.add(t)),
        });
        return gossip;
      },
    },
  });
  if (components === undefined || gossip === undefined) throw new Error('libp2p made no services');
  return {
    node,
    transports: components.transportManager,
    upgrader: components.upgrader,
    gossip,
    gossipConnect: (peer, connection) => {
      const checked = checkedConnection(connection);
      for (const topology of topologies) topology.onConnect?.(peer, checked);
    },
    gossipDisconnect: (peer) => {
      for (const topology of topologies) topology.onDisconnect?.(peer);
    },
  };
}
