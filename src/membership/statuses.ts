/**
 * The ways between the statuses in which one peer sees a member, as a table. A member that speaks again, in a later
 * turn, was alive in between, whatever is known of it by then: such a change is two steps.
 *
 * The simulator holds each step against it, and a batch of worlds must take every edge.
 */
import type { Evidence, MemberStatus } from './types.ts';

/**
 * `new`: this peer has not heard of it yet, or has just started. Suspicion is this peer's own, and of what lives alone;
 * what others concluded comes without it. A status that is missing here does not compile.
 */
export const MEMBER_EDGES = {
  new: ['alive', 'dead', 'left', 'removed'],
  alive: ['suspect', 'dead', 'left', 'removed'],
  suspect: ['alive', 'dead', 'removed'],
  dead: ['alive', 'removed'],
  left: ['alive', 'removed'],
  removed: ['alive'],
} as const satisfies Readonly<Record<'new' | MemberStatus, readonly MemberStatus[]>>;

export const EVIDENCES = ['crash', 'silence'] as const satisfies readonly Evidence[];

export type MemberEdge = readonly [keyof typeof MEMBER_EDGES, MemberStatus];

export const isMemberEdge = (...[from, to]: MemberEdge): boolean =>
  (MEMBER_EDGES[from] as readonly MemberStatus[]).includes(to);
