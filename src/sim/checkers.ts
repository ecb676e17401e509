/**
 * What must hold of a world at its end (the promises of README.md), judged from the evidence alone. Each checker is a pure
 * function that names the rule and says who broke it; the tests falsify the evidence and must be contradicted.
 *
 * `strict` worlds never had a partition nor two daemons down at once: there a told final never changes and nothing
 * starts again without a cause. In all others a task may run on both sides and then says so.
 */
import {
  areBeside,
  faultsOfSecondStart,
  type StartFault,
  type StartSeen,
} from '../base/second-start.ts';
import { homeOf, joinRecords } from '../records/record.ts';
import { type Attempt, attemptByRun, type Task, taskOf } from '../tasks/task.ts';
import { isKept, judgeCopies, judgeLaterFacts, short } from './copies.ts';
import {
  type Evidence,
  livedOn,
  type OutsideRun,
  type Submitted,
  type Violation,
} from './evidence.ts';
import { judgeFinals } from './finals.ts';
import { CREATION, endName, finalName, PAYLOAD, startName } from './losses.ts';

export interface CheckOptions {
  readonly strict: boolean;
  /** Nothing happened but that one host at a time was out of reach. */
  readonly cutsOnly: boolean;
  /** Attempts of a final task must have ended by then, in strict worlds. */
  readonly strayMsMax: number;
}

type Checker = (evidence: Evidence, options: CheckOptions) => Violation[];

/** It lay on one disk alone, which a fault destroyed: nobody promised to keep it. */
const isLost = ({ lost }: Pick<Evidence, 'lost'>, id: string, name: string): boolean =>
  lost.get(id)?.has(name) === true;

/**
 * One version of each task, of a home store if there is one. What is being forgotten need not have reached every copy:
 * of that, all that is known.
 */
function tasksOf(evidence: Evidence): Map<string, Task> {
  const tasks = new Map<string, Task>();
  for (const [id, copies] of evidence.replicas) {
    const copy =
      copies.find(({ record, storeId }) => homeOf(record).includes(storeId)) ?? copies[0];
    if (copy === undefined) continue;
    const dropped = evidence.dropped.get(id);
    const others = isKept(evidence, id, copies) ? [] : copies.map(({ record }) => record);
    const known = [...others, ...(dropped ? [dropped] : [])].reduce(joinRecords, copy.record);
    tasks.set(id, taskOf(known));
  }
  for (const [id, record] of evidence.dropped) if (!tasks.has(id)) tasks.set(id, taskOf(record));
  return tasks;
}

const acknowledged = (evidence: Evidence): (Submitted & { id: string })[] =>
  evidence.submits.filter(
    (item): item is Submitted & { id: string } =>
      item.outcome === 'acknowledged' && item.id !== undefined,
  );

/** The others had lost it, to a fault, while the host that holds it was away: it lies there, out of everybody's way. */
const isLeftAside = ({ aside, destroyed }: Evidence, id: string): boolean =>
  aside.has(id) && destroyed.has(id);

/** An acknowledged task is not lost, and has come to an end. */
const keepsAcknowledged: Checker = (evidence) => {
  const tasks = tasksOf(evidence);
  return acknowledged(evidence).flatMap(({ id, number }) => {
    const task = tasks.get(id);
    if (isLeftAside(evidence, id)) return [];
    if (task === undefined)
      return [
        {
          rule: 'lost',
          detail: `task ${short(id)} (submit ${number}) was acknowledged and is nowhere`,
        },
      ];
    if (task.final === undefined)
      return [{ rule: 'unfinished', detail: `task ${short(id)} (submit ${number}) has no final` }];
    return [];
  });
};

const copiesAgree: Checker = (evidence) => [...judgeCopies(evidence), ...judgeLaterFacts(evidence)];

const finalsStay: Checker = (evidence, { strict }) =>
  judgeFinals(evidence, tasksOf(evidence), strict);

/** When each task was first shown as final by anybody. */
function finalTimes(evidence: Evidence): Map<string, number> {
  const times = new Map<string, number>();
  for (const { id, final, atMs } of evidence.told) {
    if (final !== undefined && !times.has(id)) times.set(id, atMs);
  }
  return times;
}

function runsByTask(evidence: Evidence): Map<string, OutsideRun[]> {
  const byTask = new Map<string, OutsideRun[]>();
  for (const run of evidence.runs) {
    const runs = byTask.get(run.taskId) ?? [];
    runs.push(run);
    byTask.set(run.taskId, runs);
  }
  return byTask;
}

