/** What becomes of a task next: pure decisions of its owner, from the record and the wall clock. */
import type { DelayedReason, FailedReason } from '../api/task.ts';
import type { Random } from '../base/random.ts';
import { jitter } from '../base/random.ts';
import type { EndFact, FinalFact, FinalState, TaskHeader } from './facts.ts';
import { currentAttempt, digestOfEnd, failureCount, lossWeight, type Task } from './task.ts';

/**
 * Attempts that may be placed for one task, whatever became of them. Failures and losses have limits of their own;
 * this one bounds what they do not count: refusals, and starts that did not find enough copies.
 */
export const PLACED_MAX = 250;

export type NextStep =
  | { readonly step: 'done' }
  /** An attempt is open: nothing to decide but its timeouts. */
  | { readonly step: 'running' }
  | { readonly step: 'finish'; readonly final: Omit<FinalFact, 't' | 'at' | 'drop_at'> }
  | { readonly step: 'start' }
  | { readonly step: 'wait'; readonly untilWallMs: number; readonly why: DelayedReason };

const finish = (
  state: FinalState,
  reason: string,
  end?: EndFact,
): Extract<NextStep, { step: 'finish' }> => ({
  step: 'finish',
  final: {
    state,
    reason,
    run_id: end?.run_id ?? '',
    n: end?.n ?? 0,
    digest: end === undefined ? '' : digestOfEnd(end),
  },
});

const fail = (reason: FailedReason, end?: EndFact) => finish('failed', reason, end);

/** The reason a failed command gives: `exit`, or what the executor said. */
const failureReason = (end: EndFact): FailedReason =>
  end.out === 'timeout'
    ? 'timeout'
    : end.exit !== undefined || end.sig !== undefined
      ? 'exit'
      : 'error';

/** When the task first becomes due. */
export const dueAt = (task: Task): number => task.submittedAt + task.header.delay_ms;

export function nextStep(task: Task, nowWallMs: number): NextStep {
  if (task.final !== undefined) return { step: 'done' };
  const { header, attempts } = task;
  const ends = attempts.map((attempt) => attempt.ends[0]).filter((end) => end !== undefined);
  const completed = ends.find((end) => end.out === 'completed');
  if (completed !== undefined) return finish('completed', '', completed);
  if (currentAttempt(task) !== undefined) return { step: 'running' };
  if (task.cancel !== undefined)
    return finish(
      'canceled',
      task.cancel.reason,
      ends.find((end) => end.out === 'canceled'),
    );
  if (attempts.length >= PLACED_MAX) return fail('rejected', ends.at(-1));
  if (task.duplicateOf !== undefined && attempts.length === 0) {
    const { final } = finish('canceled', 'duplicate');
    return { step: 'finish', final: { ...final, dup: task.duplicateOf } };
  }
  const lastFailure = ends.findLast((end) => end.out === 'failed' || end.out === 'timeout');
  if (lastFailure !== undefined) {
    const spent = failureCount(task) >= header.attempts || lastFailure.retryable === false;
    if (spent) return fail(failureReason(lastFailure), lastFailure);
  }
  const lost = lossWeight(task);
  if (lost > header.losses_max || (lost > 0 && header.on_lost === 'fail')) {
    return fail(
      'losses',
      ends.findLast((end) => end.out === 'lost'),
    );
  }
  if (
    header.total_timeout_ms !== undefined &&
    nowWallMs >= task.submittedAt + header.total_timeout_ms
  ) {
    return fail('timeout', lastFailure);
  }
  if (
    header.queue_timeout_ms !== undefined &&
    attempts.length === 0 &&
    nowWallMs >= dueAt(task) + header.queue_timeout_ms
  ) {
    return finish('expired', 'queue_timeout');
  }
  // Without a delay there is nothing to wait for, wherever the clock of the accepting host stands.
  if (header.delay_ms > 0 && nowWallMs < dueAt(task))
    return { step: 'wait', untilWallMs: dueAt(task), why: 'run_at' };
  const backoffUntil = ends.reduce((latest, end) => Math.max(latest, end.next_at ?? 0), 0);
  if (nowWallMs < backoffUntil) return { step: 'wait', untilWallMs: backoffUntil, why: 'backoff' };
  return { step: 'start' };
}

/** The next wall time at which `nextStep` may answer otherwise without any new fact. */
export function nextDeadline(task: Task, nowWallMs: number): number | undefined {
  const { header } = task;
  const times: number[] = [];
  const step = nextStep(task, nowWallMs);
  if (step.step === 'done') return undefined;
  if (step.step === 'wait') times.push(step.untilWallMs);
  if (header.total_timeout_ms !== undefined) times.push(task.submittedAt + header.total_timeout_ms);
  if (header.queue_timeout_ms !== undefined && task.attempts.length === 0) {
    times.push(dueAt(task) + header.queue_timeout_ms);
  }
  const later = times.filter((time) => time > nowWallMs);
  return later.length === 0 ? undefined : Math.min(...later);
}

const REFUSAL_PAUSE_MS = 50;
/** So that PLACED_MAX refusals take most of an hour, and not seconds. */
const REFUSAL_PAUSE_MS_MAX = 10_000;

/** The pause after the refusal of this run: it grows with those that came right before it. */
export function refusalPauseMs(task: Task, runId: string): number {
  const others = task.attempts.filter((attempt) => attempt.start.run_id !== runId);
  const last = others.findLastIndex((attempt) => attempt.ends[0]?.out !== 'refused');
  const inRow = others.length - 1 - last;
  return Math.min(REFUSAL_PAUSE_MS * 2 ** inRow, REFUSAL_PAUSE_MS_MAX);
}

const BACKOFF_MS_MAX = 30 * 86_400_000;
const BACKOFF_JITTER = 0.25;

function plainBackoffMs({ backoff }: TaskHeader, failures: number): number {
  if (backoff === undefined) return 0;
  const plain =
    backoff.type === 'fixed'
      ? backoff.delay_ms
      : backoff.delay_ms * 2 ** Math.min(Math.max(0, failures - 1), 40);
  return Math.min(plain, backoff.max_ms ?? Number.MAX_SAFE_INTEGER, BACKOFF_MS_MAX);
}

/** Exponential backoff with jitter of a quarter; the n-th failure waits delay·2^(n−1), at most `max_ms`. */
export const backoffMs = (header: TaskHeader, failures: number, random: Random): number =>
  Math.round(jitter(random, plainBackoffMs(header, failures), BACKOFF_JITTER));

/** No pause after so many failures is longer. */
export const backoffCeilingMs = (header: TaskHeader, failures: number): number =>
  plainBackoffMs(header, failures) * (1 + BACKOFF_JITTER);
