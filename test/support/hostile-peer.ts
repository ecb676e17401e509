/** A libp2p peer without any manners: says and sends what a test wants, as a stranger or as a member. */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gossipsub, StrictNoSign } from '@chainsafe/libp2p-gossipsub';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import * as lengthPrefixed from 'it-length-prefixed';
import { createLibp2p } from 'libp2p';
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import { varintLength, writeVarint } from '../../src/host/libp2p-framing.ts';
import {
  type Connection,
  NEWS_TOPIC,
  type PrivateKey,
  type Stream,
} from '../../src/host/libp2p-node.ts';
import {
  type Entry,
  isKind,
  readFact,
  type SelfRecord,
  type Statement,
  signFact,
  toWire,
} from '../../src/membership/fact.ts';
import {
  type AdmitFrame,
  decodeAdmit,
  encodeAdmit,
  type Hello,
} from '../../src/membership/hello.ts';
import { decodeToken, type Token } from '../../src/membership/token.ts';
import type { Identity } from '../../src/ports/identity.ts';
import type { FrameClass } from '../../src/ports/network.ts';
import { encodeValue, type WireValue } from '../../src/wire/codec.ts';
import { WIRE_VERSION_MAX, WIRE_VERSION_MIN } from '../../src/wire/versions.ts';
import { storeOf } from './task-records.ts';

let made = 0;

export const tokenOf = (text: string): Token => {
  const token = decodeToken(text);
  if (!token.ok) throw new Error(token.error);
  return token.value;
};

export function framed(bytes: Uint8Array): Uint8Array {
  const length = varintLength(bytes.length);
  const all = new Uint8Array(length + bytes.length);
  writeVarint(all, 0, bytes.length);
  all.set(bytes, length);
  return all;
}

async function createNode(privateKey: PrivateKey, host: string) {
  const dialOpts = { noDelay: true, localAddress: host };
  return await createLibp2p({
    privateKey,
    addresses: { listen: [`/ip4/${host}/tcp/0`] },
    transports: [tcp({ dialOpts })],
    connectionEncrypters: [tls()],
    // Its own limits must not be what stops it.
    streamMuxers: [yamux({ maxInboundStreams: 100_000, maxOutboundStreams: 100_000 })],
    connectionMonitor: { enabled: false },
    connectionManager: { maxConnections: 10_000 },
    services: {
      identify: identify({ runOnConnectionOpen: false }),
      gossip: gossipsub({
        globalSignaturePolicy: StrictNoSign,
        allowPublishToZeroTopicPeers: true,
        floodPublish: true,
        emitSelf: false,
      }),
    },
  });
}

type Node = Awaited<ReturnType<typeof createNode>>;

export class HostilePeer {
  readonly node: Node;
  readonly identity: Identity;
  readonly storeId: string;
  meshId = '';
  chain: readonly WireValue[] = [];
  readonly #streams = new Map<string, Stream>();

  private constructor(node: Node, identity: Identity, storeId: string) {
    this.node = node;
    this.identity = identity;
    this.storeId = storeId;
  }

  static async create(host = '127.77.9.9'): Promise<HostilePeer> {
    made += 1;
    const file = join(tmpdir(), `covey-hostile-${process.pid}-${made}`);
    const key = await loadOrCreateIdentity(file);
    if (!key.ok) throw new Error(key.error);
    await rm(file, { force: true });
    const node = await createNode(key.value.privateKey, host);
    const storeId = storeOf(`${key.value.identity.peerId}`);
    return new HostilePeer(node, key.value.identity, storeId);
  }

  async stop(): Promise<void> {
    await this.node.stop();
  }

  get peerId(): string {
    return this.identity.peerId;
  }

  async dial(address: string): Promise<Connection> {
    const [host, port] = address.split(':');
    return await this.node.dial(multiaddr(`/ip4/${host}/tcp/${port}`), { force: true });
  }

