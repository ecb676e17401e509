/** A task as its record says it: attempts, intents and finals read from the set of facts. Pure, and cached. */

import { invariant } from '../base/errors.ts';
import { digestOf } from '../base/hash.ts';
import type { RecordState, StoreId } from '../records/record.ts';
import { encodeValue } from '../wire/codec.ts';
import {
  decodeHeader,
  type EndFact,
  type FinalFact,
  fromWire,
  isTaskFact,
  type StartFact,
  type TaskFactValue,
  type TaskHeader,
  toWire,
} from './facts.ts';

export interface Attempt {
  readonly start: StartFact;
  /** The store that placed it. */
  readonly author: StoreId;
  /** The dot of the start, for a fixed order. */
  readonly seq: number;
  /** The store that owns it now: its author, or the last that adopted it or was handed it. */
  readonly owner: StoreId;
  /** All ends that were written; the first is the one that counts. */
  readonly ends: readonly EndFact[];
  /** The boot of the runner's daemon that carries it: of its start, or of the last resume. */
  readonly runnerBoot: number;
  readonly hold: { readonly ms: number; readonly at: number } | undefined;
}

export interface Task {
  readonly id: string;
  readonly record: RecordState;
  readonly header: TaskHeader;
  /** Wall milliseconds at the accepting peer; every delay and timeout counts from it. */
  readonly submittedAt: number;
  /** In order of attempt number, then author, then seq. */
  readonly attempts: readonly Attempt[];
  readonly cancel:
    | { readonly reason: string; readonly at: number; readonly by: string }
    | undefined;
  /** The task that came first under the same dedupe key. */
  readonly duplicateOf: string | undefined;
  /** The accepted final: the least in the fixed order. */
  readonly final: FinalFact | undefined;
  /** Concurrent finals that differ from the accepted one. */
  readonly conflicts: number;
  readonly orphans: readonly {
    readonly n: number;
    readonly run_id: string;
    readonly out: string;
    readonly digest: string;
  }[];
  readonly dropAt: number | undefined;
}

const FINAL_ORDER = { completed: 0, failed: 1, canceled: 2, expired: 3 } as const;

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The fixed total order of finals: a result beats a failure, a failure a cancel; then the earlier attempt. */
export const compareFinals = (a: FinalFact, b: FinalFact): number =>
  FINAL_ORDER[a.state] - FINAL_ORDER[b.state] ||
  a.n - b.n ||
  compareText(a.run_id, b.run_id) ||
  compareText(a.digest, b.digest);

/**
 * A final whose attempt others know to be lost: whoever wrote it went away before it had told them, and they went
 * on. It gives way to a final that was written in that knowledge. Without this, an owner that comes back with a
 * result that it alone had would change what clients were told meanwhile.
 */
function isDoubted(
  final: FinalFact,
  drafts: ReadonlyMap<string, { ends: readonly EndFact[] }>,
): boolean {
  const ends = drafts.get(final.run_id)?.ends ?? [];
  return ends.some((end) => end.out === 'lost' && digestOfEnd(end) !== final.digest);
}

/** Among ends of one attempt what was said by its runner beats what was concluded from silence. */
const END_ORDER = {
  completed: 0,
  failed: 1,
  timeout: 2,
  canceled: 3,
  interrupted: 4,
  refused: 5,
  lost: 6,
} as const;
const compareEnds = (a: EndFact, b: EndFact): number =>
  END_ORDER[a.out] - END_ORDER[b.out] || compareText(digestOfEnd(a), digestOfEnd(b));

const endDigests = new WeakMap<EndFact, string>();

/** What two runs of a task must share to have the same result: not the time, not the host. */
export function digestOfEnd(end: EndFact): string {
  const known = endDigests.get(end);
  if (known !== undefined) return known;
  const { out, exit, sig, err, res, stdout, stderr } = end;
  const digest = end.whole ?? digestOf(encodeValue({ out, exit, sig, err, res, stdout, stderr }));
  endDigests.set(end, digest);
  return digest;
}

const tasks = new WeakMap<RecordState, Task>();

export function taskOf(record: RecordState): Task {
  const known = tasks.get(record);
  if (known !== undefined) return known;
  const header = decodeHeader(record.header);
  invariant(header !== undefined, `the header of task ${record.id} is unreadable`);
  const task = readFacts(record, header);
  tasks.set(record, task);
  return task;
}

type Draft = { -readonly [K in keyof Attempt]: Attempt[K] } & { ends: EndFact[]; moved: number };

function draftsOf(record: RecordState): Map<string, Draft> {
  const drafts = new Map<string, Draft>();
  for (const fact of record.facts) {
    const value = fromWire(fact);
    if (value.t !== 'start') continue;
    drafts.set(value.run_id, {
      start: value,
      author: fact.store,
      seq: fact.seq,
      owner: fact.store,
      ends: [],
      runnerBoot: value.runner_boot,
      hold: undefined,
      moved: 0,
    });
  }
  return drafts;
}

