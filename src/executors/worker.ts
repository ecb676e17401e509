/**
 * The `worker` executor: programs in any language that connected to this daemon's control socket and registered
 * types. The connection is the lease: while it is open its attempts are held to run (a handler may block its own
 * process for as long as it likes; `run_timeout` bounds it). When it ends while the daemon lives, they are lost at
 * once. What a worker still ran when its daemon went away it may resume at the next boot.
 */

import { type CoveyError, coveyError } from '../base/errors.ts';
import { toHex } from '../base/hash.ts';
import { readJsonText } from '../base/json-text.ts';
import type { Random } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import { WORKER_TYPES_TOLD_MAX } from '../membership/limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { WireValue } from '../wire/codec.ts';
import {
  type Execution,
  type RunHandlers,
  type RunOutcome,
  type RunRequest,
  STOP_OUTCOMES,
  type StopReason,
} from './executor.ts';

/** Programs connected at once; each is one control connection. */
export const WORKERS_MAX = 256;
/** How often a worker says what it still runs, to hear what is stale. */
export const WORKER_RENEW_MS = 10_000;

export interface WorkerTask {
  readonly id: string;
  readonly attempt: number;
  readonly run_id: string;
  readonly type: string;
  readonly payload?: unknown;
  readonly deadline_ms?: number;
}

/** The connection of a worker program. */
export interface WorkerLink {
  send(task: WorkerTask): boolean;
  cancel(run: { id: string; attempt: number; reason: string; graceMs: number }): void;
  stopping(holdMs: number): void;
  close(): void;
}

export interface WorkerTypes {
  readonly type: string;
  readonly concurrency: number;
}

interface HeldRun {
  readonly request: RunRequest;
  readonly handlers: RunHandlers;
  stop: { readonly reason: StopReason; readonly atMs: number; readonly timer: Timer } | undefined;
}

interface WorkerState {
  readonly id: string;
  readonly name: string;
  readonly link: WorkerLink;
  readonly types: Map<string, { total: number; busy: number }>;
  readonly runs: Map<string, HeldRun>;
  /** Not before it has resumed what it still runs: else it would be handed as much again. */
  isOffered: boolean;
  /** It left so much unread that a task could not be sent: it has no room until it has read. */
  isFull: boolean;
}

const runKey = (id: string, attempt: number): string => `${id}/${attempt}`;

function taskFor({ id, n, runId, header, blob }: RunRequest): WorkerTask {
  const { type, run_timeout_ms: timeoutMs } = header;
  return {
    id,
    attempt: n,
    run_id: runId,
    type,
    ...(blob.payload === undefined ? {} : { payload: readJsonText(blob.payload) }),
    ...(timeoutMs === undefined ? {} : { deadline_ms: timeoutMs }),
  };
}

export class WorkerRegistry {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #workers = new Map<string, WorkerState>();
  readonly #onCapacity: () => void;

