/**
 * What is known of a simulated world from outside the mesh: which tasks were acknowledged to whom, what was run on
 * which machine from when to when, what each peer told of each task. The checkers compare the mesh's own records
 * with this. Plain data: a test may falsify any of it and must then be contradicted.
 */
import type { MemberStatus } from '../membership/types.ts';
import type { RecordState } from '../records/record.ts';
import type { Knowledge } from './knowledge.ts';
import type { LaterFact } from './notes.ts';

/** One start of a command or a worker's handler. */
export interface OutsideRun {
  readonly taskId: string;
  readonly attempt: number;
  readonly runId: string;
  readonly host: string;
  readonly kind: 'exec' | 'worker';
  readonly startedMs: number;
  endedMs: number | undefined;
  /** How it ended: by itself with this exit code, or by somebody else. */
  exitCode: number | undefined;
  /** Its daemon died and the guardian was late: a restart may overlap, and nobody can know. */
  outlived?: boolean;
}

/** A submit and what became of it as its client knows it. */
export interface Submitted {
  /** The order of submits in this world. */
  readonly number: number;
  /** Known after the answer, or before it when the client reserved it. */
  id: string | undefined;
  /**
   * refused: surely not stored. existing: another task has its dedupe key, and nothing was stored for it. unknown: no
   * answer, or too few copies.
   */
  outcome: 'open' | 'acknowledged' | 'refused' | 'existing' | 'unknown';
  /** When it was sent first, and when its client first had an answer, or was told that it is stored. */
  readonly askedMs?: number;
  answeredMs?: number;
  /** Its dedupe key. */
  readonly key?: string;
  detail: string;
  readonly kind: 'exec' | 'worker';
  /** Failures of the command that the task allows. */
  readonly attempts: number;
  /** How many of its attempts the command fails. */
  readonly failures: number;
  /** The finals that it may come to, where exit codes do not tell: `failed(timeout)`, or a state alone. */
  readonly ends?: readonly string[];
  canceled: boolean;
  /** When the wish was acknowledged. */
  canceledMs?: number;
}

/** A request under way at one boot of a host's daemon. */
export interface Asking {
  readonly number: number;
  readonly host: string;
  readonly boot: number;
  answered: boolean;
}

export interface ShownFinal {
  readonly state: string;
  readonly runId: string;
  readonly digest: string;
}

/** What one incarnation of a peer began to show of a task. */
export interface Told {
  readonly atMs: number;
  readonly host: string;
  readonly boot: number;
  readonly id: string;
  /** Undefined: it is not final. */
  readonly final: ShownFinal | undefined;
  readonly conflicts: number;
}

/** A copy of a record at the end, with the store that holds it. */
export interface Replicated {
  readonly storeId: string;
  readonly host: string;
  readonly record: RecordState;
}

export interface MemberSeen {
  readonly by: string;
  readonly name: string;
  readonly status: MemberStatus;
  readonly linked: boolean;
}

/** A host that nobody could reach for a while, though its daemon ran. */
export interface Cut {
  readonly host: string;
  readonly fromMs: number;
  toMs: number;
}

export interface Evidence {
  readonly submits: readonly Submitted[];
  readonly runs: readonly OutsideRun[];
  readonly told: readonly Told[];
  /** When each host's store knew that an attempt was placed. */
  readonly knowledge: Knowledge;
  /** At the end, by task id; keys and other kinds are left out. */
  readonly replicas: ReadonlyMap<string, readonly Replicated[]>;
  /** Of the daemons that run at the end. */
  readonly stores: readonly string[];
  readonly viewHashes: readonly string[];
  readonly members: readonly MemberSeen[];
  /** What ended a daemon that nobody had asked to end. */
  readonly fatals: readonly { readonly host: string; readonly why: string }[];
  /** Steps that broke a rule when they were made. */
  readonly steps: readonly StepViolation[];
  readonly cuts: readonly Cut[];
  /** By record: hosts whose disk got an older version of it from a fault, or none. */
  readonly replaced: ReadonlyMap<string, ReadonlySet<string>>;
  /** By record: what of it lay on the struck disk alone, by the names of losses.ts. */
  readonly lost: ReadonlyMap<string, ReadonlySet<string>>;
  /** Records that were let go after their end. */
  readonly dropped: ReadonlyMap<string, RecordState>;
  /** By a daemon of a later version, durable when they were noted. */
  readonly laterFacts: readonly LaterFact[];
  /** Set aside, by their id: the hosts that keep them out of the way. */
  readonly aside: ReadonlyMap<string, readonly string[]>;
  /** By record: stores whose copy was destroyed. */
  readonly destroyed: ReadonlyMap<string, ReadonlySet<string>>;
  readonly endMs: number;
  readonly endWallMs: number;
}

export interface Violation {
  /** The invariant's short name. */
  readonly rule: string;
  readonly detail: string;
}

export interface StepViolation extends Violation {
  /** The worlds in which it is one. */
  readonly within: 'any' | 'strict';
}

/** The daemon that ran it said something before its start, and something long after its end, without a start in between. */
export function livedOn(
  { told }: Pick<Evidence, 'told'>,
  { host, startedMs, endedMs }: OutsideRun,
  forMs: number,
): boolean {
  if (endedMs === undefined) return false;
  const its = told.filter((one) => one.host === host);
  const boot = its.findLast(({ atMs }) => atMs <= startedMs)?.boot;
  return its.some((one) => one.boot === boot && one.atMs > endedMs + forMs);
}