/**
 * Whether the owner that placed `after` could not know of `before`: the history shows both. The owner is the host that
 * knew of `after` first; not the one whose store bears the name of the author now, which may be another store since.
 */
function areConcurrent({ knowledge }: Evidence, before: Attempt, after: Attempt): boolean {
  const placed = knowledge.firstOf(after.start.run_id);
  return placed !== undefined && !knowledge.knew(placed.host, before.start.run_id, placed.atMs);
}

/** Every start is in the history; a second one has a cause there, and is marked when it may have overlapped. */
const startsHaveCauses: Checker = (evidence, { strict }) => {
  const tasks = tasksOf(evidence);
  return [...runsByTask(evidence)].flatMap(([id, runs]) => {
    const task = tasks.get(id);
    const isNowhere = runs.every(({ runId }) => isLost(evidence, id, startName(runId)));
    if (task === undefined && (isNowhere || isLeftAside(evidence, id))) return [];
    if (task === undefined)
      return [
        { rule: 'orphan_run', detail: `${short(id)} ran on ${runs[0]?.host} and is nowhere` },
      ];
    const violations: Violation[] = [];
    const seen: Ran[] = [];
    for (const run of runs) {
      const attempt = attemptByRun(task, run.runId);
      if (attempt === undefined) {
        if (isLost(evidence, id, startName(run.runId))) continue;
        const detail = `run ${run.runId} of ${short(id)} on ${run.host} is not in its history`;
        violations.push({ rule: 'orphan_run', detail });
        continue;
      }
      for (const before of seen) {
        // Whoever started it again could not know of what is nowhere any more.
        const { runId } = before.run;
        if ([startName(runId), endName(runId)].some((name) => isLost(evidence, id, name))) continue;
        const concurrent = !strict && areConcurrent(evidence, before.attempt, attempt);
        const isBeside =
          areBeside(seenOf(before), seenOf({ run, attempt })) && before.run.outlived !== true;
        violations.push(...judgeSecond(id, before, { run, attempt }, concurrent && !isBeside));
      }
      seen.push({ run, attempt });
    }
    return violations;
  });
};

interface Ran {
  readonly run: OutsideRun;
  readonly attempt: Attempt;
}

const seenOf = ({ run, attempt }: Ran): StartSeen => ({
  ...run,
  attempt: attempt.start.n,
  outcomes: attempt.ends.map((end) => end.out),
  possiblyDouble: attempt.start.dbl,
});

function judgeSecond(id: string, before: Ran, after: Ran, concurrent: boolean): Violation[] {
  const what = `run ${after.run.runId} of ${short(id)} (attempt ${after.attempt.start.n}) on ${after.run.host}`;
  const out = before.attempt.ends[0]?.out ?? 'open';
  const texts: Readonly<Record<StartFault, string>> = {
    same_run_twice: `${what} was started twice`,
    started_again: `${what} although ${before.run.runId} is ${out}`,
    unmarked_double: `${what} overlaps ${before.run.runId} on ${before.run.host} and is not marked`,
  };
  return faultsOfSecondStart(seenOf(before), seenOf(after), concurrent)
    .filter((rule) => rule !== 'unmarked_double' || before.run.outlived !== true)
    .map((rule) => ({ rule, detail: texts[rule] }));
}

/** By then the end of a run that is in reach lies on W stores: slow disks and a slow network included. */
const TELL_MS_MAX = 1_000;

/**
 * Where one host at a time was cut off and nothing else happened, only what ran there during the cut, or had just
 * ended, may have been taken for lost and started again: no other task is started twice without a failure of its own.
 */
const onlyCutRunsAreRepeated: Checker = (evidence, { cutsOnly }) => {
  if (!cutsOnly) return [];
  const tasks = tasksOf(evidence);
  const wasCut = ({ host, startedMs, endedMs }: OutsideRun): boolean =>
    evidence.cuts.some(
      (cut) =>
        cut.host === host &&
        startedMs < cut.toMs &&
        (endedMs ?? Number.POSITIVE_INFINITY) + TELL_MS_MAX > cut.fromMs,
    );
  return [...runsByTask(evidence)].flatMap(([id, runs]) =>
    runs.slice(1).flatMap((run, i) => {
      const task = tasks.get(id);
      const before = runs[i];
      if (task === undefined || before === undefined || runs.slice(0, i + 1).some(wasCut))
        return [];
      const out = attemptByRun(task, before.runId)?.ends[0]?.out ?? 'open';
      if (out === 'failed' || out === 'timeout') return [];
      const detail =
        `run ${run.runId} of ${short(id)} on ${run.host} at ${run.startedMs} although ${before.runId} ` +
        `ran on ${before.host}, which was in reach (${out})`;
      return [{ rule: 'needless_double', detail }];
    }),
  );
};

