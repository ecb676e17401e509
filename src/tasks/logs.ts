/** Output of a task, wherever it lies: the accepted result, the runner's spool, or the replicated tail. */
import type { OutputStream } from '../ports/processes.ts';
import type { RecordState } from '../records/record.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { MeshView } from './mesh-view.ts';
import { LOG_READ_BYTES_MAX } from './run-messages.ts';
import type { Tails } from './tails.ts';
import { type Attempt, acceptedEnd, currentAttempt, taskOf } from './task.ts';

export interface Output {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly truncated: boolean;
  readonly source: 'result' | 'runner' | 'tail' | 'none';
}

export interface LogDeps {
  readonly messaging: Messaging;
  readonly view: MeshView;
  readonly tails: Tails;
}

const NONE: Output = {
  stdout: new Uint8Array(0),
  stderr: new Uint8Array(0),
  truncated: false,
  source: 'none',
};

/** The attempt whose output is meant: the running one, else the accepted one, else the last. */
export function attemptToShow(record: RecordState): Attempt | undefined {
  const task = taskOf(record);
  const accepted = task.attempts.find((attempt) => attempt.start.run_id === task.final?.run_id);
  return currentAttempt(task) ?? accepted ?? task.attempts.at(-1);
}

export async function readOutput(
  deps: LogDeps,
  record: RecordState,
  tailBytes: number,
): Promise<Output> {
  const end = acceptedEnd(taskOf(record)) ?? attemptToShow(record)?.ends[0];
  if (end?.stdout !== undefined || end?.stderr !== undefined) {
    const stdout = end.stdout ?? NONE.stdout;
    const stderr = end.stderr ?? NONE.stderr;
    return {
      stdout: last(stdout, tailBytes),
      stderr: last(stderr, tailBytes),
      truncated: end.trunc === true || stdout.length > tailBytes || stderr.length > tailBytes,
      source: 'result',
    };
  }
  const attempt = attemptToShow(record);
  if (attempt === undefined) return NONE;
  const [stdout, stderr] = await Promise.all([
    readTailOf(deps, attempt, 'stdout', tailBytes),
    readTailOf(deps, attempt, 'stderr', tailBytes),
  ]);
  if (stdout !== undefined && stderr !== undefined) {
    return {
      stdout: stdout.bytes,
      stderr: stderr.bytes,
      truncated: stdout.truncated || stderr.truncated,
      source: 'runner',
    };
  }
  return (await replicatedTail(deps, record, attempt)) ?? NONE;
}

const last = (bytes: Uint8Array, limit: number): Uint8Array =>
  bytes.length <= limit ? bytes : bytes.subarray(bytes.length - limit);

/** The end of a stream from the runner's spool; undefined when the runner cannot be asked. */
async function readTailOf(
  deps: LogDeps,
  attempt: Attempt,
  stream: OutputStream,
  tailBytes: number,
): Promise<{ bytes: Uint8Array; truncated: boolean } | undefined> {
  const probe = await readPiece(deps, attempt, stream, {
    offset: Number.MAX_SAFE_INTEGER,
    waitMs: 0,
  });
  if (probe === undefined) return undefined;
  let offset = Math.max(0, probe.end - tailBytes);
  const truncated = probe.truncated || offset > 0;
  const pieces: Uint8Array[] = [];
  while (offset < probe.end) {
    const piece = await readPiece(deps, attempt, stream, { offset, waitMs: 0 });
    if (piece === undefined || piece.bytes.length === 0) break;
    pieces.push(piece.bytes);
    offset += piece.bytes.length;
  }
  return { bytes: concat(pieces), truncated };
}

export interface Piece {
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly truncated: boolean;
  /** The attempt is not over: more may come. */
  readonly running: boolean;
}

/** Bytes from `offset` of a run's stream, from its runner; undefined when it is out of reach or knows nothing. */
export async function readPiece(
  deps: LogDeps,
  attempt: Attempt,
  stream: OutputStream,
  from: { readonly offset: number; readonly waitMs: number },
): Promise<Piece | undefined> {
  const body: WireMap = {
    run_id: attempt.start.run_id,
    stream,
    offset: from.offset,
    limit: LOG_READ_BYTES_MAX,
    wait_ms: from.waitMs,
  };
  const answer = await deps.messaging.call(attempt.start.runner, 'log.read', body, {
    timeoutMs: from.waitMs + 3_000,
    frameClass: 'bulk',
  });
  if (!answer.ok || !(answer.value.bytes instanceof Uint8Array)) return undefined;
  return {
    bytes: answer.value.bytes,
    end: typeof answer.value.end === 'number' ? answer.value.end : 0,
    truncated: answer.value.truncated === true,
    running: answer.value.running === true,
  };
}

/** What the home stores kept of a runner that died. */
async function replicatedTail(
  deps: LogDeps,
  record: RecordState,
  attempt: Attempt,
): Promise<Output | undefined> {
  const { view, messaging, tails } = deps;
  const own = tails.get(record.id);
  if (own?.run_id === attempt.start.run_id) return { ...own, truncated: true, source: 'tail' };
  for (const peer of view.peers()) {
    if (!peer.reachable || peer.self) continue;
    const answer = await messaging.call(peer.peerId, 'log.tail', { id: record.id });
    if (!answer.ok || answer.value.run_id !== attempt.start.run_id) continue;
    const { stdout, stderr } = answer.value;
    if (stdout instanceof Uint8Array && stderr instanceof Uint8Array) {
      return { stdout, stderr, truncated: true, source: 'tail' };
    }
  }
  return undefined;
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
