/**
 * The decisions of a partial mesh, pure: whether there are too many members to be linked with all, whom a peer cannot
 * do without, which links it closes, and how many of the lost it looks for.
 */
import type { PeerId } from '../ports/identity.ts';

/** One that was used less long ago is not closed: an answer may be on its way, or the next request. */
export const LINK_IDLE_MS_MIN = 5_000;
/** Peers that look for one that is lost within one `redial_max`: each by itself, so that nobody has to agree. */
const SEEKERS = 16;

export interface Tie {
  readonly peerId: PeerId;
  /** Since a request or an answer went over it, or it came up. */
  readonly idleMs: number;
  /** A request of ours waits for its answer. */
  readonly isBusy: boolean;
}

/** `others`: the members besides oneself that have not left; the dead count, for they may come back at any time. */
export const isPartial = (others: number, connectionsMax: number): boolean =>
  others > connectionsMax;

/**
 * The links to close, the least recently used first, until no more than the limit are left. Those of detection (`needed`)
 * stay whatever the limit says: a mesh in which nobody watches anybody is no mesh.
 */
export function whomToClose(
  ties: readonly Tie[],
  needed: ReadonlySet<PeerId>,
  connectionsMax: number,
): PeerId[] {
  const surplus = ties.length - connectionsMax;
  if (surplus <= 0) return [];
  return ties
    .filter(({ peerId, idleMs, isBusy }) => {
      return !needed.has(peerId) && !isBusy && idleMs >= LINK_IDLE_MS_MIN;
    })
    .sort((a, b) => b.idleMs - a.idleMs || (a.peerId < b.peerId ? -1 : 1))
    .slice(0, surplus)
    .map(({ peerId }) => peerId);
}

/**
 * How many of `lost` members to look for within `periodMs`, on the average: each of them is dialled by some SEEKERS
 * peers every `redialMs`, whatever the size of the mesh. All would be a flood to a host that has just come back.
 */
export const seekRate = (
  lost: number,
  others: number,
  periodMs: number,
  redialMs: number,
): number => lost * Math.min(1, SEEKERS / Math.max(1, others)) * Math.min(1, periodMs / redialMs);