/** In so long an owner that can be reached takes the end of a run, crashes and restarts of the others included. */
const END_MS_MAX = 10_000;

/** Where nothing parts the mesh, what ended by itself is lost only with the daemon that ran it. */
const lossesHaveCauses: Checker = (evidence, { strict }) => {
  if (!strict) return [];
  const tasks = tasksOf(evidence);
  return evidence.runs.flatMap((run) => {
    const task = tasks.get(run.taskId);
    const out = task && attemptByRun(task, run.runId)?.ends[0]?.out;
    if (out !== 'lost' || run.exitCode === undefined || !livedOn(evidence, run, END_MS_MAX))
      return [];
    const detail = `run ${run.runId} of ${short(run.taskId)} ended on ${run.host}, whose daemon lived on, and is lost`;
    return [{ rule: 'needless_loss', detail }];
  });
};

/** Nothing starts after the end was told, and what still ran then ends soon; in the end nothing runs. */
const nothingRunsOn: Checker = (evidence, { strict, strayMsMax }) => {
  const finals = finalTimes(evidence);
  return evidence.runs.flatMap((run) => {
    const violations: Violation[] = [];
    const what = `run ${run.runId} of ${short(run.taskId)} on ${run.host}`;
    // A world does not wait for what a fault destroyed; a client may have brought it again.
    const isBeyond = [CREATION, PAYLOAD].some((name) => isLost(evidence, run.taskId, name));
    if (run.endedMs === undefined && !isBeyond)
      violations.push({ rule: 'stray', detail: `${what} still goes on` });
    const finalMs = finals.get(run.taskId);
    if (!strict || finalMs === undefined) return violations;
    if (run.startedMs > finalMs)
      violations.push({
        rule: 'started_after_final',
        detail: `${what} started after the end was told`,
      });
    if ((run.endedMs ?? evidence.endMs) > finalMs + strayMsMax)
      violations.push({ rule: 'stray', detail: `${what} went on long after the end was told` });
    return violations;
  });
};

/** A takeover, the repeated order and the grace of the kill. */
const CANCEL_MS_MAX = 10_000;

/** What runs ends soon after its cancel was acknowledged, whoever owns it then. */
const cancelsAreObeyed: Checker = ({ submits, runs, endMs }, { strict }) => {
  if (!strict) return [];
  const canceled = new Map(submits.map(({ id, canceledMs }) => [id, canceledMs]));
  return runs.flatMap((run) => {
    const canceledMs = canceled.get(run.taskId) ?? Number.POSITIVE_INFINITY;
    if ((run.endedMs ?? endMs) <= canceledMs + CANCEL_MS_MAX) return [];
    const detail = `run ${run.runId} of ${short(run.taskId)} on ${run.host} went on long after the cancel`;
    return [{ rule: 'cancel_ignored', detail }];
  });
};

/** The accepted result is that of a run that really ended so, and the final follows from what the task asked for. */
const resultsAreTrue: Checker = (evidence, { strict }) => {
  const tasks = tasksOf(evidence);
  const runs = runsByTask(evidence);
  return acknowledged(evidence).flatMap((submitted) => {
    const task = tasks.get(submitted.id);
    if (task?.final === undefined) return [];
    return judgeResult(submitted, task, runs.get(submitted.id) ?? [], strict);
  });
};

