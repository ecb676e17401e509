/**
 * Tasks that were started more than once in a chaos run: which starts are explained, and by what. Only what the harness
 * itself did counts as an excuse, and only for the store that placed the start: the history names it.
 */
import type { TaskView } from '../api/task.ts';
import {
  areBeside,
  causeOf,
  faultsOfSecondStart,
  overlap,
  type StartSeen,
} from '../base/second-start.ts';
import {
  type Attempt,
  type ChaosEvidence,
  type EndNoted,
  type ProgramRun,
  runsByTask,
  type Strike,
  short,
  type Violation,
  viewOf,
} from './chaos-evidence.ts';

/** After a separation: until a silence is noticed to be over and what was missed is read. */
const REJOIN_MS = 5_000;
/** From the placing of an attempt until enough stores have it: a cut in between may leave it with its owner alone. */
const PLACING_MS = 5_000;
/** The host's uptime is told in hundredths of a second: what caused an end may seem to come after it. */
const UPTIME_STEP_MS = 10;
/** Of the mesh: copies before a start. */
const COPIES_REQUIRED = 2;

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

/** A start with its place in the history. */
interface Started {
  readonly run: ProgramRun;
  readonly attempt: Attempt;
  readonly start: StartSeen;
  /** Every end that the history holds of it. */
  readonly ends: readonly EndNoted[];
  /** Host uptime. */
  readonly placedMs: number;
}

const endsIt = ({ kind }: Strike): boolean => kind === 'kill' || kind === 'term' || kind === 'wipe';
const parts = ({ kind }: Strike): boolean => kind === 'isolate' || kind === 'halves';

/** Two peers that could not hear each other, whatever the mesh made of it. */
export function isBetween(strike: Strike, a: string, b: string): boolean {
  if (a === b) return false;
  const [hasA, hasB] = [strike.peers.includes(a), strike.peers.includes(b)];
  if (parts(strike)) return hasA !== hasB;
  return (endsIt(strike) || strike.kind === 'pause') && (hasA || hasB);
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
    const seen: Started[] = [];
    for (const run of runs) {
      const after = startedOf(evidence, view, run);
      if (after === undefined) {
        const detail = `${describe(run)} is not in its history`;
        violations.push({ rule: 'orphan_run', detail });
        continue;
      }
      violations.push(...seen.flatMap((before) => judgeSecond(evidence, view, before, after)));
      const last = seen.at(-1);
      if (last !== undefined) {
        const isBlind = couldNotKnow(evidence, view, last, after);
        const cause = isBlind ? 'concurrent' : (causeOf(last.start) ?? 'none');
        const overlapped = seen.some((before) => overlap(before.start, after.start));
        explained.push({ taskId: id, runId: run.runId, cause, overlapped });
      }
      seen.push(after);
    }
  }
  return { violations, explained };
}

const describe = ({ runId, taskId, attempt, host }: ProgramRun): string =>
  `run ${runId} of ${short(taskId)} (attempt ${attempt}) on ${host}`;

function startedOf(
  { histories, wallAtBootMs }: ChaosEvidence,
  view: TaskView,
  run: ProgramRun,
): Started | undefined {
  const attempt = view.attempts.find(({ run_id }) => run_id === run.runId);
  if (attempt === undefined) return undefined;
  const ends = (histories.get(run.taskId) ?? []).filter(({ n }) => n === attempt.attempt);
  const outcomes = [...new Set([attempt.outcome ?? [], ends.map(({ outcome }) => outcome)].flat())];
  const { runId, host, startedMs, endedMs } = run;
  const start = {
    runId,
    host,
    attempt: attempt.attempt,
    startedMs,
    endedMs,
    outcomes,
    possiblyDouble: attempt.possibly_double,
  };
  return { run, attempt, start, ends, placedMs: Date.parse(attempt.placed_at) - wallAtBootMs };
}

function judgeSecond(
  evidence: ChaosEvidence,
  view: TaskView,
  before: Started,
  after: Started,
): Violation[] {
  const ends = before.start.outcomes.join('/') || 'open';
  const detail = `${describe(after.run)} after ${before.start.runId} on ${before.run.host} (${ends})`;
  const isBlind = couldNotKnow(evidence, view, before, after);
  const rules: string[] = faultsOfSecondStart(before.start, after.start, isBlind);
  const cause = causeOf(before.start);
  if (!isBlind && cause !== undefined && !isFounded(evidence, cause, before))
    rules.push('unfounded_cause');
  return rules.map((rule) => ({ rule, detail }));
}

/** Whether the end that called for another start has a reason outside the mesh. */
function isFounded(evidence: ChaosEvidence, cause: string, before: Started): boolean {
  const { run, attempt, ends, placedMs } = before;
  if (cause === 'failed' || cause === 'timeout') return run.exitCode !== 0;
  const noted = ends.filter(({ outcome }) => outcome === cause);
  const endedMs = Date.parse(attempt.ended_at ?? attempt.placed_at) - evidence.wallAtBootMs;
  const untilMs = UPTIME_STEP_MS + Math.max(endedMs, ...noted.map(({ atMs }) => atMs));
  const judges = new Set(noted.map(({ by }) => by));
  return evidence.strikes.some((strike) => {
    if (strike.fromMs > untilMs || strike.toMs + REJOIN_MS < placedMs) return false;
    if (parts(strike)) return [...judges].some((by) => isBetween(strike, by, run.host));
    const isItsProgram = strike.kind === 'worker' && run.kind === 'worker';
    const strikes = endsIt(strike) || strike.kind === 'pause' || isItsProgram;
    return strikes && strike.peers.includes(run.host);
  });
}