  /** The answer; undefined when the stream was reset. */
  async admit(connection: Connection, frame: AdmitFrame | Uint8Array) {
    const bytes = frame instanceof Uint8Array ? frame : encodeAdmit(frame);
    try {
      const stream = await connection.newStream('/covey/admit/1');
      stream.send(framed(bytes));
      for await (const part of lengthPrefixed.decode(stream)) {
        const reply = decodeAdmit(part.subarray());
        // Two at a time are all that a connection may have open.
        await stream.close();
        return reply.ok ? reply.value : undefined;
      }
    } catch {
      return undefined; // reset: refused without a word
    }
    return undefined;
  }

  /** The code of the refusal, or the type of the answer, or `reset`. */
  async answer(connection: Connection, frame: AdmitFrame | Uint8Array): Promise<string> {
    const reply = await this.admit(connection, frame);
    if (!reply) return 'reset';
    return reply.type === 'refuse' ? reply.error.code : reply.type;
  }

  record(more: Partial<SelfRecord> = {}): SelfRecord {
    const [address] = this.node.getMultiaddrs();
    const [, , host, , port] = (address?.toString() ?? '').split('/');
    return {
      ...{ kind: 'record', peerId: this.peerId, epoch: 1, incarnation: 0, storeId: this.storeId },
      ...{ bootCount: 1, bootId: '00', name: 'hostile', addresses: [`${host}:${port}`] },
      ...{ labels: {}, version: '0', features: [], execEnabled: false },
      ...{ stopping: false, left: false },
      ...more,
    };
  }

  fact(statement: Statement, meshId = this.meshId): WireValue {
    return toWire(signFact(this.identity, meshId, statement));
  }

  hello(more: Partial<Hello> = {}): Extract<AdmitFrame, { type: 'hello' }> {
    return {
      type: 'hello',
      hello: {
        ...{ meshId: this.meshId, storeId: this.storeId, bootCount: 1, bootId: '00' },
        ...{
          bootIds: ['00'],
          seq: 1,
          spans: [],
          versions: { min: WIRE_VERSION_MIN, max: WIRE_VERSION_MAX },
          features: [],
        },
        ...{ record: this.fact(this.record()), chain: this.chain, merges: [] },
        ...{ known: undefined, away: undefined },
        ...more,
      },
    };
  }

  /** Redeems the token and greets: from now on it is a member. */
  async join(text: string): Promise<Connection> {
    const token = tokenOf(text);
    this.meshId = token.meshId;
    const connection = await this.dial(token.addresses[0] ?? '');
    const reply = await this.admit(connection, {
      ...{ type: 'redeem', secret: token.secret, name: 'hostile' },
    } as AdmitFrame);
    if (reply?.type !== 'welcome') throw new Error(`no welcome but ${reply?.type}`);
    this.chain = reply.facts.filter((value) => {
      const fact = readFact(value, token.meshId, () => true);
      return fact.ok && isKind(fact.value, 'entry');
    });
    await this.greet(connection);
    return connection;
  }

  async greet(connection: Connection): Promise<void> {
    const answer = await this.answer(connection, this.hello());
    if (answer !== 'hello') throw new Error(`greeted with ${answer}`);
    await this.send(connection, 'control', [0, 0, 'ready', {}]);
  }

  async stream(connection: Connection, frameClass: FrameClass): Promise<Stream> {
    const key = `${connection.id} ${frameClass}`;
    const known = this.#streams.get(key);
    if (known?.status === 'open') return known;
    const stream = await connection.newStream(`/covey/${frameClass}/1`);
    this.#streams.set(key, stream);
    return stream;
  }

  /** Bytes as they are, or a value as a frame; waits while the stream is full. */
  async send(
    connection: Connection,
    frameClass: FrameClass,
    frame: Uint8Array | WireValue,
  ): Promise<void> {
    const stream = await this.stream(connection, frameClass);
    const bytes = frame instanceof Uint8Array ? frame : framed(encodeValue(frame));
    if (stream.send(bytes)) return;
    await stream.onDrain({ signal: AbortSignal.timeout(20_000) });
  }

  async publish(bytes: Uint8Array): Promise<void> {
    await this.node.services.gossip.publish(NEWS_TOPIC, bytes);
  }

  subscribe(): void {
    this.node.services.gossip.subscribe(NEWS_TOPIC);
  }

  entryFor(peerId: string): Entry {
    return { kind: 'entry', peerId, name: 'friend', admittedAtMs: Date.now() };
  }
}
