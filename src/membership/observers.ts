/**
 * Who observes whom: the successors on K independently hashed rings of members, as in Rapid (Suresh
 * et al. 2018). Everybody computes the same answer from the same members; the cost per peer is
 * O(K), whatever the size of the mesh. In a mesh of K + 1 or fewer everybody observes everybody.
 */
import { hash52 } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';

/** Hashes that were reckoned before: a ring is made anew at each change of a member. */
export type Places = Map<string, number>;

export class ObserverRings {
  readonly #all: readonly PeerId[];
  readonly #rings: readonly (readonly PeerId[])[];
  readonly #ringCount: number;

  /** `places`: of the rings before, for most members are the same. */
  constructor(members: readonly PeerId[], ringCount: number, places: Places = new Map()) {
    this.#all = [...new Set(members)].sort();
    this.#ringCount = ringCount;
    this.#rings = this.#isSmall
      ? []
      : Array.from({ length: ringCount }, (_, ring) => hashedOrder(this.#all, ring, places));
  }

  get #isSmall(): boolean {
    return this.#all.length <= this.#ringCount + 1;
  }

  /**
   * The peers that observe `subject`, sorted; a subject that is no member yet is placed as if it
   * were one.
   */
  observersOf(subject: PeerId): PeerId[] {
    return this.#neighbours(subject, 1);
  }

  /** The peers that `observer` observes, sorted. */
  observedBy(observer: PeerId): PeerId[] {
    return this.#neighbours(observer, -1);
  }

  /** One of the two observes the other. */
  areNear(a: PeerId, b: PeerId): boolean {
    return this.observersOf(a).includes(b) || this.observersOf(b).includes(a);
  }

  #neighbours(peerId: PeerId, step: 1 | -1): PeerId[] {
    if (this.#isSmall) return this.#all.filter((other) => other !== peerId);
    const found = new Set<PeerId>();
    this.#rings.forEach((ring) => {
      const at = ring.indexOf(peerId);
      if (at < 0) return;
      const next = ring[(at + step + ring.length) % ring.length];
      if (next !== undefined && next !== peerId) found.add(next);
    });
    return [...found].sort();
  }
}

function hashedOrder(members: readonly PeerId[], ring: number, places: Places): PeerId[] {
  const placed = members.map((peerId) => ({ peerId, at: placeOf(peerId, ring, places) }));
  placed.sort((a, b) => a.at - b.at || (a.peerId < b.peerId ? -1 : 1));
  return placed.map(({ peerId }) => peerId);
}

function placeOf(peerId: PeerId, ring: number, places: Places): number {
  const key = `observer:${ring}:${peerId}`;
  const known = places.get(key);
  if (known !== undefined) return known;
  const place = hash52(key);
  places.set(key, place);
  return place;
}
