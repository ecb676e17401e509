/**
 * The Network port, simulated: one hub per world, delays drawn from the world's seed, faults on demand. What a
 * connection does with bytes is in network-wire.ts. Handlers are called from clock timers alone, and each
 * call of the port and each event that reaches a handler is told to `trace`, with its bytes.
 */

import { digestOf } from '../base/hash.ts';
import { type Clock, sleep, type Timer } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import {
  ADMIT_FRAME_BYTES_MAX,
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
  type Place,
  type SendResult,
} from '../ports/network.ts';
import { copyOf } from './copy-of.ts';
import type { ProbeResult, SimNetworkHub } from './network-hub.ts';
import type { End } from './network-wire.ts';

// The same limits as the real twin has.
const STRANGER_MS_MAX = 10_000;
const GOODBYE_MS_MAX = 1_000;
const ADMIT_SERVE_MS_MAX = 5_000;

/** Of gossipsub: to so many a piece of news is handed on. */
const GOSSIP_DEGREE = 6;
const NEWS_SEEN_MAX = 4_096;

/** `running`: handlers are called. `stopped`, `crashed`: never again. */
type Phase = 'new' | 'running' | 'stopped' | 'crashed';

interface SimLink {
  readonly info: LinkInfo;
  readonly ends: Set<End>;
  strangerTimer: Timer | undefined;
  disconnecting: Promise<void> | undefined;
}

const STOPPED: DialResult = { ok: false, code: 'stopped', detail: 'the network is stopped' };

export class SimNetwork implements Network {
  readonly peerId: PeerId;
  readonly #hub: SimNetworkHub;
  readonly #clock: Clock;
  readonly #links = new Map<PeerId, SimLink>();
  readonly #members = new Set<PeerId>();
  readonly #seenNews = new Set<string>();
  readonly #pendingDials = new Set<(result: DialResult) => void>();
  #handlers: NetworkHandlers | undefined;
  #phase: Phase = 'new';
  #address: Address = '';

  constructor(hub: SimNetworkHub, clock: Clock, identity: Identity) {
    this.#hub = hub;
    this.#clock = clock;
    this.peerId = identity.peerId;
  }

  /** Where it listens; the empty text when it does not. */
  get address(): Address {
    return this.#address;
  }

  get running(): boolean {
    return this.#phase === 'running';
  }

