/**
 * The `exec` executor: a command in a process group of its own. Its whole output up to 1 MiB is part of the result;
 * more is a failure (OUTPUT_TOO_LARGE) unless the task asked for the tail: never a short output with success.
 */
import { LOG_TAIL_BYTES, OUTPUT_BYTES_MAX } from '../api/limits.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Child, ChildExit, OutputStream, Processes, Spool } from '../ports/processes.ts';
import {
  type Execution,
  type RunHandlers,
  type RunOutcome,
  type RunRequest,
  STOP_OUTCOMES,
  type StopReason,
} from './executor.ts';

export interface ExecDeps {
  readonly processes: Processes;
  readonly spool: Spool;
  readonly clock: Clock;
  /** Variables that say where the command runs: COVEY_PEER, COVEY_SOCKET. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Collects output: everything up to a limit, or only the end. */
export class OutputCollector {
  readonly #chunks: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
  readonly #sizes: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #tailOnly: boolean;
  truncated = false;

  constructor(tailOnly: boolean) {
    this.#tailOnly = tailOnly;
  }

  /** False when the limit is passed and the command must be ended. */
  add(stream: OutputStream, bytes: Uint8Array): boolean {
    const chunks = this.#chunks[stream];
    chunks.push(bytes);
    this.#sizes[stream] += bytes.length;
    if (!this.#tailOnly) return this.#sizes.stdout + this.#sizes.stderr <= OUTPUT_BYTES_MAX;
    while (this.#sizes[stream] - (chunks[0]?.length ?? 0) >= LOG_TAIL_BYTES) {
      this.#sizes[stream] -= chunks.shift()?.length ?? 0;
      this.truncated = true;
    }
    return true;
  }

  bytes(stream: OutputStream): Uint8Array {
    const all = new Uint8Array(this.#sizes[stream]);
    let at = 0;
    for (const chunk of this.#chunks[stream]) {
      all.set(chunk, at);
      at += chunk.length;
    }
    if (!this.#tailOnly || all.length <= LOG_TAIL_BYTES) return all;
    this.truncated = true;
    return all.slice(all.length - LOG_TAIL_BYTES);
  }
}

export function startExec(deps: ExecDeps, request: RunRequest, handlers: RunHandlers): Execution {
  const { header, blob, runId } = request;
  const output = new OutputCollector(header.output === 'tail');
  let stopped: StopReason | undefined;
  let tooLarge = false;
  let killTimer: Timer | undefined;
  let killAt = Number.POSITIVE_INFINITY;

  const child: Child = deps.processes.spawn(
    {
      runId,
      argv: commandOf(request),
      cwd: header.cwd ?? '/',
      env: environmentOf(deps, request),
      stdin: blob.stdin ?? new Uint8Array(0),
    },
    {
      started: () => undefined,
      output: (stream, bytes) => {
        deps.spool.append(runId, stream, bytes);
        handlers.output(stream, bytes);
        if (!tooLarge && !output.add(stream, bytes)) {
          tooLarge = true;
          child.signal('SIGKILL');
        }
      },
      exited: (exit) => {
        killTimer?.cancel();
        handlers.ended(outcomeOf(exit, output, stopped, tooLarge));
      },
    },
  );
  return {
    stop(reason, graceMs) {
      stopped ??= reason;
      const at = deps.clock.nowMs() + graceMs;
      if (at >= killAt) return;
      if (killAt === Number.POSITIVE_INFINITY && graceMs > 0) child.signal('SIGTERM');
      killAt = at;
      killTimer?.cancel();
      killTimer = deps.clock.after(graceMs, () => child.signal('SIGKILL'));
    },
  };
}

function commandOf(request: RunRequest): readonly string[] {
  const argv = request.header.argv ?? [];
  return request.header.shell === true ? ['/bin/sh', '-c', ...argv] : argv;
}

function environmentOf(deps: ExecDeps, request: RunRequest): Record<string, string> {
  const { header, blob } = request;
  const timeout = header.run_timeout_ms;
  return {
    ...deps.processes.baseEnvironment(),
    ...(blob.env ?? {}),
    ...deps.environment,
    COVEY_TASK_ID: request.id,
    COVEY_ATTEMPT: String(request.n),
    COVEY_RUN_ID: request.runId,
    COVEY_QUEUE: header.queue,
    ...(timeout === undefined ? {} : { COVEY_DEADLINE: toRfc3339(deps.clock.wallMs() + timeout) }),
  };
}

function outcomeOf(
  exit: ChildExit,
  output: OutputCollector,
  stopped: StopReason | undefined,
  tooLarge: boolean,
): RunOutcome {
  const streams = { stdout: output.bytes('stdout'), stderr: output.bytes('stderr') };
  if (tooLarge) {
    const what = `the command wrote more than ${OUTPUT_BYTES_MAX} bytes`;
    return { out: 'failed', code: 'OUTPUT_TOO_LARGE', err: what, retryable: false };
  }
  const base: RunOutcome = {
    out:
      stopped === undefined ? (exit.code === 0 ? 'completed' : 'failed') : STOP_OUTCOMES[stopped],
    ...streams,
    ...(output.truncated ? { trunc: true } : {}),
    ...(exit.code === undefined ? {} : { exit: exit.code }),
    ...(exit.signal === undefined ? {} : { sig: exit.signal }),
  };
  if (exit.startError !== undefined && exit.isHostFault === true) {
    return { out: 'refused', code: 'cannot_start', err: exit.startError };
  }
  if (exit.startError !== undefined) {
    return { ...base, out: 'failed', code: 'start_failed', err: exit.startError };
  }
  if (stopped === undefined && exit.code === undefined)
    return { ...base, err: `ended by ${exit.signal ?? 'a signal'}` };
  if (stopped === undefined && exit.code !== 0) return { ...base, err: `exit code ${exit.code}` };
  return base;
}
