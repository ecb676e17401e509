/**
 * Why a member entered a status, as data and as a sentence: what happened, who saw it, and how this peer came to know.
 * Pure, and for people: nothing is decided by it.
 */
import type { PeerId } from '../ports/identity.ts';
import type { MemberFacts } from './member.ts';
import type { Evidence, MemberStatus } from './types.ts';

/** How a fact came here. own: this peer saw or did it itself. */
export type Via = 'own' | 'greeting' | 'news' | 'anti_entropy' | 'book';

export type CauseKind =
  | Evidence
  /** Its heartbeats are later than they were: a suspicion, never a verdict. */
  | 'phi'
  | 'admitted'
  | 'heard'
  | 'greeted'
  | 'refuted'
  | 'left'
  | 'removed'
  | 'revoked'
  /** Admitted by one that was revoked. */
  | 'void'
  | 'restarted'
  | 'other_store'
  | 'flapping';

export interface Cause {
  readonly kind: CauseKind;
  /** Who saw it or said so: of a verdict its author first, then those whose word it needed. */
  readonly seenBy: readonly PeerId[];
  readonly via: Via;
  readonly silenceMs?: number;
  readonly phi?: number;
  /** Of a restart. */
  readonly bootCount?: number;
  /** Of flapping: times that it came back, lately. */
  readonly returns?: number;
}

/** Why the facts about a member give it this status. */
export function causeOfStatus(
  peerId: PeerId,
  status: MemberStatus,
  { verdict, removal, bar }: MemberFacts,
  via: Via,
): Cause {
  switch (status) {
    case 'left':
      return { kind: 'left', seenBy: [peerId], via };
    case 'removed':
      if (bar) return { kind: bar.kind, seenBy: [bar.by], via };
      return { kind: 'removed', seenBy: removal ? [removal.signed.by] : [], via };
    case 'dead': {
      if (verdict === undefined) return { kind: 'silence', seenBy: [], via };
      const { evidence, seenBy = [], silenceMs } = verdict.statement;
      const heard = silenceMs === undefined ? {} : { silenceMs };
      return { kind: evidence, seenBy: [verdict.signed.by, ...seenBy], via, ...heard };
    }
    default:
      return { kind: via === 'greeting' ? 'greeted' : 'refuted', seenBy: [peerId], via };
  }
}

type NameOf = (peerId: PeerId) => string;

/** `C`, `C and D`, `C, D and E`. */
export function listOf(names: readonly string[]): string {
  const [last, ...others] = [...names].reverse();
  if (last === undefined || others.length === 0) return last ?? '';
  return `${others.reverse().join(', ')} and ${last}`;
}

export function sentenceOf(cause: Cause, nameOf: NameOf): string {
  const names = listOf(cause.seenBy.map(nameOf));
  const by = names === '' ? '' : ` by ${names}`;
  const seen = names === '' ? '' : `: seen by ${names}`;
  switch (cause.kind) {
    case 'crash':
      return `connection ended without goodbye, redial refused${seen}`;
    case 'silence':
      return `${silence(cause.silenceMs)}${by}`;
    case 'phi':
      return `heartbeats are late, phi ${(cause.phi ?? 0).toFixed(1)}${seen}`;
    case 'admitted':
      return names === '' ? 'admitted' : `admitted by ${names}`;
    case 'heard':
      return `heard again${by}`;
    case 'greeted':
      return 'it greeted this peer';
    case 'refuted':
      return 'it refuted, with a higher incarnation';
    case 'left':
      return 'it said that it leaves';
    case 'removed':
      return `removed${by}: its store does not come back`;
    case 'revoked':
      return `revoked${by}: it may not come in again`;
    case 'void':
      return `its admission is void: ${names} revoked the peer that had admitted it`;
    case 'restarted':
      return `restarted, boot ${cause.bootCount ?? 0}`;
    case 'other_store':
      return 'it came back with another store';
    case 'flapping':
      return `came back ${cause.returns ?? 0} times within minutes`;
  }
}

const silence = (ms: number | undefined): string =>
  ms === undefined ? 'not heard' : `not heard for ${(ms / 1_000).toFixed(1)} s`;
