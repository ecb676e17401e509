/** What the checks of `covey doctor` share: what they are given, and how they speak. */
import type { Check } from '../api/methods.ts';
import { listOf } from '../membership/cause.ts';
import type { Member } from '../membership/types.ts';
import type { Report } from './checkup.ts';

export interface Answer {
  readonly peerId: string;
  readonly report: Report;
  /** Its wall clock less ours, give or take `doubtMs`. */
  readonly skewMs: number;
  readonly doubtMs: number;
}

export interface Silent {
  readonly peerId: string;
  readonly name: string;
  readonly why: string;
}

export interface Case {
  readonly self: string;
  readonly nowWallMs: number;
  readonly copies: number;
  readonly copiesRequired: number;
  readonly members: readonly Member[];
  /** This peer first. */
  readonly heard: readonly Answer[];
  readonly silent: readonly Silent[];
}

/** Of more than these a number is told. */
const NAMES_MAX = 5;

export type Checker = (of: Case) => Check;

export const nameIn = ({ members }: Case, peerId: string): string =>
  members.find((member) => member.peerId === peerId)?.name ?? peerId.slice(-8);

/** At most so many; the rest as a number. */
export function some(
  texts: readonly string[],
  joint: (texts: readonly string[]) => string,
): string {
  const more = texts.length - NAMES_MAX;
  return joint(more > 0 ? [...texts.slice(0, NAMES_MAX), `${more} more`] : texts);
}
export const names = (texts: readonly string[]): string => some([...new Set(texts)], listOf);
export const phrases = (texts: readonly string[]): string => some(texts, (all) => all.join('; '));

export const fine = (check: string, summary: string): Check => ({ check, status: 'ok', summary });
