/**
 * What must hold of a chaos run at its end, judged from the evidence alone: the simulator's rules (sim/checkers.ts) as
 * far as they can be seen from outside real daemons. Each checker is a pure function that says who broke its rule.
 */
import type { TaskView } from '../api/task.ts';
import { causeOf, faultsOfSecondStart, overlap, type StartSeen } from '../base/second-start.ts';
import {
  type ChaosEvidence,
  FAILS_WITH,
  finalOf,
  outputOf,
  type ProgramRun,
  type Submit,
} from './chaos-evidence.ts';

export interface Violation {
  readonly rule: string;
  readonly detail: string;
}

type Attempt = TaskView['attempts'][number];
type Checker = (evidence: ChaosEvidence) => Violation[];

/** The end of an id names its home, the start its time: in between is what differs. */
export const short = (id: string): string => id.slice(8, 20);

/** What any peer shows of a task at the end; whether all show the same is a rule of its own. */
export function viewOf(evidence: ChaosEvidence, id: string): TaskView | undefined {
  const shown = [...evidence.views.values()].flatMap((views) => views.get(id) ?? []);
  return shown.find((view) => finalOf(view) !== undefined) ?? shown[0];
}

export function runsByTask(runs: readonly ProgramRun[]): Map<string, ProgramRun[]> {
  const byTask = new Map<string, ProgramRun[]>();
  for (const run of [...runs].sort((a, b) => a.startedMs - b.startedMs)) {
    const list = byTask.get(run.taskId);
    if (list === undefined) byTask.set(run.taskId, [run]);
    else list.push(run);
  }
  return byTask;
}

/** As many of the stores that acknowledged it are destroyed as its receipt promised to survive not. */
export const isPromiseVoid = (
  { storedOn, required }: Submit,
  { destroyed }: ChaosEvidence,
): boolean =>
  destroyed.filter(({ storeId }) => storedOn.includes(storeId)).length >= Math.max(1, required);

const keepsAcknowledged: Checker = (evidence) =>
  evidence.submits.flatMap((submit) => {
    if (submit.outcome !== 'acknowledged' || isPromiseVoid(submit, evidence)) return [];
    if (viewOf(evidence, submit.id) !== undefined) return [];
    return [{ rule: 'lost', detail: `task ${short(submit.id)} was acknowledged and is nowhere` }];
  });

const peersAgree: Checker = ({ submits, views }) =>
  submits.flatMap(({ id }) => {
    const shown = [...views].flatMap(([peer, byId]) => {
      const view = byId.get(id);
      const final = view === undefined ? undefined : finalOf(view);
      return final === undefined ? [] : [{ peer, final }];
    });
    if (new Set(shown.map(({ final }) => final)).size <= 1) return [];
    const texts = shown.map(({ peer, final }) => `${peer}: ${final}`);
    return [{ rule: 'two_results', detail: `${short(id)} ended as ${texts.join(', ')}` }];
  });

const oneIsAccepted: Checker = (evidence) =>
  evidence.submits.flatMap(({ id }) => {
    const accepted = viewOf(evidence, id)?.attempts.filter((attempt) => attempt.accepted) ?? [];
    if (accepted.length <= 1) return [];
    const runs = accepted.map(({ run_id }) => run_id).join(', ');
    return [{ rule: 'two_results', detail: `${short(id)} has several accepted runs: ${runs}` }];
  });

/** A final that was shown stays, or its change is a counted conflict. */
const finalsStay: Checker = (evidence) => {
  const byTask = new Map<string, Set<string>>();
  const add = (id: string, final: string) =>
    byTask.set(id, (byTask.get(id) ?? new Set<string>()).add(final));
  for (const { id, final } of evidence.told) add(id, final);
  return [...byTask].flatMap(([id, finals]) => {
    const view = viewOf(evidence, id);
    const last = view === undefined ? undefined : finalOf(view);
    const all = last === undefined ? [...finals] : [...new Set([...finals, last])];
    if (all.length <= 1 || (view?.conflicts ?? 0) > 0) return [];
    const detail = `${short(id)} was shown as ${all.join(', then ')}, and no conflict is counted`;
    return [{ rule: 'final_changed', detail }];
  });
};

/** The accepted result is that of a run which really ended so; a failure and a cancel have their reasons. */
const resultsAreTrue: Checker = (evidence) => {
  const runs = runsByTask(evidence.runs);
  return evidence.submits.flatMap((submit) => {
    const view = viewOf(evidence, submit.id);
    return view === undefined ? [] : judgeResult(submit, view, runs.get(submit.id) ?? []);
  });
};

function judgeResult(submit: Submit, view: TaskView, runs: readonly ProgramRun[]): Violation[] {
  const what = `${short(submit.id)} is ${view.state} (${view.reason ?? ''})`;
  if (view.state === 'completed') {
    const accepted = view.attempts.find((attempt) => attempt.accepted)?.run_id;
    const run = runs.find(({ runId }) => runId === accepted);
    if (run === undefined || run.exitCode !== 0) {
      const ended = run === undefined ? 'was never started' : `exited ${run.exitCode ?? 'never'}`;
      return [{ rule: 'false_result', detail: `${what} by run ${accepted}, which ${ended}` }];
    }
    // A handler returns its run's id, so its result is that as JSON.
    if (![run.runId, JSON.stringify(run.runId)].includes(outputOf(view))) {
      const detail = `${what} by run ${run.runId} with the output ${outputOf(view)}`;
      return [{ rule: 'false_result', detail }];
    }
  }
  const failures = runs.filter(({ exitCode }) => exitCode === FAILS_WITH).length;
  if (view.state === 'failed' && view.reason !== 'losses' && failures < submit.attempts) {
    const detail = `${what} after ${failures} failures of ${submit.attempts}`;
    return [{ rule: 'false_failure', detail }];
  }
  if (view.state === 'canceled' && !submit.cancelSent)
    return [{ rule: 'false_cancel', detail: `${what}, and nobody canceled it` }];
  return [];
}

