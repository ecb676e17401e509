/**
 * A daemon that may go away and come back while a long verb (run, wait, xargs) talks to it. Only for calls that may
 * be repeated: reads, cancel, and submits under a reserved id.
 */
import type { MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import { err, type Result } from '../base/result.ts';
import type { Connection, RpcFailure } from '../client/types.ts';

/** Longer than a daemon's shutdown_timeout (25 s), a start and a takeover together. */
export const PATIENCE_MS = 120_000;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;
/** Added to what the daemon itself may take; a daemon that hangs for so long is asked again. */
const ANSWER_MS_MAX = 60_000;

const GONE: RpcFailure = {
  code: 'DISCONNECTED',
  message: 'The connection was closed here.',
  retryable: false,
};

/** Whether the same call may succeed a little later. What nobody knows is not waited for. */
export const isPassing = (failure: RpcFailure): boolean =>
  failure.retryable && failure.code !== 'NOT_FOUND';

export interface CallOptions {
  /** What the daemon itself may take. */
  readonly daemonMs?: number;
  readonly patienceMs?: number;
  /** Aborted: the call is not repeated any more. */
  readonly signal?: AbortSignal;
  /** Asked before each repetition: whether one can help. */
  readonly goOn?: (failure: RpcFailure) => Promise<boolean>;
}

export class Mesh {
  readonly #open: () => Promise<Result<Connection, RpcFailure>>;
  readonly #noticeMs: number;
  readonly #patienceMs: number;
  #opening: Promise<Result<Connection, RpcFailure>> | undefined;
  #connection: Connection | undefined;
  #closed = false;
  readonly #reconnected: (() => void)[] = [];
  #connectedOnce = false;
  #lost: (() => void) | undefined;
  #lostTimer: NodeJS.Timeout | undefined;
  readonly #sleepers = new Set<() => void>();

  /** `noticeMs`: how long a lost connection may take to come back before it is said. */
  constructor(
    open: () => Promise<Result<Connection, RpcFailure>>,
    noticeMs: number,
    patienceMs = PATIENCE_MS,
  ) {
    this.#open = open;
    this.#noticeMs = noticeMs;
    this.#patienceMs = patienceMs;
  }

  /** The living connection, opened when there is none. One attempt. */
  connection(): Promise<Result<Connection, RpcFailure>> {
    if (this.#closed) return Promise.resolve(err(GONE));
    if (this.#connection !== undefined) {
      return Promise.resolve({ ok: true, value: this.#connection });
    }
    this.#opening ??= this.#connect();
    return this.#opening;
  }

  async #connect(): Promise<Result<Connection, RpcFailure>> {
    const opened = await this.#open();
    this.#opening = undefined;
    if (!opened.ok) return opened;
    const connection = opened.value;
    if (this.#closed) {
      connection.close();
      return err(GONE);
    }
    this.#connection = connection;
    void connection.closed.then(() => {
      if (this.#connection === connection) this.#connection = undefined;
      this.#startLostTimer();
    });
    clearTimeout(this.#lostTimer);
    if (this.#connectedOnce) for (const listener of this.#reconnected) listener();
    this.#connectedOnce = true;
    return opened;
  }

  get wasConnected(): boolean {
    return this.#connectedOnce;
  }

  /** Called once, when a connection that was is not back after a moment. */
  onLost(listener: () => void): void {
    this.#lost = listener;
  }

  #startLostTimer(): void {
    clearTimeout(this.#lostTimer);
    if (this.#closed) return;
    this.#lostTimer = setTimeout(() => {
      this.#lost?.();
      this.#lost = undefined;
    }, this.#noticeMs);
  }

  /** Called each time the daemon is back after the connection had ended. */
  onReconnect(listener: () => void): void {
    this.#reconnected.push(listener);
  }

  /** Repeats the call, also on new connections, until it is answered for good or patience is at its end. */
  async call<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    options: CallOptions = {},
  ): Promise<Result<MethodResult<M>, RpcFailure>> {
    const patienceMs = options.patienceMs ?? this.#patienceMs;
    let failingSince: number | undefined;
    let delayMs = BACKOFF_FIRST_MS;
    for (;;) {
      const started = performance.now();
      const answer = await this.#callOnce(method, params, options.daemonMs ?? 0);
      if (answer.ok || !isPassing(answer.error) || this.#closed) return answer;
      // A call that was open for long was not failing all the while.
      failingSince ??= Math.max(started, performance.now() - BACKOFF_MAX_MS);
      if (performance.now() - failingSince >= patienceMs) return answer;
      // The very first connection is not waited for: nobody wants to hear after two minutes that no daemon runs.
      if (!this.#connectedOnce) return answer;
      if (options.goOn !== undefined && !(await options.goOn(answer.error))) return answer;
      const told = answer.error.data?.retry_after_ms;
      const pauseMs = typeof told === 'number' ? Math.min(told, BACKOFF_MAX_MS) : delayMs;
      await this.sleep(pauseMs, options.signal);
      if (options.signal?.aborted === true) return answer;
      delayMs = Math.min(2 * delayMs, BACKOFF_MAX_MS);
    }
  }

  async #callOnce<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    daemonMs: number,
  ): Promise<Result<MethodResult<M>, RpcFailure>> {
    const opened = await this.connection();
    if (!opened.ok) return opened;
    return opened.value.call(method, params, { timeoutMs: daemonMs + ANSWER_MS_MAX });
  }

  /** Ends early when the mesh is closed, or at the signal. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#closed || signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#sleepers.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done);
      this.#sleepers.add(done);
    });
  }

  /** Nothing more will be answered; loops end, for waiting here takes no time any more. */
  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#lostTimer);
    this.#connection?.close();
    this.#connection = undefined;
    for (const wake of [...this.#sleepers]) wake();
  }
}
