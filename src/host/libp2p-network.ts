/**
 * The Network port on libp2p: links from connections, frames from streams, who is let in, and an orderly end.
 * How the node is set up is in libp2p-node.ts, how frames travel in libp2p-channel.ts and libp2p-framing.ts.
 */
import type { PeerId } from '../ports/identity.ts';
import {
  type Address,
  type DialResult,
  FRAME_BYTES_MAX,
  type FrameClass,
  type LinkInfo,
  type ListenResult,
  type NameKind,
  NEWS_BYTES_MAX,
  type Network,
  type NetworkHandlers,
  type NetworkRefusal,
  type Place,
  type SendResult,
} from '../ports/network.ts';
import { parseAddress, toAddress, toMultiaddr } from './libp2p-address.ts';
import { callAdmit } from './libp2p-admit.ts';
import { listenFailure, probeTcp } from './libp2p-dial.ts';
import { Dialer, STOPPED } from './libp2p-dialer.ts';
import { hearNews, offerGossip } from './libp2p-gossip.ts';
import { HandlerQueue } from './libp2p-handlers.ts';
import { Inbound } from './libp2p-inbound.ts';
import { Link, type Log, STRANGER_MS_MAX } from './libp2p-link.ts';
import {
  CONNECTIONS_PER_PEER_MAX,
  type Connection,
  createNode,
  LINKS_MAX_DEFAULT,
  NEWS_TOPIC,
  type NodeParts,
  type PrivateKey,
  type RemotePeer,
  STRANGERS_MAX,
} from './libp2p-node.ts';
import { givesWayTo } from './libp2p-strangers.ts';
import { LocalNames } from './mdns.ts';
import { resolvePlaces } from './names.ts';

export interface Libp2pNetworkOptions {
  readonly privateKey: PrivateKey;
  /** Local address that every connection is made from. */
  readonly dialFrom?: string;
  /** Links at a time, strangers' not counted. */
  readonly maxLinks?: number;
  /** How long a link may wait for its admission; default: as long as a slow admission takes. */
  readonly strangerMs?: number;
  /** UDP port of mDNS; default: its own. */
  readonly mdnsPort?: number;
  readonly log?: Log;
}

// Limits of this room.
/** Links are looked through this often for gossip that is not connected and frames that nobody wrote. */
const SWEEP_MS = 1_000;
/** For libp2p's own stop; afterwards its remains are left to the end of the process. */
const STOP_MS_MAX = 3_000;

type Listener = ReturnType<
  ReturnType<NodeParts['transports']['getTransports']>[number]['createListener']
>;

interface Running {
  readonly kind: 'running';
  readonly parts: NodeParts;
  readonly handlers: HandlerQueue<NetworkHandlers>;
  readonly listener: Listener;
  readonly sweep: NodeJS.Timeout;
  readonly dialer: Dialer;
  readonly local: LocalNames;
}

type State = { readonly kind: 'new' | 'starting' | 'stopped' } | Running;

export function createLibp2pNetwork(options: Libp2pNetworkOptions): Promise<Network> {
  return Promise.resolve(new Libp2pNetwork(options));
}

class Libp2pNetwork implements Network {
  readonly #options: Libp2pNetworkOptions;
  readonly #linksMax: number;
  readonly #log: Log;
  readonly #links = new Map<PeerId, Link>();
  readonly #members = new Set<PeerId>();
  /** Links with frames of this turn. */
  readonly #dirty = new Set<Link>();
  #flushScheduled = false;
  #state: State = { kind: 'new' };

  constructor(options: Libp2pNetworkOptions) {
    this.#options = options;
    this.#linksMax = options.maxLinks ?? LINKS_MAX_DEFAULT;
    this.#log = options.log ?? (() => undefined);
  }