/**
 * Whether the store that placed the later one could not know of the earlier one: by its number the history does not
 * say that it knew, and the harness kept it from those who could have told it.
 */
function couldNotKnow(
  evidence: ChaosEvidence,
  view: TaskView,
  before: Started,
  after: Started,
): boolean {
  const [first, second] = before.placedMs <= after.placedMs ? [before, after] : [after, before];
  if (first.attempt.placed_by === second.attempt.placed_by) return false;
  if (mustHaveKnown(view, first.attempt, second.attempt)) return false;
  // Its own runner holds the earlier run, and starts no other.
  if (ranBeside(evidence, before, after)) return false;
  return wasParted(evidence, view, first, second) || wasBlind(evidence, second);
}

/** An owner numbers its next attempt one above the highest that it knows. */
function mustHaveKnown({ attempts }: TaskView, first: Attempt, second: Attempt): boolean {
  if (second.attempt <= first.attempt) return false;
  const isBelow = (other: Attempt) =>
    other.run_id !== first.run_id && other.attempt === second.attempt - 1;
  return first.attempt === second.attempt - 1 && !attempts.some(isBelow);
}

/** In the care of one daemon, which was not started in between. */
function ranBeside({ strikes }: ChaosEvidence, before: Started, after: Started): boolean {
  const { host } = before.run;
  if (!areBeside(before.start, after.start)) return false;
  return !strikes.some(
    (strike) =>
      endsIt(strike) &&
      strike.peers.includes(host) &&
      strike.toMs >= before.run.startedMs &&
      strike.fromMs <= after.run.startedMs,
  );
}

/**
 * The two owners were apart when the first placed its own, so its copies lie on its side alone; and whoever was on that
 * side has been out of reach of the second ever since, by whatever struck it.
 */
function wasParted(
  { strikes, stores }: ChaosEvidence,
  { home }: TaskView,
  first: Started,
  second: Started,
): boolean {
  const [a, b] = [first, second].map(({ attempt }) => stores.get(attempt.placed_by) ?? '');
  if (a === undefined || b === undefined) return false;
  const holders = [a, ...home.flatMap((store) => stores.get(store) ?? [])];
  return strikes.some((strike) => {
    const isThen =
      strike.fromMs <= Math.min(first.placedMs + PLACING_MS, second.placedMs) &&
      strike.toMs + REJOIN_MS >= first.placedMs;
    if (!isThen || endsIt(strike) || !isBetween(strike, a, b)) return false;
    const side = holders.filter((peer) => isBetween(strike, peer, b));
    return side.every((peer) => keptApart(strikes, [peer, b], strike.toMs, second.placedMs));
  });
}

/** Never in touch for long from one time to the other. */
function keptApart(
  strikes: readonly Strike[],
  [a, b]: readonly [string, string],
  fromMs: number,
  toMs: number,
): boolean {
  let apartUntilMs = fromMs;
  for (const strike of [...strikes].sort((x, y) => x.fromMs - y.fromMs)) {
    if (strike.fromMs > apartUntilMs + REJOIN_MS || strike.toMs < apartUntilMs) continue;
    if (isBetween(strike, a, b)) apartUntilMs = strike.toMs;
  }
  return apartUntilMs + REJOIN_MS >= toMs;
}

/**
 * It reached too few stores of the home to meet one that knew: those that need not overlap with W copies. The home is
 * that of then, and counts whole, as for a takeover; of a store that was wiped nobody reads anything. Not the home that
 * is shown at the end: its stores may all be others by then.
 */
function wasBlind({ strikes, stores, destroyed, homes }: ChaosEvidence, second: Started): boolean {
  const noted = homes.get(second.run.taskId) ?? [];
  const home = noted.filter(({ sinceMs }) => sinceMs <= second.placedMs).map(({ store }) => store);
  const self = stores.get(second.attempt.placed_by) ?? '';
  const near = strikes.filter(
    ({ fromMs, toMs }) => fromMs <= second.placedMs && toMs + REJOIN_MS >= second.placedMs,
  );
  const gone = new Set(
    destroyed.filter(({ atMs }) => atMs <= second.placedMs).map(({ storeId }) => storeId),
  );
  const needed = home.length - Math.min(COPIES_REQUIRED, home.length) + 1;
  return near.some(({ fromMs }) => {
    // At the beginning of each the most that had begun by then, and was not long over.
    const under = near.filter((other) => other.fromMs <= fromMs && other.toMs >= fromMs);
    const reached = home.filter((store) => {
      const peer = stores.get(store);
      if (gone.has(store)) return false;
      return peer !== undefined && !under.some((strike) => isBetween(strike, self, peer));
    });
    return reached.length < needed;
  });
}