/** A fact about an attempt, put into its draft. */
function applyToDraft(draft: Draft, value: TaskFactValue, author: StoreId): void {
  if (value.t === 'end') draft.ends.push(value);
  else if (value.t === 'hold') draft.hold = { ms: value.ms, at: value.at };
  else if (value.t === 'resume') draft.runnerBoot = Math.max(draft.runnerBoot, value.boot);
  else if (value.t === 'adopt' || value.t === 'hand') {
    const to = value.t === 'adopt' ? author : value.to;
    // The latest move wins; its time is only a label that all replicas read alike.
    const isLater = value.at > draft.moved || (value.at === draft.moved && to < draft.owner);
    if (!isLater) return;
    draft.owner = to;
    draft.moved = value.at;
  }
}

function readFacts(record: RecordState, header: TaskHeader): Task {
  const drafts = draftsOf(record);
  const finals: FinalFact[] = [];
  const orphans: Task['orphans'][number][] = [];
  let cancel: Task['cancel'];
  let dropAt: number | undefined;
  let duplicateOf: string | undefined;
  for (const fact of record.facts) {
    const value = fromWire(fact);
    const draft = 'run_id' in value ? drafts.get(value.run_id) : undefined;
    if (draft !== undefined) applyToDraft(draft, value, fact.store);
    if (value.t === 'cancel') {
      if (cancel === undefined || value.at < cancel.at) cancel = value;
    } else if (value.t === 'dup') {
      if (duplicateOf === undefined || value.of < duplicateOf) duplicateOf = value.of;
    } else if (value.t === 'orphan') orphans.push(value);
    else if (value.t === 'final') finals.push(value);
    if (value.t === 'final' || value.t === 'drop') {
      dropAt = Math.min(dropAt ?? value.drop_at, value.drop_at);
    }
  }
  finals.sort(
    (a, b) => Number(isDoubted(a, drafts)) - Number(isDoubted(b, drafts)) || compareFinals(a, b),
  );
  const final = finals[0];
  const attempts = [...drafts.values()]
    .map((draft): Attempt => ({ ...draft, ends: draft.ends.sort(compareEnds) }))
    .sort((a, b) => a.start.n - b.start.n || compareText(a.author, b.author) || a.seq - b.seq);
  return {
    id: record.id,
    record,
    header,
    submittedAt: record.stamp,
    attempts,
    cancel,
    duplicateOf,
    final,
    conflicts: finals.filter((other) => final !== undefined && compareFinals(final, other) !== 0)
      .length,
    orphans,
    dropAt: final === undefined ? undefined : dropAt,
  };
}

export const isOpen = (attempt: Attempt): boolean => attempt.ends.length === 0;

/** Attempts that were placed and have no end, the newest last. */
export const openAttempts = (task: Task): Attempt[] => task.attempts.filter(isOpen);

/** The one attempt that is current: the last open one. */
export const currentAttempt = (task: Task): Attempt | undefined => task.attempts.findLast(isOpen);

export const attemptByRun = (task: Task, runId: string): Attempt | undefined =>
  task.attempts.find((attempt) => attempt.start.run_id === runId);

/** Failures of the command itself, which count towards `attempts`. */
export const failureCount = (task: Task): number =>
  task.attempts.filter((attempt) => ['failed', 'timeout'].includes(attempt.ends[0]?.out ?? ''))
    .length;

/** Losses with their weights, which count towards `losses_max`. */
export const lossWeight = (task: Task): number =>
  task.attempts.reduce(
    (sum, { ends }) => sum + (ends[0]?.out === 'lost' ? (ends[0].loss ?? 1) : 0),
    0,
  );

export const nextAttemptNumber = (task: Task): number =>
  task.attempts.reduce((highest, attempt) => Math.max(highest, attempt.start.n), 0) + 1;

/** The accepted end: of the attempt that the final names. */
export function acceptedEnd(task: Task): EndFact | undefined {
  if (task.final === undefined || task.final.run_id === '') return undefined;
  const ends = attemptByRun(task, task.final.run_id)?.ends ?? [];
  return ends.find((end) => digestOfEnd(end) === task.final?.digest) ?? ends[0];
}

/** Whether a record that came from elsewhere can be read as a task. */
export const isTaskRecord = (record: RecordState): boolean =>
  record.kind === 'task' &&
  decodeHeader(record.header) !== undefined &&
  record.facts.every((fact) => isTaskFact(fact.value));

export const taskRules = {
  isReadable: isTaskRecord,
  isFinal: (record: RecordState): boolean => taskOf(record).final !== undefined,
  dropAtMs: (record: RecordState): number | undefined => taskOf(record).dropAt,
  earlierDrop: (atMs: number) => toWire({ t: 'drop', drop_at: atMs }),
};

export { toWire };