/** A surplus start that the history explains, and by what. */
export interface Explained {
  readonly taskId: string;
  readonly runId: string;
  readonly cause: string;
  readonly overlapped: boolean;
}

interface Judged {
  readonly violations: readonly Violation[];
  readonly explained: readonly Explained[];
}

/** Every start is in the history; a second one has a cause there, and is marked when it may have overlapped. */
export function judgeStarts(evidence: ChaosEvidence): Judged {
  const violations: Violation[] = [];
  const explained: Explained[] = [];
  for (const [id, runs] of runsByTask(evidence.runs)) {
    const view = viewOf(evidence, id);
    if (view === undefined) {
      // An unknown outcome may have left a start and no record; an acknowledged one is `lost` already.
      const detail = `${short(id)} ran on ${runs[0]?.host} and is nowhere`;
      violations.push({ rule: 'orphan_run', detail });
      continue;
    }
    const seen: { start: StartSeen; attempt: Attempt }[] = [];
    for (const run of runs) {
      const attempt = view.attempts.find(({ run_id }) => run_id === run.runId);
      const what = `run ${run.runId} of ${short(id)} (attempt ${run.attempt}) on ${run.host}`;
      if (attempt === undefined) {
        violations.push({ rule: 'orphan_run', detail: `${what} is not in its history` });
        continue;
      }
      const after = { start: startOf(run, attempt, evidence), attempt };
      for (const before of seen) {
        const concurrent = areConcurrent(evidence, view, before.attempt, attempt);
        for (const rule of faultsOfSecondStart(before.start, after.start, concurrent)) {
          const ends = before.start.outcomes.join('/') || 'open';
          const detail = `${what} after ${before.start.runId} on ${before.attempt.runner_name} (${ends})`;
          violations.push({ rule, detail });
        }
      }
      const last = seen.at(-1);
      if (last !== undefined) {
        const concurrent = areConcurrent(evidence, view, last.attempt, attempt);
        const cause = concurrent ? 'concurrent' : (causeOf(last.start) ?? 'none');
        const overlapped = seen.some((before) => overlap(before.start, after.start));
        explained.push({ taskId: id, runId: run.runId, cause, overlapped });
      }
      seen.push(after);
    }
  }
  return { violations, explained };
}

function startOf(run: ProgramRun, attempt: Attempt, { histories }: ChaosEvidence): StartSeen {
  const prefix = `${attempt.attempt} `;
  const noted = (histories.get(run.taskId) ?? [])
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
  const outcomes = [...new Set([attempt.outcome ?? [], noted].flat())];
  const { runId, startedMs, endedMs } = run;
  return { runId, startedMs, endedMs, outcomes, possiblyDouble: attempt.possibly_double };
}

/** After a separation: until a silence is noticed to be over and what was missed is read. */
const REJOIN_MS = 5_000;

/**
 * Whether the store that placed `after` could not know of `before`: an owner numbers its next attempt above all that it
 * knows, so one of its numbers is not above `before`'s; and something kept peers apart when the two were placed.
 */
function areConcurrent(
  { separations }: ChaosEvidence,
  view: TaskView,
  before: Attempt,
  after: Attempt,
): boolean {
  if (before.owner === after.owner) return false;
  const placedMs = [before, after].map(({ placed_at }) => Date.parse(placed_at));
  const wasApart = separations.some(
    ({ fromMs, toMs }) =>
      fromMs <= Math.max(...placedMs) && toMs + REJOIN_MS >= Math.min(...placedMs),
  );
  return (
    wasApart &&
    view.attempts.some(
      ({ owner, attempt, run_id }) =>
        owner === after.owner && run_id !== before.run_id && attempt <= before.attempt,
    )
  );
}

const startsHaveCauses: Checker = (evidence) => [...judgeStarts(evidence).violations];

/** A request that was the same every time can only be too late. */
const refusesForAReason: Checker = ({ submits }) =>
  submits
    .filter(({ outcome, detail }) => outcome === 'refused' && !detail.startsWith('ID_EXPIRED'))
    .map(({ id, detail }) => ({ rule: 'refused', detail: `task ${short(id)}: ${detail}` }));

const nothingRunsOn: Checker = ({ leftRunning }) =>
  leftRunning.map((detail) => ({ rule: 'stray', detail }));

const nobodyGaveUp: Checker = ({ gaveUp }) => gaveUp.map((detail) => ({ rule: 'gave_up', detail }));

export const CHAOS_CHECKERS: Readonly<Record<string, Checker>> = {
  keepsAcknowledged,
  peersAgree,
  oneIsAccepted,
  finalsStay,
  resultsAreTrue,
  startsHaveCauses,
  refusesForAReason,
  nothingRunsOn,
  nobodyGaveUp,
};

export const checkChaos = (evidence: ChaosEvidence): Violation[] =>
  Object.values(CHAOS_CHECKERS).flatMap((checker) => checker(evidence));
