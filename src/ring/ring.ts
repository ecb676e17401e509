/**
 * The ring: an immutable value built from the members, the same at every peer whatever order they
 * came in. The preference list of a key are the stores met clockwise from its hash; stores on other
 * hosts come first, and among those stores in other zones, so that one machine or one rack is not
 * all the copies.
 */
import { digestOf, hash64 } from '../base/hash.ts';
import { TOKENS_PER_WEIGHT, tokensOf } from './tokens.ts';

export interface RingMember {
  readonly storeId: string;
  readonly peerId: string;
  readonly host: string;
  readonly zone?: string | undefined;
  /** Share of the load; 1 for an ordinary member. */
  readonly weight: number;
}

/**
 * Why a store is preferred. first: at the key itself. other_zone: the next on a host and in a zone without a copy.
 * other_host: every zone has one, the next host without. next: every host has one.
 */
export type PlaceReason = 'first' | 'other_zone' | 'other_host' | 'next';

export interface Placed {
  readonly member: RingMember;
  readonly reason: PlaceReason;
}

/** More members than the ring was made for are a mistake somewhere else. */
export const RING_MEMBERS_MAX = 10_000;

export class Ring {
  /** Sorted by storeId. */
  readonly members: readonly RingMember[];
  /** The same for equal rings, for comparison between peers. */
  readonly checksum: string;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  /** Index of the member at each point. */
  readonly #owner: Uint16Array;
  readonly #hostCount: number;
  readonly #zoneCount: number;

  constructor(members: readonly RingMember[]) {
    const byStore = new Map(members.map((member) => [member.storeId, member]));
    const compare = (a: RingMember, b: RingMember) => (a.storeId < b.storeId ? -1 : 1);
    this.members = [...byStore.values()].sort(compare).slice(0, RING_MEMBERS_MAX);
    this.checksum = digestOf(this.members.map(describe).join('\n'));
    this.#hostCount = new Set(this.members.map(({ host }) => host)).size;
    this.#zoneCount = new Set(this.members.map(zoneOf)).size;
    const points = pointsOf(this.checksum, this.members);
    this.#high = points.high;
    this.#low = points.low;
    this.#owner = points.owner;
  }

  /** Up to n stores, the most preferred first; fewer only if there are fewer members. */
  preference(key: string, n: number): string[] {
    return this.#pick(key, n).map(({ storeId }) => storeId);
  }

  /** The same, with why each stands where it does. */
  explain(key: string, n: number): Placed[] {
    const reasons: PlaceReason[] = [];
    const picked = this.#pick(key, n, reasons);
    return picked.map((member, i) => ({ member, reason: reasons[i] ?? 'next' }));
  }

  #pick(key: string, n: number, reasons?: PlaceReason[]): RingMember[] {
    const count = Math.min(n, this.members.length);
    if (count <= 0) return [];
    const walk = new Walk(this.members, this.#owner, this.#firstAtOrAfter(hash64(key)));
    const picked: RingMember[] = [];
    const hosts = new Set<string>();
    const zones = new Set<string>();
    const pick = (
      reason: PlaceReason,
      wanted: (member: RingMember) => boolean,
      exhausted: () => boolean,
    ): void => {
      for (let i = 0; picked.length < count && !exhausted(); i++) {
        const member = walk.at(i);
        if (!member) return;
        if (picked.includes(member) || !wanted(member)) continue;
        reasons?.push(picked.length === 0 ? 'first' : reason);
        picked.push(member);
        hosts.add(member.host);
        zones.add(zoneOf(member));
      }
    };
    pick(
      'other_zone',
      (member) => !hosts.has(member.host) && !zones.has(zoneOf(member)),
      () => zones.size === this.#zoneCount || hosts.size === this.#hostCount,
    );
    pick(
      'other_host',
      (member) => !hosts.has(member.host),
      () => hosts.size === this.#hostCount,
    );
    pick(
      'next',
      () => true,
      () => false,
    );
    return picked;
  }

