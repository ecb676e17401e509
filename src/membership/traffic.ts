/**
 * What goes over the network: a Network port around the real one that counts frames and their bytes, by class and by
 * peer. Counters are plain integers; a rate is the difference to the oldest of a few samples, which the ticks of
 * membership take, so that no frame asks for the time. Bytes are those of frames: encryption, TCP and what gossipsub
 * says for itself are not in them.
 */
import { Refused } from '../base/refused.ts';
import type { PeerId } from '../ports/identity.ts';
import type { FrameClass, Network, NetworkHandlers } from '../ports/network.ts';

/** frames sent, bytes sent, frames received, bytes received */
const WIDTH = 4;
const SAMPLE_MS = 5_000;
/** With SAMPLE_MS: rates are those of the last minute. */
const SAMPLES_MAX = 12;
/** Peers counted one by one: links are fewer (192), and one without a link is let go after the window. */
const PEERS_MAX = 512;

export const TRAFFIC_CLASSES = ['control', 'data', 'bulk', 'admit', 'news'] as const;
export type TrafficClass = (typeof TRAFFIC_CLASSES)[number];

export interface Flow {
  readonly framesSent: number;
  readonly bytesSent: number;
  readonly framesReceived: number;
  readonly bytesReceived: number;
}

/** Of each second of the window. */
export interface Rates {
  readonly windowMs: number;
  readonly classes: Readonly<Record<TrafficClass, Flow>>;
  /** Without news, whose senders are not known. */
  readonly peers: ReadonlyMap<PeerId, Flow>;
  /** Since the start. */
  readonly totals: Readonly<Record<TrafficClass, Flow>>;
}

class Counter {
  readonly now = new Float64Array(WIDTH);
  /** One row a sample, in a ring. */
  readonly #samples = new Float64Array(WIDTH * SAMPLES_MAX);

  sent(bytes: number): void {
    this.now[0] = (this.now[0] ?? 0) + 1;
    this.now[1] = (this.now[1] ?? 0) + bytes;
  }

  received(bytes: number): void {
    this.now[2] = (this.now[2] ?? 0) + 1;
    this.now[3] = (this.now[3] ?? 0) + bytes;
  }

  sample(slot: number): void {
    this.#samples.set(this.now, slot * WIDTH);
  }

