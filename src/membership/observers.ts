/**
 * Who observes whom: the successors on K independently hashed rings of members, as in Rapid (Suresh
 * et al. 2018). Everybody computes the same answer from the same members; the cost per peer is
 * O(K), whatever the size of the mesh. In a mesh of K + 1 or fewer everybody observes everybody.
 */
import { hash52 } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';

/** Positions that are remembered: hashing those of a thousand members anew at each change would take 20 ms. */
const PLACES_MAX = 16_384;

/** Where a peer is on each ring; a pure function of its name, so that all meshes of a process may share it. */
const places = new Map<PeerId, Float64Array>();

function placesOf(peerId: PeerId, ringCount: number): Float64Array {
  const known = places.get(peerId);
  if (known !== undefined && known.length >= ringCount) return known;
  const at = Float64Array.from({ length: ringCount }, (_, ring) =>
    hash52(`observer:${ring}:${peerId}`),
  );
  if (places.size >= PLACES_MAX) places.clear();
  places.set(peerId, at);
  return at;
}

export class ObserverRings {
  readonly #all: ReadonlyMap<PeerId, Float64Array>;
  readonly #ringCount: number;
  readonly #isSmall: boolean;
  readonly #observers = new Map<PeerId, readonly PeerId[]>();
  readonly #observed = new Map<PeerId, readonly PeerId[]>();

  constructor(members: readonly PeerId[], ringCount: number) {
    const distinct = new Set(members);
    this.#ringCount = ringCount;
    this.#isSmall = distinct.size <= ringCount + 1;
    const placed = [...distinct].map((peerId): [PeerId, Float64Array] => [
      peerId,
      this.#isSmall ? new Float64Array(0) : placesOf(peerId, ringCount),
    ]);
    this.#all = new Map(placed);
  }

  /**
   * The peers that observe `subject`, sorted; a subject that is no member is placed as if it
   * were one.
   */
  observersOf(subject: PeerId): readonly PeerId[] {
    return this.#remembered(this.#observers, subject, 1);
  }

  /** The peers that `observer` observes, sorted. */
  observedBy(observer: PeerId): readonly PeerId[] {
    return this.#remembered(this.#observed, observer, -1);
  }

  #remembered(
    known: Map<PeerId, readonly PeerId[]>,
    peerId: PeerId,
    step: 1 | -1,
  ): readonly PeerId[] {
    const found = known.get(peerId) ?? this.#neighbours(peerId, step);
    known.set(peerId, found);
    return found;
  }

  /** One of the two observes the other. */
  areNear(a: PeerId, b: PeerId): boolean {
    return this.observersOf(a).includes(b) || this.observersOf(b).includes(a);
  }

  #neighbours(peerId: PeerId, step: 1 | -1): PeerId[] {
    if (this.#isSmall) return [...this.#all.keys()].filter((other) => other !== peerId).sort();
    const found = new Set<PeerId>();
    const own = placesOf(peerId, this.#ringCount);
    for (let ring = 0; ring < this.#ringCount; ring++) {
      const next = this.#next(peerId, own[ring] ?? 0, ring, step);
      if (next !== undefined) found.add(next);
    }
    return [...found].sort();
  }

  /** The nearest other member in one direction: one pass over all, which no change of the members makes dearer. */
  #next(peerId: PeerId, own: number, ring: number, step: 1 | -1): PeerId | undefined {
    let next: { readonly peerId: PeerId; readonly distance: number } | undefined;
    for (const [other, at] of this.#all) {
      if (other === peerId) continue;
      const ahead = ((at[ring] ?? 0) - own) * step;
      // Of two at one place the smaller name comes first; those behind come after all that are ahead.
      const isAhead = ahead > 0 || (ahead === 0 && other > peerId === step > 0);
      const distance = isAhead ? ahead : ahead + RING;
      if (next === undefined || distance < next.distance) next = { peerId: other, distance };
      else if (distance === next.distance && other < next.peerId === step > 0)
        next = { peerId: other, distance };
    }
    return next?.peerId;
  }
}

/** Once around. */
const RING = 2 ** 52;
