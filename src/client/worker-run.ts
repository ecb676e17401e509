/** One attempt in a worker: its handler, its abort signal, and its answer until the daemon has it. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { NotificationParams } from '../api/methods.ts';
import { PermanentError } from './errors.ts';
import { FAILURE_CHARS_MAX } from './limits.ts';
import { Backoff, delayAfter } from './link.ts';
import type { Connection, RpcFailure } from './types.ts';

export interface Attempt {
  readonly id: string;
  readonly attempt: number;
}

export interface HandlerContext extends Attempt {
  /** Unlike the attempt's number never the same for two runs of a task, as on both sides of a partition. */
  readonly runId: string;
  /** Aborted when the task was canceled, timed out, or is no longer this worker's: stop early. */
  readonly signal: AbortSignal;
  /** Milliseconds that the run timeout left at the start, if there is one. */
  readonly deadlineMs: number | undefined;
  /** Tells how far it is: a number, a text or a small object. The latest value wins. */
  progress(value: unknown): void;
}

/** What it returns is the result (JSON); what it throws fails the attempt. */
export type Handler<Payload = unknown> = (payload: Payload, context: HandlerContext) => unknown;

/** By type of task. Each handler names the type of its own payload. */
export type Handlers = Readonly<Record<string, Handler<never>>>;

/** How an attempt ended, as it is told to the daemon. */
type Answer =
  | { readonly method: 'worker.complete'; readonly result: unknown }
  | {
      readonly method: 'worker.fail';
      readonly error: { readonly message: string; readonly retryable: boolean };
    };

/** Refusals of a result for what it is: too large, not JSON, a number that JSON cannot carry safely. */
const RESULT_REFUSED: readonly string[] = ['INVALID_PARAMS', 'PAYLOAD_TOO_LARGE'];

export interface RunHost {
  /** Where the daemon knows the worker now. */
  connection(): Connection | undefined;
  /** The daemon has the answer, or has refused it for good. */
  delivered(): void;
}

export class AttemptRun {
  readonly ref: Attempt;
  readonly #task: NotificationParams<'worker.task'>;
  readonly #handler: Handler<never> | undefined;
  readonly #host: RunHost;
  readonly #abort = new AbortController();
  #answer: Answer | undefined;
  #delivering = false;
  #stale = false;
  /** The latest value not sent yet; one call at a time carries it. */
  #progress: { readonly value: unknown } | undefined;
  #sendingProgress = false;

  constructor(
    task: NotificationParams<'worker.task'>,
    handler: Handler<never> | undefined,
    host: RunHost,
  ) {
    this.ref = { id: task.id, attempt: task.attempt };
    this.#task = task;
    this.#handler = handler;
    this.#host = host;
  }

  get running(): boolean {
    return this.#answer === undefined;
  }

  /** The daemon has given the attempt up: the answer will be an orphan result. */
  get stale(): boolean {
    return this.#stale;
  }

  start(): void {
    void this.#run();
  }

  abort(reason: string): void {
    this.#abort.abort(new Error(reason));
  }

  becomeStale(): void {
    this.#stale = true;
    this.abort('the attempt is no longer current');
  }

  /** Brings the answer, if there is one, to the daemon; kept when the connection ends before it is taken. */
  async deliver(connection: Connection): Promise<void> {
    if (this.#delivering || this.#answer === undefined) return;
    this.#delivering = true;
    const backoff = new Backoff();
    let taken = false;
    while (!taken && this.#host.connection() === connection) {
      const failed = await this.#send(connection, this.#answer);
      taken = failed === undefined || !failed.retryable;
      if (failed?.retryable) {
        await Promise.race([sleep(delayAfter(failed, backoff)), connection.closed]);
      }
    }
    this.#delivering = false;
    if (taken) {
      this.#host.delivered();
      return;
    }
    // A new connection may have come while this one failed: its own call found this delivery under way.
    const next = this.#host.connection();
    if (next !== undefined) await this.deliver(next);
  }

  async #run(): Promise<void> {
    try {
      if (this.#handler === undefined) throw new Error(`no handler for '${this.#task.type}'`);
      // The caller's handler knows the type of its payload; on the wire it is any JSON.
      const result = await this.#handler(this.#task.payload as never, this.#context());
      this.#answer = { method: 'worker.complete', result };
    } catch (thrown) {
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      const retryable = !(thrown instanceof PermanentError);
      this.#answer = failed(message, retryable);
    }
    const connection = this.#host.connection();
    if (connection !== undefined) await this.deliver(connection);
  }

  #context(): HandlerContext {
    return {
      ...this.ref,
      runId: this.#task.run_id,
      signal: this.#abort.signal,
      deadlineMs: this.#task.deadline_ms,
      progress: (value) => {
        this.#progress = { value };
        void this.#sendProgress();
      },
    };
  }

  async #sendProgress(): Promise<void> {
    if (this.#sendingProgress) return;
    this.#sendingProgress = true;
    while (this.#progress !== undefined && this.running) {
      const connection = this.#host.connection();
      if (connection === undefined) break;
      const { value } = this.#progress;
      this.#progress = undefined;
      await connection.call('worker.progress', { ...this.ref, progress: value });
    }
    this.#sendingProgress = false;
  }

  async #send(connection: Connection, answer: Answer): Promise<RpcFailure | undefined> {
    if (answer.method === 'worker.fail') {
      const outcome = await connection.call('worker.fail', { ...this.ref, error: answer.error });
      return outcome.ok ? undefined : outcome.error;
    }
    const { result } = answer;
    const params = result === undefined ? this.ref : { ...this.ref, result };
    const outcome = await connection.call('worker.complete', params);
    if (outcome.ok) return undefined;
    const { code, message } = outcome.error;
    if (!RESULT_REFUSED.includes(code)) return outcome.error;
    // The attempt has failed, and another one would end the same way.
    this.#answer = failed(message, false);
    return this.#send(connection, this.#answer);
  }
}

const failed = (message: string, retryable: boolean): Answer => ({
  method: 'worker.fail',
  error: { message: message.slice(0, FAILURE_CHARS_MAX), retryable },
});
