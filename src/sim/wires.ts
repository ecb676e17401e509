/** What lies between the hosts of a world, for those who want it broken: by the numbers of the hosts. */
import type { PeerId } from '../ports/identity.ts';
import type { SimNetworkHub } from './network-hub.ts';
import type { TraceHash } from './trace.ts';

export class Wires {
  readonly #hub: SimNetworkHub;
  readonly #trace: TraceHash;
  readonly #peerId: (host: number) => PeerId;

  constructor(hub: SimNetworkHub, trace: TraceHash, peerId: (host: number) => PeerId) {
    this.#hub = hub;
    this.#trace = trace;
    this.#peerId = peerId;
  }

  /** No byte arrives in these directions until the heal. */
  block(directions: readonly (readonly [number, number])[]): void {
    this.#trace.add('wires block', [directions]);
    for (const [from, to] of directions) this.#hub.block(this.#peerId(from), this.#peerId(to));
  }

  /** Ends the connections between two hosts: for both, or for the first alone. */
  breakLink([a, b]: readonly [number, number], manner: 'reset' | 'half'): void {
    this.#trace.add('wires break', [a, b, manner]);
    this.#hub.breakLink(this.#peerId(a), this.#peerId(b), manner);
  }

  slow([from, to]: readonly [number, number], extraMs: number): void {
    this.#trace.add('wires slow', [from, to, extraMs]);
    this.#hub.slow(this.#peerId(from), this.#peerId(to), extraMs);
  }

  /** Of gossip: shares from 0 to 1. */
  lossy(lossy: { readonly lost?: number; readonly doubled?: number }): void {
    this.#trace.add('wires lossy', [lossy]);
    Object.assign(this.#hub.lossy, lossy);
  }

  /** Nothing is slow or lossy any more. */
  mend(): void {
    this.#trace.add('wires mend', []);
    this.#hub.quicken();
    Object.assign(this.#hub.lossy, { lost: 0, doubled: 0 });
  }
}
