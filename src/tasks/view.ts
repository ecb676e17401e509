/** A task as clients see it: the shapes of `api/` from a record. Pure. */

import type { Because, TaskState, TaskSummary, TaskView } from '../api/task.ts';
import { readJsonText } from '../base/json-text.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import { homeOf, type RecordState } from '../records/record.ts';
import type { WireValue } from '../wire/codec.ts';
import { dueAt, nextStep } from './decide.ts';
import type { EndFact, TaskBlob } from './facts.ts';
import {
  type Attempt,
  acceptedEnd,
  attemptByRun,
  currentAttempt,
  failureCount,
  lossWeight,
  type Task,
  taskOf,
} from './task.ts';

/** What only the owner and the runner know, and the blob where it is at hand. */
export interface ViewExtras {
  readonly waitingReason?: string;
  readonly owner?: string;
  readonly progress?: WireValue;
  readonly blob?: TaskBlob;
  /** Stores that hold it out of the way, when nobody else knows of it. */
  readonly setAsideBy?: readonly string[];
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text when the bytes are UTF-8, else base64 in an object. */
export function bytesView(bytes: Uint8Array): string | { base64: string } {
  try {
    return decoder.decode(bytes);
  } catch (thrown) {
    if (thrown instanceof TypeError) return { base64: toBase64(bytes) };
    throw thrown;
  }
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export function toBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const a = bytes[i] ?? 0;
    const b = bytes[i + 1];
    const c = bytes[i + 2];
    const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    parts.push(
      BASE64.charAt(bits >> 18),
      BASE64.charAt((bits >> 12) & 63),
      b === undefined ? '=' : BASE64.charAt((bits >> 6) & 63),
      c === undefined ? '=' : BASE64.charAt(bits & 63),
    );
  }
  return parts.join('');
}

export function fromBase64(text: string): Uint8Array {
  const clean = text.replace(/=+$/, '');
  const out = new Uint8Array(Math.floor((clean.length * 3) / 4));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (const char of clean) {
    bits = ((bits << 6) | BASE64.indexOf(char)) & 0xffffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out[at++] = (bits >> count) & 0xff;
    }
  }
  return out;
}

/** Of a peer: why nothing runs there. */
const GONE: ReadonlySet<string> = new Set(['dead', 'left', 'removed']);

export interface Standing {
  readonly state: TaskState;
  readonly reason: string | undefined;
  readonly sinceWallMs: number;
  readonly runAtWallMs: number | undefined;
}

/** The state of a task, derived: nothing stores it. */
export function standingOf(task: Task, nowWallMs: number, waitingReason?: string): Standing {
  const { final } = task;
  if (final !== undefined) {
    const reason = final.dup !== undefined ? `duplicate_of ${final.dup}` : final.reason;
    return {
      state: final.state,
      reason: reason === '' ? undefined : reason,
      sinceWallMs: final.at,
      runAtWallMs: undefined,
    };
  }
  const open = currentAttempt(task);
  if (open !== undefined) {
    return {
      state: 'active',
      reason: undefined,
      sinceWallMs: open.start.at,
      runAtWallMs: undefined,
    };
  }
  const lastEnd = task.attempts.reduce(
    (latest, attempt) => Math.max(latest, attempt.ends[0]?.at ?? 0),
    0,
  );
  const step = nextStep(task, nowWallMs);
  if (step.step === 'wait') {
    return {
      state: 'delayed',
      reason: step.why,
      sinceWallMs: Math.max(task.submittedAt, lastEnd),
      runAtWallMs: step.untilWallMs,
    };
  }
  const since = Math.max(lastEnd, Math.min(dueAt(task), nowWallMs), task.submittedAt);
  return {
    state: 'waiting',
    // Only the owner knows; whoever holds a mere copy has not heard from it.
    reason: waitingReason ?? 'owner_unreachable',
    sinceWallMs: since,
    runAtWallMs: undefined,
  };
}

const failed = (end: EndFact): boolean => end.out === 'failed' || end.out === 'timeout';

