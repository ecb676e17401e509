/** What all simulated networks of a world share: addresses, delays, partitions, crashes. */
import { pickDistinct, type Random, randomBelow, randomFloat } from '../base/random.ts';
import type { Clock } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { Address, DialResult, FrameClass, ListenResult, Place } from '../ports/network.ts';
import type { Trace } from './clock.ts';
import { SimNetwork } from './network.ts';
import { End } from './network-wire.ts';

export type ProbeResult = 'accepted' | 'refused' | 'timeout' | 'unreachable';
export type FrameMatch = (
  from: PeerId,
  to: PeerId,
  frameClass: FrameClass,
  bytes: Uint8Array,
) => boolean;

export interface SimNetworkHubOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** One way, drawn evenly for each frame. */
  readonly delayMs?: { readonly min: number; readonly max: number };
  /** Share of packets that are lost; TCP sends them again, and what comes behind waits. */
  readonly loss?: number;
  readonly trace?: Trace;
  /** Gossip is handed on, as gossipsub does; else it goes as far as the links of its author, which are all there are in a full mesh. */
  readonly isGossipPassedOn?: boolean;
  /** Whether a host exists here, for `start`. */
  readonly isLocalHost?: (host: string) => boolean;
}

const DELAY_MS = { min: 0.2, max: 2 };
/** The least that Linux waits before it sends a packet again. */
const RTO_MS = 200;
const FIRST_PORT = 20_000;

type Listening =
  | { readonly ok: true; readonly port: number; readonly address: Address }
  | Extract<ListenResult, { ok: false }>;

/** An attempt to reach an address, held up by a partition or not. */
export interface Attempt {
  /** The caller does not wait any more. */
  giveUp(): void;
}

const hostPort = (host: string, port: number): Address =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

export class SimNetworkHub {
  readonly clock: Clock;
  readonly #random: Random;
  readonly #delayMs: { readonly min: number; readonly max: number };
  readonly #trace: Trace | undefined;
  readonly #loss: number;
  readonly #isLocalHost: (host: string) => boolean;
  readonly isGossipPassedOn: boolean;
  /** Every copy of every piece of news, as it leaves a host. */
  readonly gossiped = { frames: 0, bytes: 0 };
  readonly #listeners = new Map<Address, SimNetwork>();
  /** Whose an address was last: a partition hides the dead as well. */
  readonly #owners = new Map<Address, PeerId>();
  readonly #nodes = new Map<PeerId, SimNetwork>();
  /** Ends that are open or whose end has not yet been heard of. */
  readonly #ends = new Set<End>();
  /** Directions in which no byte arrives: `from>to`. */
  readonly #blocked = new Set<string>();
  /** When a direction was last blocked, slow or broken. */
  readonly #ailedMs = new Map<string, number>();
  /** Added to every delay of one direction. */
  readonly #slowMs = new Map<string, number>();
  /** Of gossip, which promises nothing: shares from 0 to 1. */
  readonly lossy = { lost: 0, doubled: 0 };
  /** What DNS says: hosts to hosts, and `srv:NAME` and `dnsaddr:NAME` to places. */
  readonly hosts = new Map<string, string>();
  readonly names = new Map<string, readonly Place[]>();
  /** All hosts are on one local network. */
  readonly announcements = new Map<SimNetwork, readonly Address[]>();
  #held: (() => void)[] = [];
  #corrupt: { readonly matches: FrameMatch; readonly at: number | undefined } | undefined;
  #nextPort = FIRST_PORT;

  constructor(options: SimNetworkHubOptions) {
    this.clock = options.clock;
    this.#random = options.random;
    this.#delayMs = options.delayMs ?? DELAY_MS;
    this.#trace = options.trace;
    this.#loss = options.loss ?? 0;
    this.#isLocalHost = options.isLocalHost ?? (() => true);
    this.isGossipPassedOn = options.isGossipPassedOn ?? false;
  }

  /** A network for one run of one peer; `clock` is that peer's own, the hub's when not given. */
  createNetwork(identity: Identity, clock: Clock = this.clock): SimNetwork {
    const network = new SimNetwork(this, clock, identity);
    this.#nodes.set(identity.peerId, network);
    return network;
  }

  trace(event: string, ...args: unknown[]): void {
    this.#trace?.(event, ...args);
  }

