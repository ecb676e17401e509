/**
 * What must hold of a chaos run at its end, judged from the evidence alone: the simulator's rules (sim/checkers.ts) as
 * far as they can be seen from outside real daemons. Each checker is a pure function that says who broke its rule.
 */
import type { TaskView } from '../api/task.ts';
import {
  type ChaosEvidence,
  FAILS_WITH,
  finalOf,
  outputOf,
  type ProgramRun,
  runsByTask,
  type Submit,
  short,
  type Violation,
  viewOf,
} from './chaos-evidence.ts';
import { judgeStarts } from './chaos-starts.ts';

type Checker = (evidence: ChaosEvidence) => Violation[];

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