/** Its runner only knows that time was up; of two limits the one that came first ended it. */
function timeoutText({ header, submittedAt }: Task, attempt: Attempt | undefined): string {
  const { run_timeout_ms: runMs, total_timeout_ms: totalMs } = header;
  if (totalMs === undefined) return 'the run timeout has passed';
  const runEndsAt =
    runMs === undefined ? Number.POSITIVE_INFINITY : (attempt?.start.at ?? submittedAt) + runMs;
  const which = submittedAt + totalMs < runEndsAt ? 'total' : 'run';
  return `the ${which} timeout has passed`;
}

function errorView(task: Task, end: EndFact): { message: string; code?: string } | undefined {
  if (end.out === 'completed') return undefined;
  const message =
    end.err ??
    (end.out === 'timeout' ? timeoutText(task, attemptByRun(task, end.run_id)) : end.out);
  const code =
    end.code ??
    (end.out === 'timeout'
      ? 'timeout'
      : end.exit !== undefined || end.sig !== undefined
        ? 'exit'
        : 'error');
  return { message, code };
}

function attemptsView(task: Task): TaskView['attempts'] {
  return task.attempts.map(({ start, author, owner, ends }) => {
    const end = ends[0];
    const error = end === undefined ? undefined : errorView(task, end);
    return {
      attempt: start.n,
      run_id: start.run_id,
      placed_by: author,
      owner,
      runner: start.runner,
      runner_name: start.runner_name,
      placed_at: toRfc3339(start.at),
      ...(end === undefined ? {} : { ended_at: toRfc3339(end.at), outcome: end.out }),
      ...(end?.exit === undefined ? {} : { exit_code: end.exit }),
      ...(end?.sig === undefined ? {} : { signal: end.sig }),
      ...(error === undefined ? {} : { error }),
      possibly_double: start.dbl,
      accepted:
        task.final !== undefined &&
        task.final.run_id === start.run_id &&
        task.final.state === 'completed',
    };
  });
}

/** The part of the view that a result or a last failure adds. */
function resultView(task: Task): Partial<TaskView> {
  const last = task.attempts.findLast(
    (attempt) => attempt.ends[0] !== undefined && failed(attempt.ends[0]),
  )?.ends[0];
  const end = acceptedEnd(task) ?? last;
  if (end === undefined) return {};
  const error = errorView(task, end);
  return {
    ...(end.res === undefined ? {} : { result: readJsonText(end.res) }),
    ...(end.exit === undefined ? {} : { exit_code: end.exit }),
    ...(end.sig === undefined ? {} : { signal: end.sig }),
    ...(end.stdout === undefined ? {} : { stdout: bytesView(end.stdout) }),
    ...(end.stderr === undefined ? {} : { stderr: bytesView(end.stderr) }),
    ...(end.trunc === true ? { output_truncated: true } : {}),
    ...(error === undefined ? {} : { error }),
  };
}

export function summaryOf(
  record: RecordState,
  nowWallMs: number,
  waitingReason?: string,
): TaskSummary {
  const task = taskOf(record);
  const standing = standingOf(task, nowWallMs, waitingReason);
  const open = currentAttempt(task);
  const end = acceptedEnd(task);
  return {
    id: task.id,
    queue: task.header.queue,
    type: task.header.type,
    state: standing.state,
    ...(standing.reason === undefined ? {} : { reason: standing.reason }),
    since: toRfc3339(standing.sinceWallMs),
    priority: task.header.priority,
    submitted_at: toRfc3339(task.submittedAt),
    ...(task.final === undefined ? {} : { finished_at: toRfc3339(task.final.at) }),
    attempt: task.attempts.at(-1)?.start.n ?? 0,
    ...(open === undefined ? {} : { runner: open.start.runner_name }),
    ...(end?.exit === undefined ? {} : { exit_code: end.exit }),
    ...(task.header.argv === undefined ? {} : { argv: [...task.header.argv] }),
    ...(task.conflicts === 0 ? {} : { conflicts: task.conflicts }),
  };
}

