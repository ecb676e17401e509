/**
 * The facts of a task record, and the header: what is written, never changed, and joined by union.
 *
 *   start   an attempt was placed (by its author, the owner) on a runner
 *   adopt   its author took over the ownership of a running attempt
 *   hand    its author handed a running attempt to another owner
 *   hold    the runner stops in an orderly way; its worker may resume the attempt within `ms`
 *   resume  a worker goes on with the attempt after its daemon's restart
 *   end     an attempt ended: completed, failed, lost, interrupted, refused, canceled, timeout
 *   orphan  a result of an attempt that was no longer current
 *   dup     another task with the same dedupe key came first; this one ends unless it has started
 *   cancel  somebody wants the end of the task
 *   final   the task is final: written once by an owner; concurrent ones are conflicts
 *   home    a store was added to the home
 *   drop    retention made `drop_at` earlier
 */
import type { AttemptOutcome, TaskState } from '../api/task.ts';
import type { Fact } from '../records/record.ts';
import { decodeValue, encodeToKeep, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';

export type FinalState = Extract<TaskState, 'completed' | 'failed' | 'canceled' | 'expired'>;

export interface StartFact {
  readonly t: 'start';
  readonly n: number;
  readonly run_id: string;
  readonly runner: string;
  readonly runner_store: string;
  readonly runner_boot: number;
  readonly runner_name: string;
  readonly at: number;
  /** An earlier attempt may have run at the same time. */
  readonly dbl: boolean;
}

export interface EndFact {
  readonly t: 'end';
  readonly n: number;
  readonly run_id: string;
  readonly out: AttemptOutcome;
  readonly at: number;
  /** How much it counts towards losses_max: 2 when its daemon died, 1 when its worker did. */
  readonly loss?: number;
  /** The attempt is known to have ended: crash evidence, a higher boot, or the runner's own word. */
  readonly proven?: boolean;
  /** Wall milliseconds before which no new attempt starts: the backoff as the owner drew it. */
  readonly next_at?: number;
  readonly exit?: number;
  readonly sig?: string;
  readonly err?: string;
  readonly code?: string;
  readonly retryable?: boolean;
  /** JSON text of a worker's result. */
  readonly res?: string;
  readonly stdout?: Uint8Array;
  readonly stderr?: Uint8Array;
  readonly trunc?: boolean;
  /** Digest of the end before its output was shortened: by it the runner's repetition is recognised. */
  readonly whole?: string;
}

export interface FinalFact {
  readonly t: 'final';
  readonly state: FinalState;
  readonly reason: string;
  readonly run_id: string;
  readonly n: number;
  readonly digest: string;
  readonly at: number;
  readonly drop_at: number;
  readonly dup?: string;
}

export type TaskFactValue =
  | StartFact
  | EndFact
  | FinalFact
  | { readonly t: 'adopt'; readonly run_id: string; readonly at: number }
  | { readonly t: 'hand'; readonly run_id: string; readonly to: string; readonly at: number }
  | { readonly t: 'hold'; readonly run_id: string; readonly ms: number; readonly at: number }
  | {
      readonly t: 'orphan';
      readonly n: number;
      readonly run_id: string;
      readonly out: string;
      readonly digest: string;
      readonly at: number;
    }
  | { readonly t: 'resume'; readonly run_id: string; readonly boot: number; readonly at: number }
  | { readonly t: 'cancel'; readonly reason: string; readonly by: string; readonly at: number }
  | { readonly t: 'dup'; readonly of: string; readonly at: number }
  | { readonly t: 'home'; readonly store: string; readonly at: number }
  | { readonly t: 'drop'; readonly drop_at: number };

/** Members without which a fact of this type means nothing. Facts of later versions are kept and not looked at. */
const FACT_MEMBERS: Readonly<Record<TaskFactValue['t'], Readonly<Record<string, string>>>> = {
  start: {
    n: 'number',
    run_id: 'string',
    runner: 'string',
    runner_store: 'string',
    runner_boot: 'number',
    runner_name: 'string',
    at: 'number',
  },
  end: { n: 'number', run_id: 'string', out: 'string', at: 'number' },
  final: { state: 'string', run_id: 'string', n: 'number', at: 'number', drop_at: 'number' },
  adopt: { run_id: 'string', at: 'number' },
  hand: { run_id: 'string', to: 'string', at: 'number' },
  hold: { run_id: 'string', ms: 'number', at: 'number' },
  resume: { run_id: 'string', boot: 'number', at: 'number' },
  orphan: { n: 'number', run_id: 'string', out: 'string', at: 'number' },
  cancel: { reason: 'string', at: 'number' },
  dup: { of: 'string', at: 'number' },
  home: { store: 'string', at: 'number' },
  drop: { drop_at: 'number' },
};

/** Members that a fact of this type may have: of another type they would be met by readers that rely on theirs. */
const OPTIONAL_MEMBERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  start: { dbl: 'boolean' },
  end: {
    ...{ loss: 'number', proven: 'boolean', next_at: 'number', exit: 'number', sig: 'string' },
    ...{ err: 'string', code: 'string', retryable: 'boolean', res: 'string', trunc: 'boolean' },
    ...{ whole: 'string', stdout: 'bytes', stderr: 'bytes' },
  },
  final: { reason: 'string', digest: 'string', dup: 'string' },
  cancel: { by: 'string' },
};

