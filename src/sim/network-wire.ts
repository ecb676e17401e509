/**
 * A simulated connection: two ends, each with a lane per class in which frames stay in order while lanes run
 * past one another. A partition stalls lanes and closes nothing, as TCP does: what was sent arrives after the
 * heal.
 */
import type { Timer } from '../ports/clock.ts';
import { type Address, SEND_BUFFER_BYTES_MAX } from '../ports/network.ts';
import type { SimNetwork } from './network.ts';
import type { SimNetworkHub } from './network-hub.ts';

/** Frame classes, `admit`, and the two ends of a connection's life. */
type LaneName = 'open' | 'control' | 'data' | 'bulk' | 'admit' | 'close';

interface Parcel {
  readonly bytes: number;
  readonly dueMs: number;
  deliver(): void;
}

/** One class in one direction. */
class Lane {
  readonly #hub: SimNetworkHub;
  readonly #end: End;
  readonly #name: LaneName;
  readonly #parcels: Parcel[] = [];
  #timer: Timer | undefined;
  #stalled = false;
  #lastDueMs = 0;
  bytes = 0;

  constructor(hub: SimNetworkHub, end: End, name: LaneName) {
    this.#hub = hub;
    this.#end = end;
    this.#name = name;
  }

  get empty(): boolean {
    return this.#parcels.length === 0;
  }

  post(bytes: number, deliver: () => void): void {
    const { clock } = this.#hub;
    const dueMs = Math.max(this.#lastDueMs, clock.nowMs() + this.#drawDelayMs());
    this.#lastDueMs = dueMs;
    this.#parcels.push({ bytes, dueMs, deliver });
    this.bytes += bytes;
    if (this.#parcels.length === 1) this.#arm(dueMs - clock.nowMs());
  }

  #drawDelayMs(): number {
    return this.#hub.drawDelayMs(this.#end.node.peerId, this.#end.other.node.peerId);
  }

  #arm(delayMs: number): void {
    this.#timer = this.#hub.clock.after(delayMs, () => this.#fire());
  }

  #fire(): void {
    if (this.#hub.separated(this.#end.node.peerId, this.#end.other.node.peerId)) {
      this.#stalled = true;
      return;
    }
    if (this.#end.mustWait(this.#name)) {
      this.#arm(this.#hub.drawDelayMs());
      return;
    }
    const parcel = this.#parcels.shift();
    if (!parcel) return;
    this.bytes -= parcel.bytes;
    const next = this.#parcels[0];
    // Armed first: what is delivered may close the connection, which clears this lane.
    if (next) this.#arm(Math.max(0, next.dueMs - this.#hub.clock.nowMs()));
    parcel.deliver();
  }

  resume(): void {
    if (!this.#stalled) return;
    this.#stalled = false;
    if (this.#parcels.length > 0) this.#arm(this.#hub.drawDelayMs());
  }

  clear(): void {
    this.#timer?.cancel();
    this.#parcels.length = 0;
    this.bytes = 0;
    this.#stalled = false;
  }
}

export class End {
  readonly node: SimNetwork;
  readonly direction: 'inbound' | 'outbound';
  /** Of the other end. */
  readonly address: Address;
  /** Called when this end is closed from the other side. */
  readonly onClose = new Set<() => void>();
  /** Called when everything posted has arrived. */
  onEmpty: (() => void) | undefined;
  readonly #hub: SimNetworkHub;
  readonly #lanes = new Map<LaneName, Lane>();
  #other: End | undefined;
  open = false;
  /** This side forgot the connection without a word. */
  #vanished = false;

  private constructor(
    hub: SimNetworkHub,
    node: SimNetwork,
    direction: 'inbound' | 'outbound',
    address: Address,
  ) {
    this.#hub = hub;
    this.node = node;
    this.direction = direction;
    this.address = address;
  }

  /** A connection; the dialling end comes first. */
  static pair(
    hub: SimNetworkHub,
    from: SimNetwork,
    fromAddress: Address,
    to: SimNetwork,
  ): [End, End] {
    const dialling = new End(hub, from, 'outbound', to.address);
    const accepting = new End(hub, to, 'inbound', fromAddress);
    dialling.#other = accepting;
    accepting.#other = dialling;
    return [dialling, accepting];
  }

  get other(): End {
    if (!this.#other) throw new Error('an end without its other');
    return this.#other;
  }

  #lane(name: LaneName): Lane {
    const known = this.#lanes.get(name);
    if (known) return known;
    const lane = new Lane(this.#hub, this, name);
    this.#lanes.set(name, lane);
    return lane;
  }

  /** Nothing overtakes the news that the connection is up, and its end overtakes nothing. */
  mustWait(name: LaneName): boolean {
    if (name === 'open') return false;
    for (const [other, lane] of this.#lanes) {
      if (!lane.empty && other !== name && (name === 'close' || other === 'open')) return true;
    }
    return false;
  }

  hasRoom(name: LaneName, bytes: number): boolean {
    return this.#lane(name).bytes + bytes <= SEND_BUFFER_BYTES_MAX;
  }

  pendingBytes(): number {
    let bytes = 0;
    for (const lane of this.#lanes.values()) bytes += lane.bytes;
    return bytes;
  }

  /** Delivers to the other end, unless that is closed by then. */
  post(name: Exclude<LaneName, 'open' | 'close'>, bytes: number, deliver: () => void): void {
    this.#lane(name).post(bytes, () => {
      if (this.other.open) deliver();
      else if (this.other.#vanished) this.#reset();
      if (this.pendingBytes() === 0) this.onEmpty?.();
    });
  }

  onEmptySoon(call: () => void): void {
    this.#hub.clock.after(this.#hub.drawDelayMs(), call);
  }

  /** The accepting end is up and says so: the dialling end is up when it hears of it. */
  announce(opened: () => void): void {
    this.#lane('open').post(0, opened);
  }

  /**
   * Closes this end at once and the other when it hears of it: after everything that was sent (graceful), or
   * instead of it (abrupt).
   */
  close(error: string | undefined, manner: 'graceful' | 'abrupt'): void {
    if (!this.open) return;
    this.open = false;
    if (manner === 'abrupt') for (const lane of this.#lanes.values()) lane.clear();
    this.#lane('close').post(0, () => this.#closeOther(error));
  }

  /** This end is gone, as after a reset that never arrived: the other one hears of it when it sends. */
  vanish(): void {
    if (!this.open) return;
    this.open = false;
    this.#vanished = true;
    for (const lane of this.#lanes.values()) lane.clear();
    for (const call of [...this.onClose]) call();
    this.node.onEnded(this, 'connection reset');
  }

  /** What was sent met nobody. */
  #reset(): void {
    if (!this.open) return;
    this.open = false;
    this.#hub.closed(this);
    for (const lane of this.#lanes.values()) lane.clear();
    for (const call of [...this.onClose]) call();
    this.node.onEnded(this, 'connection reset');
  }

  #closeOther(error: string | undefined): void {
    this.#hub.closed(this);
    const { other } = this;
    for (const lane of other.#lanes.values()) lane.clear();
    const wasOpen = other.open;
    other.open = false;
    for (const call of [...other.onClose]) call();
    if (wasOpen) other.node.onEnded(other, error);
  }

  resume(): void {
    for (const lane of this.#lanes.values()) lane.resume();
  }
}