export function viewOf(record: RecordState, nowWallMs: number, extras: ViewExtras = {}): TaskView {
  const task = taskOf(record);
  const { header } = task;
  const standing = standingOf(task, nowWallMs, extras.waitingReason);
  const payload = extras.blob?.payload;
  return {
    ...summaryOf(record, nowWallMs, extras.waitingReason),
    labels: { ...header.labels },
    ...(standing.runAtWallMs === undefined ? {} : { run_at: toRfc3339(standing.runAtWallMs) }),
    failures: failureCount(task),
    losses: lossWeight(task),
    home: [...homeOf(record)],
    ...(extras.setAsideBy === undefined
      ? {}
      : { reason: 'set_aside', set_aside_by: [...extras.setAsideBy] }),
    ...(extras.owner === undefined ? {} : { owner: extras.owner }),
    ...(payload === undefined ? {} : { payload: readJsonText(payload) }),
    ...(extras.progress === undefined ? {} : { progress: extras.progress }),
    ...resultView(task),
    ...(task.cancel === undefined ? {} : { cancel_requested: task.cancel.reason }),
    ...(task.final?.dup === undefined ? {} : { duplicate_of: task.final.dup }),
    ...(header.retry_of === undefined ? {} : { retry_of: header.retry_of }),
    ...(header.dedupe_key === undefined ? {} : { dedupe_key: header.dedupe_key }),
    conflicts: task.conflicts,
    attempts: attemptsView(task),
    orphans: task.orphans.map((orphan) => ({
      attempt: orphan.n,
      run_id: orphan.run_id,
      outcome: orphan.out,
      digest: orphan.digest,
    })),
  };
}

/**
 * Placement as it would be decided now, with the peer that runs the task shown as such: its own slot is no reason
 * against it. One that is dead, left or removed does not run it any more, whatever the record still says.
 */
export function becauseOfActive(task: Task, because: readonly Because[]): Because[] {
  const start = currentAttempt(task)?.start;
  return because.map((item) =>
    item.peer !== start?.runner || GONE.has(item.code)
      ? item
      : { ...item, ok: true, code: 'runs_here', detail: `attempt ${start.n} runs here` },
  );
}

/** What happened to a task, in the order of the times that were noted, for `explain`. */
export function historyOf(
  record: RecordState,
  nameOf: (store: string) => string,
): { at: string; what: string; by: string }[] {
  const lines: { atMs: number; what: string; by: string }[] = [
    { atMs: record.stamp, what: 'submitted', by: '' },
  ];
  for (const fact of record.facts) {
    const {
      t,
      at,
      n,
      out,
      runner_name: runner,
      err: why,
      code,
      reason,
      state,
      store,
      to,
    } = fact.value;
    const texts: Record<string, string> = {
      start: `attempt ${String(n)} placed on ${String(runner)}`,
      end: `attempt ${String(n)} ${String(out)}${code === undefined ? '' : ` (${String(code)})`}${why === undefined ? '' : `: ${String(why)}`}`,
      adopt: 'a running attempt was adopted',
      hand: `a running attempt was handed to ${nameOf(String(to))}`,
      hold: 'the runner stops; its worker may resume the attempt',
      resume: 'a worker resumed the attempt after the restart of its daemon',
      orphan: `attempt ${String(n)} ${String(out)} too late: kept as an orphan`,
      cancel: `cancel requested${reason === '' ? '' : `: ${String(reason)}`}`,
      final: `${String(state)}${reason === '' ? '' : ` (${String(reason)})`}`,
      home: `${nameOf(String(store))} was added to the home`,
      drop: 'retention was shortened',
    };
    const what = texts[String(t)];
    if (what !== undefined)
      lines.push({
        atMs: typeof at === 'number' ? at : record.stamp,
        what,
        by: nameOf(fact.store),
      });
  }
  return lines
    .sort((a, b) => a.atMs - b.atMs)
    .map((line) => ({ at: toRfc3339(line.atMs), what: line.what, by: line.by }));
}
