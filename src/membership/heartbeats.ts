/** What a peer says to its observers, at regular intervals: that it is there, and what it has to do. */
import type { PeerId } from '../ports/identity.ts';
import { LOAD_EVERY_BEATS } from './limits.ts';
import type { Links } from './links.ts';
import { isSameLoad } from './roster.ts';
import type { Load } from './types.ts';

export class Heartbeats {
  readonly #links: Links;
  /** As each link was told it last. */
  readonly #told = new Map<PeerId, Load>();
  #count = 0;
  #load: Load | undefined;

  constructor(links: Links) {
    this.#links = links;
  }

  set load(load: Load) {
    if (this.#load === undefined || !isSameLoad(this.#load, load)) this.#load = load;
  }

  /** Whoever is at the other end was told nothing yet, or has forgotten it. */
  forget(peerId: PeerId): void {
    this.#told.delete(peerId);
  }

  /** The load goes along when it is another one, and now and then: it is most of the frame. */
  beat(observers: readonly PeerId[]): void {
    this.#count += 1;
    const bare = { type: 'heartbeat', seq: this.#count, load: undefined } as const;
    const whole = { ...bare, load: this.#load };
    const isDue = this.#count % LOAD_EVERY_BEATS === 0;
    for (const peerId of observers) {
      const isTold = this.#load === undefined || this.#told.get(peerId) === this.#load;
      const sent = this.#links.send(peerId, isTold && !isDue ? bare : whole);
      if (sent === 'sent' && this.#load) this.#told.set(peerId, this.#load);
    }
  }
}