  async start(
    handlers: NetworkHandlers,
    listen: { readonly host: string; readonly port: number },
  ): Promise<ListenResult> {
    if (this.#state.kind !== 'new') throw new Error('the network was started before');
    this.#state = { kind: 'starting' };
    const parts = await createNode({
      privateKey: this.#options.privateKey,
      dialFrom: this.#options.dialFrom,
      linksMax: this.#linksMax,
      isMember: (peer) => this.#members.has(peer.toString()),
      denyInbound: (peer, from) => this.#denyInbound(peer, toAddress(from)),
    });
    const queue = new HandlerQueue(handlers);
    await this.#register(parts, queue);
    await parts.node.start();
    parts.gossip.subscribe(NEWS_TOPIC);
    const [tcp] = parts.transports.getTransports();
    if (!tcp) throw new Error('libp2p has no transport');
    const listener = tcp.createListener({ upgrader: parts.upgrader });
    listener.addEventListener('error', (event) => {
      this.#log('the listener failed', { error: String(event.detail) });
    });
    try {
      await listener.listen(toMultiaddr(listen));
    } catch (error) {
      await parts.node.stop();
      this.#state = { kind: 'new' };
      return listenFailure(error);
    }
    if (this.#isStopped()) {
      await listener.close();
      await parts.node.stop();
      return { ok: false, code: 'failed', detail: 'the network was stopped' };
    }
    const sweep = setInterval(() => this.#sweep(parts), SWEEP_MS);
    const dialer = new Dialer(parts);
    const peerId = parts.node.peerId.toString();
    const { host } = listen;
    const local = new LocalNames({ peerId, host, port: this.#options.mdnsPort, log: this.#log });
    this.#state = { kind: 'running', parts, handlers: queue, listener, sweep, dialer, local };
    const own = listener.getAddrs()[0];
    const port = own ? parseAddress(toAddress(own))?.port : undefined;
    return { ok: true, port: port ?? listen.port };
  }

  /** A method, because the compiler believes that a field keeps its value across an await. */
  #isStopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  async #register(parts: NodeParts, handlers: HandlerQueue<NetworkHandlers>): Promise<void> {
    const { node } = parts;
    node.addEventListener('connection:open', (event) => {
      this.#onConnection(parts, handlers, event.detail);
    });
    const isMember = (peerId: PeerId) => this.#members.has(peerId);
    await new Inbound({ handlers, isMember, log: this.#log }).register(node);
    hearNews(parts, handlers, isMember);
  }

  #denyInbound(peer: RemotePeer, from: Address): boolean {
    if (this.#state.kind !== 'running') return true;
    const refusal = this.#tooMany(peer.toString(), from);
    if (refusal !== undefined) this.#refused(refusal);
    return refusal !== undefined;
  }

  #tooMany(peerId: PeerId, from: Address): NetworkRefusal | undefined {
    const connections = this.#links.get(peerId)?.connections.size ?? 0;
    if (connections >= CONNECTIONS_PER_PEER_MAX) return 'connection: too many of one peer';
    if (connections > 0) return undefined;
    const isMember = this.#members.has(peerId);
    if (isMember && this.#links.size >= this.#linksMax + STRANGERS_MAX)
      return 'connection: too many links';
    const strangers = isMember ? [] : this.#strangers();
    if (strangers.length < STRANGERS_MAX || givesWayTo(from, strangers)) return undefined;
    return 'connection: too many strangers';
  }

  #refused(reason: NetworkRefusal): void {
    if (this.#state.kind === 'running') this.#state.handlers.call((to) => to.refused?.(reason));
  }

  #strangers(): LinkInfo[] {
    return this.links().filter(({ peerId }) => !this.#members.has(peerId));
  }

  #makeRoomFor(from: Address): void {
    const strangers = this.#strangers();
    const last = strangers.length < STRANGERS_MAX ? undefined : givesWayTo(from, strangers);
    if (last === undefined) return;
    this.#refused('connection: too many strangers');
    this.#links.get(last.peerId)?.abort(new Error('another host has fewer links'));
  }

  // Connections and links

  #onConnection(
    parts: NodeParts,
    handlers: HandlerQueue<NetworkHandlers>,
    connection: Connection,
  ): void {
    if (connection.status !== 'open') return;
    const peerId = connection.remotePeer.toString();
    const known = this.#links.get(peerId);
    if (this.#state.kind === 'stopped' || known?.disconnecting) {
      connection.abort(new Error('the link is being closed'));
      return;
    }
    const { direction } = connection;
    const stranger = !this.#members.has(peerId);
    // Asked a second time: many handshakes may have been under way when the gater was asked, and who makes them may have
    // them wait there.
    const address = toAddress(connection.remoteAddr);
    const refusal = direction === 'inbound' ? this.#tooMany(peerId, address) : undefined;
    if (refusal !== undefined) {
      this.#refused(refusal);
      connection.abort(new Error(refusal));
      return;
    }
    if (stranger && !known && direction === 'inbound') this.#makeRoomFor(address);
    const info: LinkInfo = { peerId, address, direction };
    const link = known ?? new Link(info, this.#log);
    link.connections.add(connection);
    connection.addEventListener('close', (event) => {
      this.#onConnectionEnd(parts, handlers, link, connection, event.error);
    });
    if (!known) {
      this.#links.set(peerId, link);
      const patienceMs = this.#options.strangerMs ?? STRANGER_MS_MAX;
      const late = () => this.#refused('connection: not admitted in time');
      if (stranger) link.expectAdmission(patienceMs, late);
      handlers.call((to) => to.opened(info));
    }
    if (!stranger) parts.gossipConnect(connection.remotePeer, connection);
  }

  #onConnectionEnd(
    parts: NodeParts,
    handlers: HandlerQueue<NetworkHandlers>,
    link: Link,
    connection: Connection,
    error: Error | undefined,
  ): void {
    if (!link.connections.delete(connection) || link.connections.size > 0) return;
    const { peerId } = link.info;
    this.#links.delete(peerId);
    this.#dirty.delete(link);
    link.destroy();
    parts.gossipDisconnect(connection.remotePeer);
    // libp2p would remember every PeerId that ever knocked; our peer book is elsewhere.
    parts.node.peerStore.delete(connection.remotePeer).catch((cause: unknown) => {
      this.#log('a peer could not be forgotten', { peer: peerId, error: String(cause) });
    });
    handlers.call((to) => to.closed(peerId, error?.message));
  }

  async dial(peerId: PeerId | undefined, address: Address, timeoutMs: number): Promise<DialResult> {
    const state = this.#state;
    if (state.kind !== 'running') return STOPPED;
    const link = peerId === undefined ? undefined : this.#links.get(peerId);
    if (link?.disconnecting) await link.disconnect();
    else if (link) return { ok: true, peerId: link.info.peerId, isNew: false };
    return state.dialer.dial(peerId, address, timeoutMs);
  }

  announce(addresses: readonly Address[]): void {
    if (this.#state.kind === 'running') void this.#state.local.announce(addresses);
  }

  async resolve(kind: NameKind, name: string, timeoutMs: number): Promise<readonly Place[]> {
    if (kind !== 'mdns') return resolvePlaces(kind, name, timeoutMs);
    return this.#state.kind === 'running' ? this.#state.local.ask(timeoutMs) : [];
  }

  async probe(
    address: Address,
    timeoutMs: number,
  ): Promise<'accepted' | 'refused' | 'timeout' | 'unreachable'> {
    const hostPort = parseAddress(address);
    return hostPort ? probeTcp(hostPort, this.#options.dialFrom, timeoutMs) : 'unreachable';
  }

  // Frames

  send(peerId: PeerId, frameClass: FrameClass, bytes: Uint8Array): SendResult {
    if (bytes.length > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${bytes.length} bytes`);
    const link = this.#links.get(peerId);
    if (!link || link.disconnecting || this.#state.kind !== 'running') return 'gone';
    const result = link.channel(frameClass).send(bytes);
    if (result === 'sent') {
      this.#dirty.add(link);
      if (!this.#flushScheduled) {
        this.#flushScheduled = true;
        // At the end of the turn, not in a microtask: answers to many frames of one chunk leave together.
        setImmediate(() => this.#flush());
      }
    }
    return result;
  }

  #flush(): void {
    this.#flushScheduled = false;
    const links = [...this.#dirty];
    this.#dirty.clear();
    for (const link of links) link.flush();
  }

  // Admission

  async admitCall(
    peerId: PeerId,
    bytes: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array | undefined> {
    const connection = this.#links.get(peerId)?.connection();
    if (!connection) return undefined;
    try {
      return await callAdmit(connection, bytes, timeoutMs);
    } catch (error) {
      this.#log('an admission request got no answer', { peer: peerId, error: String(error) });
      return undefined;
    }
  }

  admit(peerId: PeerId): void {
    if (this.#members.has(peerId)) return;
    this.#members.add(peerId);
    const link = this.#links.get(peerId);
    const connection = link?.connection();
    link?.admitted();
    if (connection && this.#state.kind === 'running') {
      this.#state.parts.gossipConnect(connection.remotePeer, connection);
    }
  }

  async disconnect(peerId: PeerId): Promise<void> {
    this.#members.delete(peerId);
    const link = this.#links.get(peerId);
    const remote = link?.connection()?.remotePeer;
    if (remote && this.#state.kind === 'running') this.#state.parts.gossipDisconnect(remote);
    await link?.disconnect();
  }

  // News

  publish(bytes: Uint8Array): void {
    if (bytes.length > NEWS_BYTES_MAX) throw new RangeError(`news of ${bytes.length} bytes`);
    if (this.#state.kind !== 'running') return;
    this.#state.parts.gossip.publish(NEWS_TOPIC, new Uint8Array(bytes)).catch((error: unknown) => {
      this.#log('news was not published', { error: String(error) });
    });
  }

  #sweep(parts: NodeParts): void {
    for (const [peerId, link] of this.#links) {
      link.flush();
      if (this.#members.has(peerId)) offerGossip(parts, link);
    }
  }

  links(): LinkInfo[] {
    return [...this.#links.values()].map(({ info }) => info);
  }

  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: 'stopped' };
    if (state.kind !== 'running') return;
    state.handlers.stop();
    clearInterval(state.sweep);
    state.dialer.stop();
    void state.local.stop();
    await Promise.all([...this.#links.values()].map((link) => link.disconnect()));
    for (const link of this.#links.values()) link.abort(new Error('stopping'));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS_MAX);
    });
    const stopped = (async () => {
      await state.listener.close();
      await state.parts.node.stop();
    })().catch((error: unknown) => {
      this.#log('libp2p did not stop cleanly', { error: String(error) });
    });
    await Promise.race([stopped, deadline]);
    clearTimeout(timer);
  }
}