function judgeResult(
  submitted: Submitted & { id: string },
  task: Task,
  runs: readonly OutsideRun[],
  strict: boolean,
): Violation[] {
  const { final } = task;
  const what = `${short(submitted.id)} is ${final?.state} (${final?.reason})`;
  const violations: Violation[] = [];
  if (final?.state === 'completed') {
    const run = runs.find(({ runId }) => runId === final.run_id);
    if (run?.exitCode !== 0)
      violations.push({
        rule: 'false_result',
        detail: `${what} by a run that exited ${run?.exitCode}`,
      });
  }
  if (
    submitted.ends?.every(
      (end) => end !== final?.state && end !== `${final?.state}(${final?.reason})`,
    )
  )
    violations.push({ rule: 'wrong_end', detail: `${what}, not ${submitted.ends.join(' or ')}` });
  const failedRuns = runs.filter(({ exitCode }) => exitCode !== undefined && exitCode !== 0).length;
  const isTold = submitted.ends === undefined && final?.reason !== 'losses';
  if (final?.state === 'failed' && isTold && failedRuns < submitted.attempts) {
    const detail = `${what} after ${failedRuns} failures of ${submitted.attempts}`;
    violations.push({ rule: 'false_failure', detail });
  }
  const isDuplicate = submitted.key !== undefined && final?.reason === 'duplicate';
  if (final?.state === 'canceled' && !submitted.canceled && !isDuplicate)
    violations.push({ rule: 'false_cancel', detail: `${what}, and nobody canceled it` });
  // What failed by itself in the moment between its daemon's death and the guardian's kill is a loss.
  // So is one whose end only the daemon had that died with it: it may come back beside that of the next attempt.
  const isFailure = ({ ends }: Attempt): boolean =>
    ends[0]?.out === 'failed' && ends.every(({ out }) => out !== 'lost');
  const failures = task.attempts.filter(isFailure).length;
  if (strict && failures > submitted.attempts)
    violations.push({ rule: 'too_many_attempts', detail: `${what} after ${failures} failures` });
  return violations;
}

/** All peers see the same mesh, all alive. */
const viewsAgree: Checker = ({ viewHashes, members }) => {
  const violations: Violation[] = [];
  if (new Set(viewHashes).size > 1)
    violations.push({ rule: 'views', detail: 'the views of the members differ' });
  for (const { by, name, status, linked } of members) {
    if (status !== 'alive' || !linked)
      violations.push({
        rule: 'views',
        detail: `${by} sees ${name} as ${status}${linked ? '' : ', not linked'}`,
      });
  }
  return violations;
};

/** No daemon gave up by itself. */
const nobodyGaveUp: Checker = ({ fatals }) =>
  fatals.map(({ host, why }) => ({ rule: 'fatal', detail: `${host}: ${why}` }));

/** Every step was right by itself, whatever later ones have healed. Each rule speaks once. */
const stepsHold: Checker = ({ steps }, { strict }) => {
  const rules = new Map<string, Violation>();
  for (const { rule, detail, within } of steps)
    if ((strict || within === 'any') && !rules.has(rule)) rules.set(rule, { rule, detail });
  return [...rules.values()];
};

/** Where nothing parts the mesh, a dedupe key has one task at a time. */
const keysHaveOneTask: Checker = (evidence, { strict }) => {
  if (!strict) return [];
  const tasks = tasksOf(evidence);
  const finals = finalTimes(evidence);
  const keyed = acknowledged(evidence).filter(({ key }) => key !== undefined);
  return keyed.flatMap((first) =>
    keyed.flatMap((second) => {
      const isLater = (first.answeredMs ?? Number.POSITIVE_INFINITY) < (second.askedMs ?? 0);
      const isSame = first.key === second.key && first.id !== second.id;
      const wasOver =
        (finals.get(first.id) ?? Number.POSITIVE_INFINITY) <= (second.answeredMs ?? 0);
      const { state, dup } = tasks.get(second.id)?.final ?? {};
      if (!isLater || !isSame || wasOver || (state === 'canceled' && dup !== undefined)) return [];
      const detail = `${short(second.id)} was taken under the key of ${short(first.id)}, which was not over`;
      return [{ rule: 'key_twice', detail }];
    }),
  );
};

export const CHECKERS: Readonly<Record<string, Checker>> = {
  keepsAcknowledged,
  copiesAgree,
  finalsStay,
  startsHaveCauses,
  onlyCutRunsAreRepeated,
  lossesHaveCauses,
  nothingRunsOn,
  resultsAreTrue,
  viewsAgree,
  nobodyGaveUp,
  cancelsAreObeyed,
  stepsHold,
  keysHaveOneTask,
};

export function check(evidence: Evidence, options: CheckOptions): Violation[] {
  const covered = {
    ...evidence,
    submits: evidence.submits.filter(
      ({ id = '' }) => !isLost(evidence, id, CREATION) && !isLost(evidence, id, PAYLOAD),
    ),
    told: evidence.told.filter(
      ({ id, final }) =>
        final === undefined ||
        !isLost(evidence, id, finalName(final.state, final.runId, final.digest)),
    ),
  };
  return Object.values(CHECKERS).flatMap((checker) => checker(covered, options));
}
