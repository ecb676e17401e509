/**
 * What a chaos run knows from outside the mesh: which submits were acknowledged, which programs ran from when to when,
 * what each peer told. Plain data: a test may falsify any of it and must then be contradicted (chaos-checkers.ts).
 * Times are the host's uptime in milliseconds: shell scripts can read nothing finer without another process.
 */
import type { TaskView } from '../api/task.ts';
import type { FaultKind } from './chaos-options.ts';

export type ProgramKind = 'exec' | 'worker';

/** The exit code of a program that fails on purpose. */
export const FAILS_WITH = 3;
/** Of a handler that gave up because its attempt was no longer wanted. */
export const ABORTED_WITH = 4;

/** One start of a command or of a worker's handler, as it wrote itself down. */
export interface ProgramRun {
  readonly kind: ProgramKind;
  readonly taskId: string;
  readonly attempt: number;
  readonly runId: string;
  readonly host: string;
  readonly pid: number;
  readonly startedMs: number;
  /** Whether an earlier run of the task still held its lock; workers have none. */
  readonly lockWasBusy: boolean;
  /** Undefined: it was not seen to end. */
  readonly endedMs: number | undefined;
  /** Undefined: it did not come to its own end. */
  readonly exitCode: number | undefined;
}

export interface Submit {
  readonly id: string;
  readonly kind: ProgramKind;
  /** Failures that the task allows, and attempts that its program fails. */
  readonly attempts: number;
  readonly fails: number;
  /** open: nobody has answered for sure yet. refused: surely not accepted, for a reason that stays. */
  outcome: 'open' | 'acknowledged' | 'refused';
  tries: number;
  detail: string;
  cancelSent: boolean;
  acknowledgedMs: number | undefined;
  /** Of the receipt. */
  storedOn: readonly string[];
  required: number;
}

/** A final that a peer showed to a client. */
export interface ToldFinal {
  readonly atMs: number;
  readonly peer: string;
  readonly id: string;
  readonly final: string;
}

/** A store whose `store/` was removed. */
export interface Destroyed {
  readonly peer: string;
  readonly storeId: string;
  readonly atMs: number;
}

/** What the harness itself did to whom: of a partition the peers of one side. It ends when the peer is back. */
export interface Strike {
  readonly kind: FaultKind;
  readonly peers: readonly string[];
  readonly fromMs: number;
  readonly toMs: number;
}

/** An end of an attempt in the history of its task, by the peer that wrote it. */
export interface EndNoted {
  readonly n: number;
  readonly outcome: string;
  readonly by: string;
  readonly atMs: number;
}

/** A store of a task's home: of the first one, or added by its history. */
export interface HomeNoted {
  readonly store: string;
  /** Host uptime; 0 for the first home. */
  readonly sinceMs: number;
}

export interface Violation {
  readonly rule: string;
  readonly detail: string;
}

export type Attempt = TaskView['attempts'][number];

export interface ChaosEvidence {
  readonly submits: readonly Submit[];
  readonly runs: readonly ProgramRun[];
  readonly told: readonly ToldFinal[];
  /** At the end: peer, then task. A peer that did not answer is not in it. */
  readonly views: ReadonlyMap<string, ReadonlyMap<string, TaskView>>;
  /** Of tasks that were started more than once: every end of an attempt in the full history. */
  readonly histories: ReadonlyMap<string, readonly EndNoted[]>;
  /** Of the same tasks: every store that was ever in the home, also those that were destroyed and removed since. */
  readonly homes: ReadonlyMap<string, readonly HomeNoted[]>;
  readonly strikes: readonly Strike[];
  /** The peer of every store that there was. */
  readonly stores: ReadonlyMap<string, string>;
  /** The wall clock at uptime 0: the mesh tells wall times. */
  readonly wallAtBootMs: number;
  readonly destroyed: readonly Destroyed[];
  /** Processes of commands that still ran when every task was final. */
  readonly leftRunning: readonly string[];
  /** Daemons that ended or did not start, though nobody meant them to. */
  readonly gaveUp: readonly string[];
}

/** What must agree everywhere and for ever: how the task ended, by which run, with what result. */
export function finalOf(view: TaskView): string | undefined {
  if (!['completed', 'failed', 'canceled', 'expired'].includes(view.state)) return undefined;
  const run = view.attempts.find(({ accepted }) => accepted)?.run_id ?? '-';
  return `${view.state} ${run} ${outputOf(view)}`;
}

/** The result as text: what a command printed, or what a handler returned. */
export const outputOf = (view: TaskView): string =>
  view.state !== 'completed'
    ? ''
    : typeof view.stdout === 'string'
      ? view.stdout
      : JSON.stringify(view.result ?? null);

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
