/**
 * Whose heartbeats this peer may expect: those whom it observes. The silence of any other member says nothing, however
 * long; whether this peer itself is out of touch is told by the silence of those that it observes.
 */
import type { PeerId } from '../ports/identity.ts';
import type { ObserverRings } from './observers.ts';

export class Expected {
  #peers: ReadonlySet<PeerId> = new Set();
  #touchMs: number;

  constructor(nowMs: number) {
    this.#touchMs = nowMs;
  }

  /** Others take part now; answers those that are expected from now on. */
  renew(rings: ObserverRings, self: PeerId): PeerId[] {
    const before = this.#peers;
    this.#peers = new Set(rings.observedBy(self));
    return [...this.#peers].filter((peerId) => !before.has(peerId));
  }

  has(peerId: PeerId): boolean {
    return this.#peers.has(peerId);
  }

  /** A silence has ended, by a word or by a verdict: what was sent meanwhile may come only now. */
  gap(nowMs: number): void {
    this.#touchMs = nowMs;
  }

  /** For how long none of those expected has been silent for `pauseMs`; −1: one is now. */
  inTouchForMs(silenceOf: (peerId: PeerId) => number, pauseMs: number, nowMs: number): number {
    for (const peerId of this.#peers) if (silenceOf(peerId) >= pauseMs) return -1;
    return nowMs - this.#touchMs;
  }
}
