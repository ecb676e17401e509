/**
 * The member rule. What is known of one PeerId is two facts: its newest record, signed by itself,
 * and the newest verdict on it. Each is replaced only by one that supersedes it, so that a view is
 * a join: whatever order, batch or repetition facts come in, the same facts give the same view.
 * The removal of the store that its record names, if there is one, comes on top.
 * Status is derived, never stored.
 */
import { digestOf } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Fact, Removal, SelfRecord, Turn, Verdict } from './fact.ts';
import type { Evidence } from './types.ts';

export interface MemberFacts {
  readonly record: Fact<SelfRecord>;
  readonly verdict: Fact<Verdict> | undefined;
  /** Of the store that the record names. */
  readonly removal?: Fact<Removal> | undefined;
  /** Revoked, or admitted by one that was: no member any more, with whatever store it has. */
  readonly bar?: { readonly kind: 'revoked' | 'void'; readonly by: PeerId } | undefined;
}

export const compareTurns = (a: Turn, b: Turn): number =>
  a.epoch - b.epoch || a.incarnation - b.incarnation;

/** A fact's content as text that sorts the same everywhere: the last resort of a total order. */
export const contentKey = (fact: Fact): string => digestOf(fact.signed.payload) + fact.signed.by;

function compareFacts(a: Fact<SelfRecord | Verdict>, b: Fact<SelfRecord | Verdict>): number {
  const turns = compareTurns(a.statement, b.statement);
  if (turns !== 0) return turns;
  const weights = weightOf(a.statement) - weightOf(b.statement);
  if (weights !== 0) return weights;
  const keyA = contentKey(a);
  const keyB = contentKey(b);
  return keyA < keyB ? -1 : keyA > keyB ? 1 : 0;
}

/**
 * In the same turn: a crash says more than a silence; two records of one turn are a cloned key, and
 * `left` wins.
 */
function weightOf(statement: SelfRecord | Verdict): number {
  if (statement.kind === 'verdict') return statement.evidence === 'crash' ? 1 : 0;
  return statement.left ? 1 : 0;
}

/**
 * Whether `incoming` takes the place of `current`, a fact of the same kind about the same PeerId.
 */
export const supersedes = <S extends SelfRecord | Verdict>(
  current: Fact<S> | undefined,
  incoming: Fact<S>,
): boolean => current === undefined || compareFacts(current, incoming) < 0;

/** The join of two states of one member; what was removed is known by store, and added by the view. */
export function joinMember(a: MemberFacts, b: MemberFacts): MemberFacts {
  const record = supersedes(a.record, b.record) ? b.record : a.record;
  const verdict = b.verdict && supersedes(a.verdict, b.verdict) ? b.verdict : a.verdict;
  return { record, verdict };
}

export type LastingStatus =
  | { readonly status: 'alive' }
  | { readonly status: 'dead'; readonly deadBy: Evidence }
  | { readonly status: 'left' }
  | { readonly status: 'removed'; readonly deadBy: Evidence | undefined };

/**
 * Suspicion is one peer's own opinion and comes on top. A verdict counts against the turn it names
 * and older ones.
 */
export function statusOf({ record, verdict, removal, bar }: MemberFacts): LastingStatus {
  const isCondemned = verdict && compareTurns(record.statement, verdict.statement) <= 0;
  const deadBy = isCondemned ? verdict.statement.evidence : undefined;
  if (removal || bar) return { status: 'removed', deadBy };
  if (record.statement.left) return { status: 'left' };
  return deadBy === undefined ? { status: 'alive' } : { status: 'dead', deadBy };
}

/** Gone by its own word or by an operator's (forget, revoke): nobody looks for it. */
export const isGone = (facts: MemberFacts): boolean => {
  const { status } = statusOf(facts);
  return status === 'left' || status === 'removed';
};

/** Those that take part in observing. */
export function livingIn(members: Iterable<readonly [PeerId, MemberFacts]>): PeerId[] {
  const living: PeerId[] = [];
  for (const [peerId, facts] of members)
    if (statusOf(facts).status === 'alive') living.push(peerId);
  return living;
}