  /** Of all keys, the part of which each member is the first, in the order of `members`. */
  shares(): number[] {
    const shares = this.members.map(() => 0);
    const points = this.#high.length;
    if (points === 0) return shares;
    const at = (i: number): number => (this.#high[i] ?? 0) + (this.#low[i] ?? 0) / 2 ** 32;
    // A key belongs to the first point at or after it: each point has the arc that ends in it.
    for (let i = 0; i < points; i++) {
      const arc = i === 0 ? at(0) + 2 ** 32 - at(points - 1) : at(i) - at(i - 1);
      const owner = this.#owner[i] ?? 0;
      shares[owner] = (shares[owner] ?? 0) + arc / 2 ** 32;
    }
    return shares;
  }

  /** Index of the first point at or after the hash; past the last point the ring begins again. */
  #firstAtOrAfter(hash: bigint): number {
    const high = Number(hash >> 32n);
    const low = Number(hash & 0xffff_ffffn);
    let from = 0;
    let to = this.#high.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const h = this.#high[middle] ?? 0;
      if (h < high || (h === high && (this.#low[middle] ?? 0) < low)) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

/**
 * Distinct members in the order of the ring from a point on, found as far as they are asked for.
 */
class Walk {
  readonly #members: readonly RingMember[];
  readonly #owner: Uint16Array;
  readonly #start: number;
  readonly #found: RingMember[] = [];
  readonly #seen = new Set<number>();
  #steps = 0;

  constructor(members: readonly RingMember[], owner: Uint16Array, start: number) {
    this.#members = members;
    this.#owner = owner;
    this.#start = start;
  }

  at(index: number): RingMember | undefined {
    while (this.#found.length <= index && this.#found.length < this.#members.length) {
      const owner = this.#owner[(this.#start + this.#steps) % this.#owner.length] ?? 0;
      this.#steps += 1;
      const member = this.#members[owner];
      if (this.#seen.has(owner) || !member) continue;
      this.#seen.add(owner);
      this.#found.push(member);
    }
    return this.#found[index];
  }
}

/** One without a zone stands for itself: its host is its zone. */
const zoneOf = ({ zone, host }: RingMember): string => (zone === undefined ? `host ${host}` : zone);

const describe = ({ storeId, peerId, host, zone, weight }: RingMember): string =>
  JSON.stringify([storeId, peerId, host, zone ?? null, weight, TOKENS_PER_WEIGHT]);

type Points = ReturnType<typeof layOut>;

/** Rings are made anew at every change of the members and mostly come back to one that was: as after a restart. */
const LAYOUTS_MAX = 16;
const layouts = new Map<string, Points>();

/** The points follow from the members alone, and nobody changes them. */
function pointsOf(checksum: string, members: readonly RingMember[]): Points {
  const points = layouts.get(checksum) ?? layOut(members);
  layouts.delete(checksum);
  layouts.set(checksum, points);
  for (const oldest of layouts.keys()) {
    if (layouts.size <= LAYOUTS_MAX) break;
    layouts.delete(oldest);
  }
  return points;
}

/** All points, sorted; equal ones by storeId, which is the order of the members. */
function layOut(members: readonly RingMember[]) {
  const all = members.map(({ storeId, weight }) => tokensOf(storeId, weight));
  const total = all.reduce((sum, { high }) => sum + high.length, 0);
  const high = new Uint32Array(total);
  const low = new Uint32Array(total);
  const owner = new Uint16Array(total);
  let at = 0;
  all.forEach((tokens, index) => {
    high.set(tokens.high, at);
    low.set(tokens.low, at);
    owner.fill(index, at, at + tokens.high.length);
    at += tokens.high.length;
  });
  const order = orderOf(high, (a, b) => (low[a] ?? 0) - (low[b] ?? 0) || a - b);
  const points = {
    high: new Uint32Array(total),
    low: new Uint32Array(total),
    owner: new Uint16Array(total),
  };
  order.forEach((from, i) => {
    points.high[i] = high[from] ?? 0;
    points.low[i] = low[from] ?? 0;
    points.owner[i] = owner[from] ?? 0;
  });
  return points;
}

/** Bits for the index of a point beside the 32 of its high half: together what a double holds exactly. */
const INDEX_BITS = 21;

/**
 * Indices of the points by their high halves, and by `tie` where those are equal. Numbers are sorted natively: a
 * comparison that is a function made the ring of 300 members a second of a standing daemon instead of half of one.
 */
function orderOf(high: Uint32Array, tie: (a: number, b: number) => number): Uint32Array {
  const compare = (a: number, b: number): number => (high[a] ?? 0) - (high[b] ?? 0) || tie(a, b);
  if (high.length > 2 ** INDEX_BITS) return Uint32Array.from(high, (_, i) => i).sort(compare);
  // Loops: `from` and `map` with a function cost as much as the sort.
  const keys = new Float64Array(high.length);
  for (let i = 0; i < keys.length; i++) keys[i] = (high[i] ?? 0) * 2 ** INDEX_BITS + i;
  keys.sort();
  const order = new Uint32Array(keys.length);
  for (let i = 0; i < keys.length; i++) order[i] = (keys[i] ?? 0) % 2 ** INDEX_BITS;
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && high[order[to] ?? 0] === high[order[from] ?? 0]) to += 1;
    if (to - from > 1) order.subarray(from, to).sort(tie);
    from = to;
  }
  return order;
}
