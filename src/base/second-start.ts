/**
 * When a task was started twice: what must be true of the two starts. One rule for both outside checkers, the
 * simulator's and that of real processes (`npm run chaos`).
 */

/** A start as the outside saw it, with what the task's history says of its attempt. */
export interface StartSeen {
  readonly runId: string;
  readonly host: string;
  /** The number of its attempt. */
  readonly attempt: number;
  readonly startedMs: number;
  /** Undefined: it goes on. */
  readonly endedMs: number | undefined;
  /** Every end that the history holds of it, the one that counts first. */
  readonly outcomes: readonly string[];
  readonly possiblyDouble: boolean;
}

export type StartFault = 'same_run_twice' | 'started_again' | 'unmarked_double';

/** Ends after which an owner may start a task again. */
const CAUSES: ReadonlySet<string> = new Set(['failed', 'timeout', 'lost', 'interrupted']);

/** The end of `before` that explains another start. */
export const causeOf = (before: StartSeen): string | undefined =>
  before.outcomes.find((outcome) => CAUSES.has(outcome));

export const overlap = (a: StartSeen, b: StartSeen): boolean =>
  a.startedMs < (b.endedMs ?? Number.POSITIVE_INFINITY) &&
  b.startedMs < (a.endedMs ?? Number.POSITIVE_INFINITY);

/**
 * Both at once on one host. Where its daemon was not started in between it held the earlier run, and starts no other
 * one of a task beside it: then it does not count that whoever placed `after` could not know.
 */
export const areBeside = (before: StartSeen, after: StartSeen): boolean =>
  before.host === after.host && overlap(before, after);

/** `concurrent`: whoever placed `after` could not know of `before`. */
export function faultsOfSecondStart(
  before: StartSeen,
  after: StartSeen,
  concurrent: boolean,
): StartFault[] {
  const faults: StartFault[] = [];
  if (before.runId === after.runId) faults.push('same_run_twice');
  if (concurrent) return faults;
  if (causeOf(before) === undefined) faults.push('started_again');
  // Of the two the attempt that was placed later says so, also where its host was the first to start.
  const later = after.attempt < before.attempt ? before : after;
  if (overlap(before, after) && !later.possiblyDouble) faults.push('unmarked_double');
  return faults;
}
