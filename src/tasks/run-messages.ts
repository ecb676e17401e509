/** The messages between owners, runners and home stores about running attempts: reading them, answering them. */
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { OutputStream, Spool } from '../ports/processes.ts';
import { takes } from '../ports/room.ts';
import type { Replica } from '../records/replica.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import type { Attempts } from './attempts.ts';
import { type EndFact, isTaskFact } from './facts.ts';
import { askHeld, HELD_IDS_MAX, joinHeld, serveHeld } from './held.ts';
import type { MeshView } from './mesh-view.ts';
import type { Owner } from './owner.ts';
import type { Runner } from './runner.ts';
import { onStart } from './start-order.ts';
import type { Tails } from './tails.ts';
import { attemptByRun, isOpen, taskOf } from './task.ts';

/** One `log.read` answers so many bytes, and waits so long for the first of them. */
export const LOG_READ_BYTES_MAX = 256 * 1_024;
export const LOG_WAIT_MS_MAX = 3_000;
const LOG_POLL_MS = 50;
/** Runs in one report: all that a peer can run. */
const REPORT_MAX = 8_192;

export interface RunMessagesDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly runner: Runner;
  readonly view: MeshView;
  readonly owner: Owner;
  readonly attempts: Attempts;
  readonly tails: Tails;
  readonly spool: Spool;
}

export function serveRuns(deps: RunMessagesDeps): void {
  const { messaging, runner } = deps;
  serveHeld(deps);
  messaging.onRequest('run.start', (_from, body) => onStart(deps, body));
  messaging.onRequest('run.query', (_from, body) => {
    const state = runner.query(String(body.run_id), String(body.owner));
    return ok({ state, boot: deps.view.self().bootCount });
  });
  messaging.onMessage('run.cancel', (from, body) => {
    const graceMs = typeof body.grace_ms === 'number' ? body.grace_ms : 0;
    if (body.reason === 'stale') runner.stopStale(String(body.run_id), from, graceMs);
    else
      runner.stopRun(
        String(body.run_id),
        body.reason === 'timeout' ? 'timeout' : 'cancel',
        graceMs,
      );
  });
  messaging.onRequest('run.done', (_from, body) => onDone(deps, body));
  messaging.onRequest('run.report', (from, body) => onReport(deps, from, body));
  messaging.onMessage('run.tail', (_from, body) => {
    if (typeof body.id !== 'string' || deps.replica.get(body.id) === undefined) return;
    deps.owner.heard(body.id, String(body.run_id));
    void deps.tails.put(body.id, body);
  });
  messaging.onRequest('log.tail', (_from, body) => {
    const tail = deps.tails.get(String(body.id));
    return tail === undefined ? err(coveyError('NOT_FOUND', { what: 'a tail' })) : ok({ ...tail });
  });
  messaging.onRequest('log.read', (_from, body) => onLogRead(deps, body));
}

async function onDone(deps: RunMessagesDeps, body: WireMap): Promise<CallResult> {
  const isEnd = isWireMap(body.end) && body.end.t === 'end' && isTaskFact(body.end);
  if (typeof body.id !== 'string' || !isEnd) {
    return err(coveyError('INVALID_PARAMS', { why: 'run.done is malformed' }));
  }
  const taken = await deps.attempts.take(body.id, body.end as unknown as EndFact, body.start);
  return taken.ok ? ok({ taken: taken.value }) : taken;
}

/** Answers which of the reported runs are over for this store, and of which tasks it knows nothing. */
function onReport(deps: RunMessagesDeps, from: string, body: WireMap): CallResult {
  const stale: string[] = [];
  const unknown: string[] = [];
  const unheard: string[] = [];
  const runs = Array.isArray(body.runs) ? (body.runs as WireValue[]).slice(0, REPORT_MAX) : [];
  for (const run of runs) {
    if (!isWireMap(run) || typeof run.id !== 'string' || typeof run.run_id !== 'string') continue;
    const record = deps.replica.get(run.id);
    if (record === undefined && deps.replica.tombstone(run.id) !== undefined)
      stale.push(run.run_id);
    else if (record === undefined && mayDeny(deps.replica, run.id)) unknown.push(run.run_id);
    if (record?.kind !== 'task') continue;
    const task = taskOf(record);
    const attempt = attemptByRun(task, run.run_id);
    if (attempt === undefined) {
      // Its start never came here. Whoever owns the task must know of it before it starts another.
      if (task.final === undefined) unheard.push(run.id);
      continue;
    }
    if (isOpen(attempt) && task.final === undefined) deps.owner.heard(run.id, run.run_id);
    else stale.push(run.run_id);
  }
  if (unheard.length > 0) void learnHeld(deps, from, unheard);
  return ok({ stale, unknown });
}

/** Not of what lies aside here, nor where there was no room for a copy: others may hold it all the same. */
const mayDeny = ({ aside, room }: Replica, id: string): boolean =>
  !aside.has(id) && takes(room, 'extend');

async function learnHeld(deps: RunMessagesDeps, from: string, ids: string[]): Promise<void> {
  const { messaging, replica } = deps;
  const held = await askHeld(messaging, from, ids.slice(0, HELD_IDS_MAX));
  // What could not be written is reported again.
  if (held !== undefined) await joinHeld(replica, held);
}

/** A piece of a run's output from this host's spool; waits a little for more while the run goes on. */
async function onLogRead(deps: RunMessagesDeps, body: WireMap): Promise<CallResult> {
  const { spool, clock, runner } = deps;
  const runId = String(body.run_id);
  const stream: OutputStream = body.stream === 'stderr' ? 'stderr' : 'stdout';
  const offset = typeof body.offset === 'number' ? Math.max(0, body.offset) : 0;
  const limit = Math.min(
    typeof body.limit === 'number' ? body.limit : LOG_READ_BYTES_MAX,
    LOG_READ_BYTES_MAX,
  );
  const until =
    clock.nowMs() + Math.min(typeof body.wait_ms === 'number' ? body.wait_ms : 0, LOG_WAIT_MS_MAX);
  for (;;) {
    const running = runner.runs().some((run) => run.runId === runId);
    const part = await spool.read(runId, stream, offset, limit);
    if (!part.ok) return err(coveyError('INTERNAL', { why: part.error }));
    const read = part.value;
    if (read === undefined && !running)
      return err(coveyError('NOT_FOUND', { what: `output of run ${runId}` }));
    const bytes = read?.bytes ?? new Uint8Array(0);
    if (bytes.length > 0 || !running || clock.nowMs() >= until) {
      return ok({ bytes, end: read?.endBytes ?? 0, truncated: read?.truncated ?? false, running });
    }
    await sleep(clock, LOG_POLL_MS);
  }
}
