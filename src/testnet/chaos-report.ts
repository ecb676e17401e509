/** The verdict of a chaos run: one object, the line of `--json`, and its text for people. */
import { formatDuration, SECOND_MS } from '../base/units.ts';
import { checkChaos, isPromiseVoid } from './chaos-checkers.ts';
import { type ChaosEvidence, runsByTask, type Violation, viewOf } from './chaos-evidence.ts';
import type { ChaosOptions, FaultKind } from './chaos-options.ts';
import type { Death } from './chaos-peers.ts';
import { judgeStarts } from './chaos-starts.ts';

const LINES_MAX = 40;
const UNEXPLAINED: ReadonlySet<string> = new Set([
  'orphan_run',
  'started_again',
  'unmarked_double',
  'same_run_twice',
  'unfounded_cause',
]);

export interface Spread {
  readonly n: number;
  readonly p50: number | null;
  readonly max: number | null;
}

/** `npm run chaos -- --json`. Counts are of tasks where nothing else is said. */
export interface Report {
  readonly outcome: 'held' | 'safety' | 'liveness';
  readonly seed: string;
  readonly minutes: number;
  readonly peers: number;
  readonly faults: Partial<Record<FaultKind, number>>;
  /** Draws that could not strike at their moment. */
  readonly skipped: number;
  /** Faults that were asked for and not once tried, with the reason. */
  readonly not_run: Partial<Record<FaultKind, string>>;
  readonly tasks: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Submits that were repeated under the same id. */
  readonly repeated: number;
  readonly states: Readonly<Record<string, number>>;
  readonly lost: number;
  /** Lost with as many stores as the receipt said it would not survive. */
  readonly lost_with_stores: number;
  /** Of programs. */
  readonly starts: number;
  /** Starts beyond the first of a task, by what the history says of the one before. */
  readonly surplus: number;
  readonly causes: Readonly<Record<string, number>>;
  /** Starts while an earlier run of the task still lived. */
  readonly doubles: number;
  readonly unexplained: number;
  readonly conflicts: number;
  readonly violations: Readonly<Record<string, number>>;
  readonly pending: number;
  /** From SIGKILL until all list the daemon dead; until a task of it is started again. */
  readonly detect_ms: Spread;
  readonly takeover_ms: Spread;
  readonly rss_bytes_max: number;
  /** Until the mesh was quiet after the last fault. */
  readonly quiet_s: number;
  readonly duration_s: number;
  /** Errors that clients met, by method and code. */
  readonly errors: Readonly<Record<string, number>>;
}

export interface Outcome {
  readonly report: Report;
  readonly violations: readonly Violation[];
  readonly pending: readonly string[];
}

export interface Measured {
  readonly faults: Partial<Record<FaultKind, number>>;
  readonly skipped: number;
  readonly notRun: Partial<Record<FaultKind, string>>;
  readonly deaths: readonly Death[];
  readonly detectMs: readonly number[];
  readonly rssBytesMax: number;
  readonly quietMs: number;
  readonly durationMs: number;
  readonly errors: ReadonlyMap<string, number>;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const p50 = sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
  return { n: sorted.length, p50, max: sorted.at(-1) ?? null };
}

function countBy(items: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[item] = (counts[item] ?? 0) + 1;
  return counts;
}

/** From each death to the next start of every command that it ended. */
export function takeoversOf(
  { runs }: Pick<ChaosEvidence, 'runs'>,
  deaths: readonly Death[],
): number[] {
  const byTask = runsByTask(runs);
  return deaths.flatMap(({ host, atMs }) =>
    runs
      .filter(
        (run) =>
          run.kind === 'exec' &&
          run.host === host &&
          run.exitCode === undefined &&
          run.startedMs <= atMs &&
          (run.endedMs === undefined || run.endedMs >= atMs),
      )
      .flatMap((run) => {
        const next = byTask.get(run.taskId)?.find(({ startedMs }) => startedMs > atMs);
        return next === undefined ? [] : [next.startedMs - atMs];
      }),
  );
}