  constructor(deps: { clock: Clock; random: Random; onCapacity: () => void }) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#onCapacity = deps.onCapacity;
  }

  /** `later` runs what offers the new capacity: after the caller's answer has gone out, and after a resume. */
  register(
    link: WorkerLink,
    types: readonly WorkerTypes[],
    name: string,
    later: (offer: () => void) => void,
  ): Result<string, CoveyError> {
    if (this.#workers.size >= WORKERS_MAX) {
      return err(coveyError('BUSY', { what: 'workers', retry_after_ms: 1_000 }));
    }
    // Others could not be told of more, and would look for none of them here.
    const offered = new Set([...this.types(), ...types.map(({ type }) => type)]);
    if (offered.size > WORKER_TYPES_TOLD_MAX)
      return err(coveyError('BUSY', { what: 'types of workers', retry_after_ms: 1_000 }));
    const id = toHex(this.#random.bytes(8));
    const capacity = new Map(
      types.map((item) => [item.type, { total: item.concurrency, busy: 0 }]),
    );
    const worker: WorkerState = {
      id,
      name,
      link,
      types: capacity,
      runs: new Map(),
      isOffered: false,
      isFull: false,
    };
    this.#workers.set(id, worker);
    later(() => {
      worker.isOffered = true;
      this.#onCapacity();
    });
    return ok(id);
  }

  /** What the worker had left unread is on its way. */
  drained(workerId: string): void {
    const worker = this.#workers.get(workerId);
    if (worker?.isFull !== true) return;
    worker.isFull = false;
    this.#onCapacity();
  }

  /** Takes no more tasks; what runs goes on. */
  unregister(workerId: string): void {
    const worker = this.#workers.get(workerId);
    // Not `busy`: that would make room for a new task whenever one of the old ones ends.
    for (const capacity of worker?.types.values() ?? []) capacity.total = 0;
    this.#onCapacity();
  }

  /** The connection ended. `planned`: the daemon itself is stopping, and the worker may resume elsewhere in time. */
  gone(workerId: string, planned: boolean): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    this.#workers.delete(workerId);
    for (const run of worker.runs.values()) {
      run.stop?.timer.cancel();
      if (!planned) run.handlers.lost();
    }
    this.#onCapacity();
  }

  capacity(type: string): { total: number; free: number } {
    let total = 0;
    let free = 0;
    for (const worker of this.#workers.values()) {
      const capacity = worker.types.get(type);
      total += capacity?.total ?? 0;
      if (!worker.isOffered || worker.isFull) continue;
      free += Math.max(0, (capacity?.total ?? 0) - (capacity?.busy ?? 0));
    }
    return { total, free };
  }

  types(): string[] {
    return [...new Set([...this.#workers.values()].flatMap((worker) => [...worker.types.keys()]))];
  }

  /** Hands an attempt to the worker with most room that takes it; undefined when none does. */
  start(request: RunRequest, handlers: RunHandlers): Execution | undefined {
    const { type } = request.header;
    const key = runKey(request.id, request.n);
    const room = (worker: WorkerState): number =>
      (worker.types.get(type)?.total ?? 0) - (worker.types.get(type)?.busy ?? 0);
    const able = [...this.#workers.values()]
      .filter((item) => item.isOffered && !item.isFull && room(item) > 0)
      // A worker names attempts by id and number: two sides of a partition may have given the same number to two.
      .filter((item) => !item.runs.has(key))
      .sort((a, b) => room(b) - room(a));
    if (able.length === 0) return undefined;
    const task = taskFor(request);
    for (const worker of able) {
      if (worker.link.send(task)) return this.#hold(worker, request, handlers);
      worker.isFull = true;
    }
    return undefined;
  }

  /** A worker that came back goes on with an attempt that its owner let it keep. */
  resume(workerId: string, request: RunRequest, handlers: RunHandlers): Execution | undefined {
    const worker = this.#workers.get(workerId);
    if (worker === undefined || worker.runs.has(runKey(request.id, request.n))) return undefined;
    return this.#hold(worker, request, handlers);
  }

  #hold(worker: WorkerState, request: RunRequest, handlers: RunHandlers): Execution {
    const run: HeldRun = { request, handlers, stop: undefined };
    worker.runs.set(runKey(request.id, request.n), run);
    const capacity = worker.types.get(request.header.type);
    if (capacity !== undefined) capacity.busy += 1;
    return { stop: (reason, graceMs) => this.#stop(worker, run, reason, graceMs) };
  }

  #stop(worker: WorkerState, run: HeldRun, reason: StopReason, graceMs: number): void {
    const { id, n } = run.request;
    const atMs = this.#clock.nowMs() + graceMs;
    // An owner repeats its wish more often than the grace is long: it must not begin anew each time.
    if (run.stop !== undefined && run.stop.atMs <= atMs) return;
    const first = run.stop?.reason ?? reason;
    run.stop?.timer.cancel();
    const timer = this.#clock.after(graceMs, () => {
      this.#finish(worker, runKey(id, n), {
        out: STOP_OUTCOMES[first],
        err: `the worker did not end it after ${first}`,
      });
    });
    if (run.stop === undefined) worker.link.cancel({ id, attempt: n, reason, graceMs });
    run.stop = { reason: first, atMs, timer };
  }

  /** The worker's word on an attempt. False: it holds no such attempt. */
  finish(workerId: string, id: string, attempt: number, outcome: RunOutcome): boolean {
    const worker = this.#workers.get(workerId);
    return worker !== undefined && this.#finish(worker, runKey(id, attempt), outcome);
  }

  #finish(worker: WorkerState, key: string, outcome: RunOutcome): boolean {
    const run = worker.runs.get(key);
    if (run === undefined) return false;
    worker.runs.delete(key);
    run.stop?.timer.cancel();
    const capacity = worker.types.get(run.request.header.type);
    if (capacity !== undefined) capacity.busy -= 1;
    const stopped =
      run.stop !== undefined && outcome.out !== 'completed'
        ? STOP_OUTCOMES[run.stop.reason]
        : undefined;
    run.handlers.ended(stopped === undefined ? outcome : { ...outcome, out: stopped });
    this.#onCapacity();
    return true;
  }

  progress(workerId: string, id: string, attempt: number, value: WireValue): boolean {
    const run = this.#workers.get(workerId)?.runs.get(runKey(id, attempt));
    run?.handlers.progress(value);
    return run !== undefined;
  }

  holds(workerId: string, id: string): boolean {
    return [...(this.#workers.get(workerId)?.runs.values() ?? [])].some(
      (run) => run.request.id === id,
    );
  }

  has(workerId: string): boolean {
    return this.#workers.has(workerId);
  }

  announceStop(holdMs: number): void {
    for (const worker of this.#workers.values()) worker.link.stopping(holdMs);
  }

  /** Attempts in the hands of workers now. */
  running(): RunRequest[] {
    return [...this.#workers.values()].flatMap((worker) =>
      [...worker.runs.values()].map((run) => run.request),
    );
  }
}