  /** One way; without a direction that of a packet between hosts that nothing ails. */
  drawDelayMs(from?: PeerId, to?: PeerId): number {
    const { min, max } = this.#delayMs;
    const slowMs = this.#slowMs.size === 0 ? 0 : (this.#slowMs.get(`${from}>${to}`) ?? 0);
    const lostMs = this.#loss > 0 ? this.#drawRetriesMs() : 0;
    return min + slowMs + lostMs + (max - min) * randomFloat(this.#random);
  }

  /** As Linux does: the first time after RTO_MS, then twice as long each time. */
  #drawRetriesMs(): number {
    let waitMs = 0;
    for (let rtoMs = RTO_MS; randomFloat(this.#random) < this.#loss; rtoMs *= 2) waitMs += rtoMs;
    return waitMs;
  }

  // Faults

  /** Bytes between peers of different groups stop; nothing is closed. Peers in no group reach everybody. */
  partition(groups: readonly (readonly PeerId[])[]): void {
    this.heal();
    groups.forEach((group, index) => {
      for (const others of groups.filter((_, i) => i !== index))
        for (const from of group) for (const to of others) this.block(from, to);
    });
  }

  /** No byte arrives in this direction until the heal; what is sent waits. */
  block(from: PeerId, to: PeerId): void {
    this.#blocked.add(`${from}>${to}`);
    this.#ailed(from, to);
  }

  /** Every byte in this direction takes so much longer; 0 ends it. */
  slow(from: PeerId, to: PeerId, extraMs: number): void {
    this.#ailed(from, to);
    if (extraMs === 0) this.#slowMs.delete(`${from}>${to}`);
    else this.#slowMs.set(`${from}>${to}`, extraMs);
  }

  quicken(): void {
    for (const way of this.#slowMs.keys()) this.#ailedMs.set(way, this.clock.nowMs());
    this.#slowMs.clear();
  }

  #ailed(from: PeerId, to: PeerId): void {
    this.#ailedMs.set(`${from}>${to}`, this.clock.nowMs());
  }

  /** Since when nothing stands between two peers, either way; infinite while something does. */
  freeSinceMs(a: PeerId, b: PeerId): number {
    const ways = [`${a}>${b}`, `${b}>${a}`];
    const isAiling = ways.some((way) => this.#blocked.has(way) || this.#slowMs.has(way));
    if (isAiling) return Number.POSITIVE_INFINITY;
    return Math.max(0, ...ways.map((way) => this.#ailedMs.get(way) ?? 0));
  }

  /**
   * Ends the connections between two peers, as a switch or a firewall does. `reset`: both ends hear of it, and what
   * was under way is lost. `half`: only `a` does; `b` finds out when it sends next.
   */
  breakLink(a: PeerId, b: PeerId, manner: 'reset' | 'half'): void {
    this.#ailed(a, b);
    for (const end of [...this.#ends]) {
      if (end.node.peerId !== a || end.other.node.peerId !== b || !end.open) continue;
      if (manner === 'half') end.vanish();
      else {
        end.close('connection reset', 'abrupt');
        end.node.onEnded(end, 'connection reset');
      }
    }
  }

  /** What was held up arrives, each class of each link in the order sent. */
  heal(): void {
    for (const way of this.#blocked) this.#ailedMs.set(way, this.clock.nowMs());
    this.#blocked.clear();
    for (const end of this.#ends) end.resume();
    const held = this.#held;
    this.#held = [];
    for (const resume of held) this.clock.after(this.drawDelayMs(), resume);
  }

  separated(from: PeerId, to: PeerId): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(`${from}>${to}`);
  }

  /** A connection needs both directions to come up. */
  #cannotMeet(a: PeerId, b: PeerId): boolean {
    return this.separated(a, b) || this.separated(b, a);
  }

  /**
   * The process is killed: its handlers are never called again, its address refuses, and the other ends see
   * their connections end after a delay. What it had sent may or may not arrive before that.
   */
  crash(peerId: PeerId): void {
    this.trace('network.crash', peerId);
    const node = this.#nodes.get(peerId);
    if (!node) return;
    this.forget(node);
    node.crash(randomBelow(this.#random, 2) === 0 ? 'abrupt' : 'graceful');
  }

  /** One bit of the next frame that matches is flipped on its way: of the byte `at`, or of one that is drawn. */
  corruptNext(matches: FrameMatch, at?: number): void {
    this.#corrupt = { matches, at };
  }

  maybeCorrupt(from: PeerId, to: PeerId, frameClass: FrameClass, bytes: Uint8Array): Uint8Array {
    const corrupt = this.#corrupt;
    if (bytes.length === 0 || !corrupt?.matches(from, to, frameClass, bytes)) return bytes;
    this.#corrupt = undefined;
    const at = corrupt.at ?? randomBelow(this.#random, bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  }

  // For the networks

  listen(node: SimNetwork, listen: { readonly host: string; readonly port: number }): Listening {
    const { host } = listen;
    const port = listen.port === 0 ? this.#nextPort++ : listen.port;
    const address = hostPort(host, port);
    if (!this.#isLocalHost(host)) {
      return {
        ok: false,
        code: 'no_such_address',
        detail: `${host} is not an address of this host`,
      };
    }
    if (this.#listeners.has(address)) {
      return { ok: false, code: 'in_use', detail: `${address} is in use` };
    }
    this.#listeners.set(address, node);
    this.#owners.set(address, node.peerId);
    return { ok: true, port, address };
  }

  /** Nobody listens there any more. */
  forget(node: SimNetwork): void {
    if (this.#listeners.get(node.address) === node) this.#listeners.delete(node.address);
  }

  closed(end: End): void {
    this.#ends.delete(end);
    this.#ends.delete(end.other);
  }

  /** Calls `arrived` when a packet of `node` reaches the address, after the heal if need be. */
  #reach(node: SimNetwork, address: Address, isWanted: () => boolean, arrived: () => void): void {
    const arrive = (): void => {
      if (!isWanted()) return;
      const owner = this.#listeners.get(address)?.peerId ?? this.#owners.get(address);
      if (owner !== undefined && this.#cannotMeet(node.peerId, owner)) this.#held.push(arrive);
      else arrived();
    };
    this.clock.after(this.drawDelayMs(), arrive);
  }

  /** What others announce that this one can hear. */
  announced(asker: SimNetwork): Place[] {
    return [...this.announcements].flatMap(([{ peerId, running }, addresses]) => {
      const isHeard = running && peerId !== asker.peerId && !this.#cannotMeet(peerId, asker.peerId);
      return isHeard ? addresses.map((address) => ({ address, peerId })) : [];
    });
  }

  connect(
    node: SimNetwork,
    peerId: PeerId | undefined,
    named: Address,
    finish: (result: DialResult) => void,
  ): Attempt {
    const address = this.#resolved(named);
    let wanted = true;
    let dialling: End | undefined;
    const answer = (result: DialResult): void => {
      this.clock.after(this.drawDelayMs(), () => {
        if (wanted) finish(result);
      });
    };
    this.#reach(
      node,
      address,
      () => wanted && node.running,
      () => {
        const target = this.#listeners.get(address);
        if (!target) {
          answer({ ok: false, code: 'refused', detail: `${address} refused the connection` });
        } else if (target.peerId !== (peerId ?? target.peerId) || target === node) {
          answer({ ok: false, code: 'wrong_peer', detail: `${target.peerId} is at ${address}` });
        } else {
          dialling = this.#accept(node, target, (end) => {
            if (!wanted) return;
            end.open = true;
            if (node.running) node.onOpened(end);
            else end.close('connection reset', 'abrupt');
            finish({ ok: true, peerId: target.peerId, isNew: true });
          });
          dialling.onClose.add(() => {
            if (wanted) finish({ ok: false, code: 'unreachable', detail: 'closed at once' });
          });
        }
      },
    );
    return {
      giveUp: () => {
        wanted = false;
        if (!dialling) return;
        // The other end is up already: it hears that this one gave up.
        dialling.open = true;
        dialling.close('given up', 'abrupt');
      },
    };
  }

  #accept(from: SimNetwork, target: SimNetwork, opened: (end: End) => void): End {
    const [dialling, accepting] = End.pair(this, from, hostPort(hostOf(from.address), 0), target);
    this.#ends.add(dialling).add(accepting);
    accepting.open = true;
    accepting.announce(() => {
      if (accepting.open) opened(dialling);
    });
    target.onOpened(accepting);
    return dialling;
  }

  #resolved(address: Address): Address {
    const host = hostOf(address);
    const known = this.hosts.get(host);
    return known === undefined ? address : address.replace(host, known);
  }

  probe(node: SimNetwork, named: Address, finish: (result: ProbeResult) => void): Attempt {
    const address = this.#resolved(named);
    let wanted = true;
    this.#reach(
      node,
      address,
      () => wanted,
      () => {
        const result = this.#listeners.has(address) ? 'accepted' : 'refused';
        this.clock.after(this.drawDelayMs(), () => {
          if (wanted) finish(result);
        });
      },
    );
    return {
      giveUp: () => {
        wanted = false;
      },
    };
  }

  /** To whom one hands news on: some at random, in place of gossipsub's mesh, whose choice is as good as that. */
  someOf(peers: readonly PeerId[], count: number): readonly PeerId[] {
    return peers.length <= count ? peers : pickDistinct(this.#random, peers, count);
  }

  /** Gossip: no order, and lost in a partition. */
  sendLossy(end: End, bytes: number, deliver: () => void): void {
    this.gossiped.frames += 1;
    this.gossiped.bytes += bytes;
    const from = end.node.peerId;
    const to = end.other.node.peerId;
    const { lost, doubled } = this.lossy;
    if (lost > 0 && randomFloat(this.#random) < lost) return;
    const copies = doubled > 0 && randomFloat(this.#random) < doubled ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.clock.after(this.drawDelayMs(from, to), () => {
        if (end.other.open && !this.separated(from, to)) deliver();
      });
    }
  }
}

const hostOf = (address: Address): string =>
  address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