const isOf = (value: WireValue | undefined, type: string): boolean => {
  if (type === 'bytes') return value instanceof Uint8Array;
  if (type === 'texts') return Array.isArray(value) && value.every((v) => typeof v === 'string');
  if (type === 'map') return isWireMap(value);
  return typeof value === type;
};

const hasMembers = (
  value: WireMap,
  members: Readonly<Record<string, string>>,
  optional: Readonly<Record<string, string>> = {},
): boolean =>
  Object.entries(members).every(([name, type]) => isOf(value[name], type)) &&
  Object.entries(optional).every(
    ([name, type]) => value[name] === undefined || isOf(value[name], type),
  );

/** Whether a fact that came from elsewhere says what its type must say. */
export function isTaskFact(value: WireMap): boolean {
  const { t } = value;
  if (typeof t !== 'string') return false;
  return !isFactType(t) || hasMembers(value, FACT_MEMBERS[t], OPTIONAL_MEMBERS[t]);
}

const isFactType = (t: string): t is TaskFactValue['t'] => Object.hasOwn(FACT_MEMBERS, t);

export const toWire = (value: TaskFactValue): WireMap => value as unknown as WireMap;

/** A fact as its type says, once `isTaskFact` let it in; members of later versions are kept and ignored. */
export const fromWire = (fact: Fact): TaskFactValue => fact.value as unknown as TaskFactValue;

/** What a task is, as submitted; payload, stdin and environment lie in the blob. */
export interface TaskHeader {
  readonly queue: string;
  readonly type: string;
  readonly argv?: readonly string[];
  readonly cwd?: string;
  readonly shell?: boolean;
  readonly priority: number;
  readonly delay_ms: number;
  readonly attempts: number;
  readonly losses_max: number;
  readonly on_lost: 'retry' | 'fail';
  readonly backoff?: {
    readonly type: 'fixed' | 'exponential';
    readonly delay_ms: number;
    readonly max_ms?: number;
  };
  readonly queue_timeout_ms?: number;
  readonly run_timeout_ms?: number;
  readonly total_timeout_ms?: number;
  readonly dedupe_key?: string;
  readonly durability: 'auto' | 'one' | 'quorum' | 'all';
  readonly on_partition: 'wait' | 'available';
  readonly output: 'full' | 'tail';
  readonly labels: Readonly<Record<string, string>>;
  readonly retry_of?: string;
  /** Digest of the request as the client sent it. */
  readonly digest: string;
}

export const EXEC_TYPE = 'exec';

export const encodeHeader = (header: TaskHeader): Uint8Array =>
  encodeToKeep(header as unknown as WireMap);

/** Members that every header has. */
const HEADER_MEMBERS = {
  queue: 'string',
  type: 'string',
  priority: 'number',
  delay_ms: 'number',
  attempts: 'number',
  losses_max: 'number',
  on_lost: 'string',
  labels: 'map',
  digest: 'string',
} as const;
const HEADER_OPTIONAL = {
  ...{ argv: 'texts', cwd: 'string', shell: 'boolean', backoff: 'map', dedupe_key: 'string' },
  ...{ queue_timeout_ms: 'number', run_timeout_ms: 'number', total_timeout_ms: 'number' },
  ...{ durability: 'string', on_partition: 'string', output: 'string', retry_of: 'string' },
} as const;

/** A header is never changed, and all versions of a record share it: it is read once. */
const headers = new WeakMap<Uint8Array, TaskHeader>();

export function decodeHeader(bytes: Uint8Array): TaskHeader | undefined {
  const known = headers.get(bytes);
  if (known !== undefined) return known;
  const header = readHeader(bytes);
  if (header !== undefined) headers.set(bytes, header);
  return header;
}

function readHeader(bytes: Uint8Array): TaskHeader | undefined {
  const value = decodeValue(bytes);
  if (!value.ok || !isWireMap(value.value)) return undefined;
  return hasMembers(value.value, HEADER_MEMBERS, HEADER_OPTIONAL)
    ? (value.value as unknown as TaskHeader)
    : undefined;
}

/** The large part of a task. */
export interface TaskBlob {
  /** JSON text. */
  readonly payload?: string;
  readonly stdin?: Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

export function encodeBlob(blob: TaskBlob): Uint8Array {
  const empty = blob.payload === undefined && blob.stdin === undefined && blob.env === undefined;
  return empty ? new Uint8Array(0) : encodeValue(blob as unknown as WireMap);
}

export function decodeBlob(bytes: Uint8Array | undefined): TaskBlob {
  if (bytes === undefined || bytes.length === 0) return {};
  const value = decodeValue(bytes);
  const isBlob = value.ok && isWireMap(value.value) && hasMembers(value.value, {}, BLOB_MEMBERS);
  return isBlob ? (value.value as unknown as TaskBlob) : {};
}

const BLOB_MEMBERS = { payload: 'string', stdin: 'bytes', env: 'map' } as const;