  start(
    handlers: NetworkHandlers,
    listen: { readonly host: string; readonly port: number },
  ): Promise<ListenResult> {
    if (this.#phase !== 'new') throw new Error('the network was started before');
    this.#hub.trace('network.start', this.peerId, listen.host, listen.port);
    const result = this.#hub.listen(this, listen);
    if (result.ok) {
      this.#phase = 'running';
      this.#handlers = handlers;
      this.#address = result.address;
      return Promise.resolve({ ok: true, port: result.port });
    }
    return Promise.resolve(result);
  }

  // Connections and links; the hub calls the first two from timers.

  onOpened(end: End): void {
    const peerId = end.other.node.peerId;
    const known = this.#links.get(peerId);
    if (known && known.disconnecting !== undefined) {
      end.close(undefined, 'abrupt');
      return;
    }
    const { address, direction } = end;
    const link: SimLink = known ?? {
      info: { peerId, address, direction },
      ends: new Set(),
      strangerTimer: undefined,
      disconnecting: undefined,
    };
    link.ends.add(end);
    if (known) return;
    this.#links.set(peerId, link);
    if (!this.#members.has(peerId)) {
      link.strangerTimer = this.#clock.after(STRANGER_MS_MAX, () => {
        for (const open of [...link.ends]) this.#cut(open, 'not admitted in time');
      });
    }
    this.#call('network.opened', [peerId, address, direction], (to) => to.opened(link.info));
  }

  /** This end is closed, by whomever: the link may be over. */
  onEnded(end: End, error: string | undefined): void {
    const peerId = end.other.node.peerId;
    const link = this.#links.get(peerId);
    if (!link?.ends.delete(end) || link.ends.size > 0) return;
    link.strangerTimer?.cancel();
    this.#links.delete(peerId);
    this.#call('network.closed', [peerId, error], (to) => to.closed(peerId, error));
  }

  #cut(end: End, error: string): void {
    end.close(error, 'abrupt');
    this.onEnded(end, error);
  }

  #call(event: string, args: readonly unknown[], call: (handlers: NetworkHandlers) => void): void {
    if (this.#phase !== 'running' || !this.#handlers) return;
    this.#hub.trace(event, this.peerId, ...args);
    call(this.#handlers);
  }

  dial(peerId: PeerId | undefined, address: Address, timeoutMs: number): Promise<DialResult> {
    this.#hub.trace('network.dial', this.peerId, peerId, address, timeoutMs);
    if (this.#phase !== 'running') return Promise.resolve(STOPPED);
    const link = peerId === undefined ? undefined : this.#links.get(peerId);
    if (peerId !== undefined && link && link.disconnecting === undefined)
      return Promise.resolve({ ok: true, peerId, isNew: false });
    return new Promise((resolve) => {
      const finish = (result: DialResult) => {
        timer.cancel();
        if (!this.#pendingDials.delete(finish) || this.#phase === 'crashed') return;
        this.#hub.trace('network.dialed', this.peerId, peerId, result.ok || result.code);
        resolve(result);
      };
      this.#pendingDials.add(finish);
      const detail = `no connection within ${timeoutMs} ms`;
      const timer = this.#clock.after(timeoutMs, () => {
        attempt.giveUp();
        finish({ ok: false, code: 'timeout', detail });
      });
      const attempt = this.#hub.connect(this, peerId, address, (result) => finish(result));
    });
  }

  announce(addresses: readonly Address[]): void {
    this.#hub.trace('network.announce', this.peerId, addresses);
    this.#hub.announcements.set(this, addresses);
  }

  async resolve(kind: NameKind, name: string, timeoutMs: number): Promise<readonly Place[]> {
    this.#hub.trace('network.resolve', this.peerId, kind, name, timeoutMs);
    await sleep(this.#clock, 2 * this.#hub.drawDelayMs());
    if (kind === 'mdns') return this.#hub.announced(this);
    return this.#hub.names.get(`${kind}:${name}`) ?? [];
  }

  probe(address: Address, timeoutMs: number): Promise<ProbeResult> {
    this.#hub.trace('network.probe', this.peerId, address, timeoutMs);
    return new Promise((resolve) => {
      const finish = (result: ProbeResult) => {
        timer.cancel();
        if (this.#phase === 'crashed') return;
        this.#hub.trace('network.probed', this.peerId, address, result);
        resolve(result);
      };
      const timer = this.#clock.after(timeoutMs, () => {
        attempt.giveUp();
        finish('timeout');
      });
      const attempt = this.#hub.probe(this, address, finish);
    });
  }

  // Frames

  #openEnd(peerId: PeerId): End | undefined {
    const link = this.#links.get(peerId);
    if (!link || link.disconnecting !== undefined || this.#phase !== 'running') return undefined;
    for (const end of link.ends) return end;
    return undefined;
  }

  send(peerId: PeerId, frameClass: FrameClass, bytes: Uint8Array): SendResult {
    if (bytes.length > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${bytes.length} bytes`);
    const result = this.#send(peerId, frameClass, bytes);
    this.#hub.trace('network.send', this.peerId, peerId, frameClass, bytes, result);
    return result;
  }

  #send(peerId: PeerId, frameClass: FrameClass, bytes: Uint8Array): SendResult {
    const end = this.#openEnd(peerId);
    if (!end) return 'gone';
    if (!end.hasRoom(frameClass, bytes.length)) return 'full';
    // A copy: two peers of one process must not share memory, as two hosts do not.
    const copy = this.#hub.maybeCorrupt(this.peerId, peerId, frameClass, copyOf(bytes));
    end.post(frameClass, copy.length, () => end.other.node.onFrame(this.peerId, frameClass, copy));
    return 'sent';
  }

  onFrame(from: PeerId, frameClass: FrameClass, bytes: Uint8Array): void {
    if (!this.#members.has(from)) return;
    this.#call('network.frame', [from, frameClass, bytes], (to) =>
      to.frame(from, frameClass, bytes),
    );
  }

  publish(bytes: Uint8Array): void {
    if (bytes.length > NEWS_BYTES_MAX) throw new RangeError(`news of ${bytes.length} bytes`);
    this.#hub.trace('network.publish', this.peerId, bytes);
    if (this.#hub.isGossipPassedOn) this.#isSeen(bytes);
    this.#spread(bytes, [...this.#links.keys()]);
  }

  #spread(bytes: Uint8Array, peers: readonly PeerId[]): void {
    for (const peerId of peers) {
      const end = this.#members.has(peerId) ? this.#openEnd(peerId) : undefined;
      if (!end) continue;
      const copy = copyOf(bytes);
      this.#hub.sendLossy(end, copy.length, () => end.other.node.onNews(this.peerId, copy));
    }
  }

  /** By content, as gossipsub's message id here; what was seen long ago would be passed on again. */
  #isSeen(bytes: Uint8Array): boolean {
    const id = digestOf(bytes);
    if (this.#seenNews.has(id)) return true;
    this.#seenNews.add(id);
    for (const oldest of this.#seenNews) {
      if (this.#seenNews.size <= NEWS_SEEN_MAX) break;
      this.#seenNews.delete(oldest);
    }
    return false;
  }

  onNews(from: PeerId, bytes: Uint8Array): void {
    if (!this.#members.has(from) || this.#phase !== 'running') return;
    if (this.#hub.isGossipPassedOn) {
      if (this.#isSeen(bytes)) return;
      const others = [...this.#links.keys()].filter((peerId) => peerId !== from);
      this.#spread(bytes, this.#hub.someOf(others, GOSSIP_DEGREE));
    }
    this.#call('network.news', [bytes], (to) => to.news(bytes));
  }

  // Admission

  admitCall(peerId: PeerId, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array | undefined> {
    this.#hub.trace('network.admitCall', this.peerId, peerId, bytes, timeoutMs);
    const end = this.#openEnd(peerId);
    if (!end || bytes.length > ADMIT_FRAME_BYTES_MAX) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const finish = (reply: Uint8Array | undefined) => {
        timer.cancel();
        end.onClose.delete(lost);
        if (this.#phase === 'crashed') return;
        this.#hub.trace('network.admitReply', this.peerId, peerId, reply);
        resolve(reply);
      };
      const lost = () => finish(undefined);
      const timer = this.#clock.after(Math.min(timeoutMs, ADMIT_SERVE_MS_MAX), lost);
      end.onClose.add(lost);
      const copy = copyOf(bytes);
      end.post('admit', copy.length, () => end.other.node.onAdmitRequest(end.other, copy, finish));
    });
  }

  onAdmitRequest(
    end: End,
    bytes: Uint8Array,
    reply: (bytes: Uint8Array | undefined) => void,
  ): void {
    const from = end.other.node.peerId;
    this.#call('network.admitRequest', [from, bytes], (to) => {
      const answer = (bytesOut: Uint8Array | undefined): void => {
        if (!end.open || this.#phase !== 'running') return;
        const copy = bytesOut && copyOf(bytesOut);
        end.post('admit', copy?.length ?? 0, () => reply(copy));
      };
      // A handler that fails resets the stream, as one that refuses does.
      to.admitRequest(from, bytes).then(answer, () => answer(undefined));
    });
  }

  admit(peerId: PeerId): void {
    this.#hub.trace('network.admit', this.peerId, peerId);
    this.#members.add(peerId);
    const link = this.#links.get(peerId);
    link?.strangerTimer?.cancel();
  }

  // Ends

  async disconnect(peerId: PeerId): Promise<void> {
    this.#hub.trace('network.disconnect', this.peerId, peerId);
    this.#members.delete(peerId);
    const link = this.#links.get(peerId);
    if (link) await this.#disconnect(link);
  }

  #disconnect(link: SimLink): Promise<void> {
    link.disconnecting ??= Promise.all([...link.ends].map((end) => this.#finish(end))).then(
      () => undefined,
    );
    return link.disconnecting;
  }

  /** Closes once what was sent has arrived, after GOODBYE_MS_MAX in any case. */
  #finish(end: End): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        timer.cancel();
        end.onClose.delete(finish);
        end.onEmpty = undefined;
        if (end.open) {
          end.close(undefined, 'graceful');
          this.onEnded(end, undefined);
        }
        resolve();
      };
      const timer = this.#clock.after(GOODBYE_MS_MAX, finish);
      end.onClose.add(finish);
      // Never at once: handlers are not called from inside a call of the port.
      if (end.pendingBytes() > 0) end.onEmpty = finish;
      else end.onEmptySoon(finish);
    });
  }

  links(): LinkInfo[] {
    return [...this.#links.values()].map(({ info }) => info);
  }

  async stop(): Promise<void> {
    this.#hub.trace('network.stop', this.peerId);
    if (this.#phase === 'crashed') return;
    this.#phase = 'stopped';
    this.#hub.forget(this);
    for (const finish of [...this.#pendingDials]) finish(STOPPED);
    await Promise.all([...this.#links.values()].map((link) => this.#disconnect(link)));
  }

  /** The process is gone: called by the hub. */
  crash(manner: 'graceful' | 'abrupt'): void {
    this.#phase = 'crashed';
    for (const link of this.#links.values()) {
      link.strangerTimer?.cancel();
      for (const end of link.ends) end.close('connection reset', manner);
    }
    this.#links.clear();
  }
}
