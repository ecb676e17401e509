/** In which statuses peers saw the members, and by which ways each came there. */
import { MEMBER_STATUSES } from '../api/member.ts';
import type { Membership } from '../membership/membership.ts';
import { EVIDENCES, isMemberEdge, MEMBER_EDGES, type MemberEdge } from '../membership/statuses.ts';
import type { Member, MemberStatus } from '../membership/types.ts';

export const MEMBER_STATES: readonly string[] = MEMBER_STATUSES.flatMap((status) =>
  status === 'dead' ? EVIDENCES.map((evidence) => `dead(${evidence})`) : [status],
);

const name = (...[from, to]: MemberEdge): string => `${from} → ${to}`;

export const MEMBER_WAYS: readonly string[] = Object.entries(MEMBER_EDGES).flatMap(([from, ways]) =>
  ways.map((to) => name(from as MemberEdge[0], to)),
);

type Seen = Pick<Member, 'status' | 'storeId' | 'bootId' | 'incarnation'>;

/** Whether it has signed something since. A peer whose identity was put back begins its incarnations anew. */
const hasSpoken = (before: Seen, now: Seen): boolean =>
  before.bootId !== now.bootId ||
  before.storeId !== now.storeId ||
  before.incarnation !== now.incarnation;

export interface MemberNotes {
  readonly state: (state: string) => void;
  readonly edge: (edge: string) => void;
  readonly wrongEdge: (detail: string) => void;
}

/** Notes what this peer shows of each member, from its start on. */
export function watchMembers(
  membership: Pick<Membership, 'members' | 'onEvent' | 'self'>,
  notes: MemberNotes,
): void {
  const last = new Map<string, Seen>();
  const step = (...[from, to]: MemberEdge): void => {
    notes.edge(name(from, to));
    if (!isMemberEdge(from, to)) notes.wrongEdge(`a member went from ${from} to ${to}`);
  };
  const look = (member: Member, isNew: boolean): void => {
    const { peerId, status, deadBy } = member;
    const before = isNew ? undefined : last.get(peerId);
    // Not for every record of it: which one gave it the status that it has is what counts.
    if (before?.status === status) return;
    last.set(peerId, member);
    notes.state(status === 'dead' ? `dead(${deadBy})` : status);
    const from: MemberEdge[0] = before?.status ?? 'new';
    const isBack =
      before !== undefined && NOT_ALIVE.has(before.status) && hasSpoken(before, member);
    if (isBack && status !== 'alive') step(from, 'alive');
    step(isBack && status !== 'alive' ? 'alive' : from, status);
  };
  for (const member of membership.members()) look(member, true);
  membership.onEvent(({ type, member }) => look(member, type === 'joined'));
}

const NOT_ALIVE: ReadonlySet<MemberStatus> = new Set(['suspect', 'dead', 'left', 'removed']);