  since(slot: number, seconds: number): Flow {
    const at = (i: number): number => {
      const more = (this.now[i] ?? 0) - (this.#samples[slot * WIDTH + i] ?? 0);
      return seconds <= 0 ? 0 : more / seconds;
    };
    return flowOf(at);
  }

  /** Nothing has moved since that sample. */
  isStill(slot: number): boolean {
    return this.now.every((value, i) => value === this.#samples[slot * WIDTH + i]);
  }

  total(): Flow {
    return flowOf((i) => this.now[i] ?? 0);
  }
}

const flowOf = (at: (i: number) => number): Flow => ({
  framesSent: at(0),
  bytesSent: at(1),
  framesReceived: at(2),
  bytesReceived: at(3),
});

export class Traffic {
  /** What did not come that far. */
  readonly refused = new Refused();
  readonly #classes: Readonly<Record<TrafficClass, Counter>> = {
    control: new Counter(),
    data: new Counter(),
    bulk: new Counter(),
    admit: new Counter(),
    news: new Counter(),
  };
  readonly #peers = new Map<PeerId, Counter>();
  /** When each sample was taken; a ring. */
  readonly #atMs: number[] = [];
  #samples = 0;

  /** A counter for the peer, while there is room. */
  #peer(peerId: PeerId): Counter | undefined {
    const known = this.#peers.get(peerId);
    if (known || this.#peers.size >= PEERS_MAX) return known;
    const fresh = new Counter();
    this.#peers.set(peerId, fresh);
    return fresh;
  }

  sent(kind: TrafficClass, bytes: number, to?: PeerId): void {
    this.#classes[kind].sent(bytes);
    if (to !== undefined) this.#peer(to)?.sent(bytes);
  }

  received(kind: TrafficClass, bytes: number, from?: PeerId): void {
    this.#classes[kind].received(bytes);
    if (from !== undefined) this.#peer(from)?.received(bytes);
  }

  /** Takes a sample when it is time for one: called by a timer that runs anyway. */
  tick(nowMs: number): void {
    const last = this.#atMs[(this.#samples - 1) % SAMPLES_MAX];
    if (last !== undefined && nowMs - last < SAMPLE_MS) return;
    const slot = this.#samples % SAMPLES_MAX;
    const isWhole = this.#samples >= SAMPLES_MAX;
    for (const [peerId, counter] of this.#peers) {
      // The sample that is overwritten is the oldest one.
      if (isWhole && counter.isStill(slot)) this.#peers.delete(peerId);
      else counter.sample(slot);
    }
    for (const counter of Object.values(this.#classes)) counter.sample(slot);
    this.#atMs[slot] = nowMs;
    this.#samples += 1;
  }

  rates(nowMs: number): Rates {
    const oldest = this.#samples < SAMPLES_MAX ? 0 : this.#samples % SAMPLES_MAX;
    const windowMs = this.#samples === 0 ? 0 : nowMs - (this.#atMs[oldest] ?? nowMs);
    const rate = (counter: Counter): Flow => counter.since(oldest, windowMs / 1_000);
    const classes = this.#each((counter) => rate(counter));
    const peers = new Map([...this.#peers].map(([peerId, counter]) => [peerId, rate(counter)]));
    return { windowMs, classes, peers, totals: this.#each((counter) => counter.total()) };
  }

  #each(of: (counter: Counter) => Flow): Record<TrafficClass, Flow> {
    const { control, data, bulk, admit, news } = this.#classes;
    return {
      control: of(control),
      data: of(data),
      bulk: of(bulk),
      admit: of(admit),
      news: of(news),
    };
  }
}

/** The same network, counted. */
export function metered(network: Network, traffic: Traffic): Network {
  const count = (handlers: NetworkHandlers): NetworkHandlers => ({
    opened: (link) => handlers.opened(link),
    closed: (peerId, error) => handlers.closed(peerId, error),
    frame: (from: PeerId, frameClass: FrameClass, bytes: Uint8Array) => {
      traffic.received(frameClass, bytes.length, from);
      handlers.frame(from, frameClass, bytes);
    },
    admitRequest: async (from, bytes) => {
      traffic.received('admit', bytes.length);
      const reply = await handlers.admitRequest(from, bytes);
      if (reply) traffic.sent('admit', reply.length);
      return reply;
    },
    news: (bytes) => {
      traffic.received('news', bytes.length);
      handlers.news(bytes);
    },
    refused: (reason) => traffic.refused.count(reason),
  });
  return {
    start: (handlers, listen) => network.start(count(handlers), listen),
    dial: (peerId, address, timeoutMs) => network.dial(peerId, address, timeoutMs),
    announce: (addresses) => network.announce(addresses),
    resolve: (...args) => network.resolve(...args),
    probe: (address, timeoutMs) => network.probe(address, timeoutMs),
    admitCall: async (peerId, bytes, timeoutMs) => {
      traffic.sent('admit', bytes.length);
      const reply = await network.admitCall(peerId, bytes, timeoutMs);
      if (reply) traffic.received('admit', reply.length);
      return reply;
    },
    admit: (peerId) => network.admit(peerId),
    send: (peerId, frameClass, bytes) => {
      const result = network.send(peerId, frameClass, bytes);
      if (result === 'sent') traffic.sent(frameClass, bytes.length, peerId);
      return result;
    },
    disconnect: (peerId) => network.disconnect(peerId),
    publish: (bytes) => {
      traffic.sent('news', bytes.length);
      network.publish(bytes);
    },
    links: () => network.links(),
    stop: () => network.stop(),
  };
}