export function outcomeOf(
  options: ChaosOptions,
  evidence: ChaosEvidence,
  pending: readonly string[],
  measured: Measured,
): Outcome {
  const violations = checkChaos(evidence);
  const { submits, runs } = evidence;
  const acknowledged = submits.filter(({ outcome }) => outcome === 'acknowledged');
  const views = submits.map(({ id }) => viewOf(evidence, id));
  const { explained } = judgeStarts(evidence);
  const count = (rule: string) => violations.filter((violation) => violation.rule === rule).length;
  const report: Report = {
    outcome: violations.length > 0 ? 'safety' : pending.length > 0 ? 'liveness' : 'held',
    ...{ seed: options.seed, minutes: options.minutes, peers: options.peers },
    ...{ faults: measured.faults, skipped: measured.skipped, not_run: measured.notRun },
    tasks: submits.length,
    acknowledged: acknowledged.length,
    refused: submits.filter(({ outcome }) => outcome === 'refused').length,
    repeated: submits.reduce((sum, { tries }) => sum + Math.max(0, tries - 1), 0),
    states: countBy(views.map((view) => view?.state ?? 'nowhere')),
    lost: count('lost'),
    lost_with_stores: acknowledged.filter(
      (submit) => isPromiseVoid(submit, evidence) && viewOf(evidence, submit.id) === undefined,
    ).length,
    starts: runs.length,
    surplus: runs.length - runsByTask(runs).size,
    causes: countBy(explained.map(({ cause }) => cause)),
    doubles: explained.filter(({ overlapped }) => overlapped).length,
    unexplained: violations.filter(({ rule }) => UNEXPLAINED.has(rule)).length,
    conflicts: views.reduce((sum, view) => sum + (view?.conflicts ?? 0), 0),
    violations: countBy(violations.map(({ rule }) => rule)),
    pending: pending.length,
    detect_ms: spreadOf(measured.detectMs),
    takeover_ms: spreadOf(takeoversOf(evidence, measured.deaths)),
    rss_bytes_max: measured.rssBytesMax,
    quiet_s: Math.round(measured.quietMs) / 1_000,
    duration_s: Math.round(measured.durationMs) / 1_000,
    errors: Object.fromEntries([...measured.errors].sort()),
  };
  return { report, violations, pending };
}

const listed = (counts: Readonly<Record<string, number | string>>): string =>
  Object.entries(counts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ') || 'none';

const spreadText = ({ n, p50, max }: Spread): string =>
  p50 === null || max === null
    ? 'none measured'
    : `${formatDuration(p50)} in the median of ${n}, ${formatDuration(max)} at most`;

/** For people. */
export function verdictText({ report, violations, pending }: Outcome): string {
  const { not_run: notRun, ...r } = report;
  const rows: readonly (readonly [string, string])[] = [
    ['outcome', `${r.outcome}, seed ${r.seed}`],
    ['faults', `${listed(r.faults)}; ${r.skipped} draws skipped`],
    ...Object.entries(notRun).map(([kind, why]) => [kind, `not run: ${why}`] as const),
    ['tasks', `${r.tasks}, ${r.acknowledged} acknowledged, ${r.repeated} submits repeated`],
    ['ended', listed(r.states)],
    ['lost', `${r.lost}, and ${r.lost_with_stores} with too many of their stores`],
    ['starts', `${r.starts}, ${r.surplus} surplus: ${listed(r.causes)}`],
    ['double runs', `${r.doubles}, not explained ${r.unexplained}`],
    ['conflicts', String(r.conflicts)],
    ['death seen by all', spreadText(r.detect_ms)],
    ['work retaken', spreadText(r.takeover_ms)],
    ['memory', `${Math.round(r.rss_bytes_max / 1_048_576)} MiB at most in a daemon`],
    ['time', `${formatDuration(r.duration_s * SECOND_MS)}, quiet after ${r.quiet_s} s`],
  ];
  const text = rows.map(([name, value]) => `${`${name}:`.padEnd(20)}${value}\n`).join('');
  const broken = violations.map(({ rule, detail }) => `${rule}: ${detail}`);
  const left = pending.map((line) => `pending: ${line}`);
  return text + [...shown(broken), ...shown(left)].map((line) => `  ${line}\n`).join('');
}

const shown = (lines: readonly string[]): string[] => [
  ...lines.slice(0, LINES_MAX),
  ...(lines.length > LINES_MAX ? [`… and ${lines.length - LINES_MAX} more`] : []),
];
