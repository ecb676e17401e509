/**
 * A worker: runs handlers for the tasks that its daemon hands it. It outlives its connection: handlers go on while the
 * daemon is away, their results are kept, and on return the daemon says for each whether it is still wanted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BULK_MAX } from '../api/limits.ts';
import type { NotificationParams } from '../api/methods.ts';
import { CoveyClientError } from './errors.ts';
import { PATIENCE_MS, RENEWALS_PER_LEASE, TIMER_MS_MAX, WORKER_CONCURRENCY_MAX } from './limits.ts';
import { Backoff, delayAfter, Link, type LinkState } from './link.ts';
import type { Connection, RpcFailure } from './types.ts';
import { type Attempt, AttemptRun, type Handler, type Handlers } from './worker-run.ts';

export type { Handler, HandlerContext, Handlers } from './worker-run.ts';

export interface WorkerOptions {
  /** Handlers of each type that run at once. Default 1. */
  readonly concurrency?: number;
  /** For `covey explain` and the daemon's log. */
  readonly name?: string;
}

export interface Worker {
  /**
   * Takes no more tasks, waits for the handlers that run (after `timeoutMs` their signals are aborted), delivers their
   * results and disconnects.
   */
  stop(options?: { readonly timeoutMs?: number }): Promise<void>;
}

export async function startWorker(
  socketPath: string,
  handlers: Handlers,
  options: WorkerOptions,
  how: { readonly patienceMs: number; readonly watch: (state: LinkState) => void },
): Promise<Worker> {
  const worker = new SocketWorker(socketPath, handlers, options, how.watch);
  await worker.start(how.patienceMs);
  return worker;
}

class SocketWorker implements Worker {
  readonly #link: Link;
  readonly #handlers: ReadonlyMap<string, Handler<never>>;
  readonly #registration: {
    readonly types: { readonly type: string; readonly concurrency: number }[];
    readonly name?: string;
  };
  /** Every attempt whose answer the daemon does not have yet. */
  readonly #runs = new Map<string, AttemptRun>();
  readonly #emptied: (() => void)[] = [];
  #state: 'starting' | 'working' | 'stopping' | 'stopped' = 'starting';
  #workerId: string | undefined;
  /** The connection on which the daemon knows this worker. */
  #connection: Connection | undefined;
  readonly #ended = new AbortController();

  constructor(
    socketPath: string,
    handlers: Handlers,
    options: WorkerOptions,
    watch: (state: LinkState) => void,
  ) {
    this.#link = new Link(socketPath, options.name, watch);
    this.#handlers = new Map(Object.entries(handlers));
    const { concurrency = 1, name } = options;
    const types = [...this.#handlers.keys()].map((type) => ({ type, concurrency }));
    this.#registration = { types, ...(name === undefined ? {} : { name }) };
  }

  async start(patienceMs: number): Promise<void> {
    const { types } = this.#registration;
    const total = types.reduce((sum, { concurrency }) => sum + concurrency, 0);
    if (total > WORKER_CONCURRENCY_MAX) {
      const message = `A worker runs ${WORKER_CONCURRENCY_MAX} tasks at once at most, not ${total}.`;
      throw new CoveyClientError({ code: 'INVALID_PARAMS', message, retryable: false });
    }
    const failed = await this.#attachUntil(performance.now() + patienceMs);
    if (failed !== undefined) {
      this.#end();
      throw new CoveyClientError(failed);
    }
    this.#state = 'working';
    void this.#keepAttached();
  }

  async stop(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopping';
    await this.#connection?.call('worker.unregister', {});
    const { timeoutMs } = options;
    const abort = (): void => {
      for (const run of this.#runs.values()) run.abort('the worker is stopping');
    };
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(abort, Math.min(timeoutMs, TIMER_MS_MAX));
    // What cannot be delivered, because no daemon comes back, is not waited for without end.
    const allDelivered = this.#runs.size === 0 || this.#untilEmpty();
    await Promise.race([allDelivered, this.#untilGivenUp()]);
    clearTimeout(timer);
    this.#end();
  }

  #end(): void {
    this.#state = 'stopped';
    this.#ended.abort();
    this.#link.close();
  }

  #untilEmpty(): Promise<void> {
    return new Promise((resolve) => {
      this.#emptied.push(resolve);
    });
  }

  /** All handlers have finished and no daemon took their results for PATIENCE_MS. */
  async #untilGivenUp(): Promise<void> {
    let idleSinceMs: number | undefined;
    while (!this.#ended.signal.aborted) {
      const busy = [...this.#runs.values()].some((run) => run.running);
      const nowMs = performance.now();
      idleSinceMs = busy || this.#connection !== undefined ? undefined : (idleSinceMs ?? nowMs);
      if (idleSinceMs !== undefined && nowMs - idleSinceMs > PATIENCE_MS) return;
      await this.#pause(500);
    }
  }

  /** Sleeps, or less when the worker ends. */
  async #pause(delayMs: number): Promise<void> {
    await sleep(delayMs, undefined, { signal: this.#ended.signal }).catch(() => undefined);
  }

  /** For as long as the worker lives: renews leases, and attaches again whenever the connection ended. */
  async #keepAttached(): Promise<void> {
    for (;;) {
      await this.#connection?.closed;
      this.#connection = undefined;
      if (this.#state === 'stopped') return;
      if (this.#state === 'stopping' && this.#runs.size === 0) return;
      const failed = await this.#attachUntil(Number.POSITIVE_INFINITY);
      if (failed !== undefined) await this.#pause(1_000);
    }
  }

  /** Connects and registers or resumes; the last failure when `deadlineMs` has passed or trying is pointless. */
  async #attachUntil(deadlineMs: number): Promise<RpcFailure | undefined> {
    const backoff = new Backoff();
    for (;;) {
      const failed = await this.#attach();
      if (failed === undefined || this.#state === 'stopped' || !failed.retryable) return failed;
      const delayMs = delayAfter(failed, backoff);
      if (performance.now() + delayMs > deadlineMs) return failed;
      await this.#pause(delayMs);
    }
  }

  async #attach(): Promise<RpcFailure | undefined> {
    const opened = await this.#link.get();
    if (!opened.ok) return opened.error;
    const connection = opened.value;
    const unlisten = this.#listen(connection);
    const failed = await this.#introduce(connection);
    if (failed === undefined) return undefined;
    for (const stop of unlisten) stop();
    return failed;
  }

  #listen(connection: Connection): (() => void)[] {
    return [
      connection.on('worker.task', (task) => this.#take(task)),
      connection.on('worker.cancel', ({ id, attempt, reason }) => {
        this.#runs.get(keyOf({ id, attempt }))?.abort(reason);
      }),
      // Nothing to do: the end of the connection says the rest, and handlers go on over it.
      connection.on('worker.stopping', () => undefined),
    ];
  }

  async #introduce(connection: Connection): Promise<RpcFailure | undefined> {
    const worker_id = this.#workerId;
    if (worker_id !== undefined) {
      // Stale ones are known to be lost: their late answers are delivered, their attempts not asked for.
      const running = [...this.#runs.values()].filter((run) => !run.stale).map((run) => run.ref);
      const params = { worker_id, running, ...this.#registration };
      const resumed = await connection.call('worker.resume', params);
      if (!resumed.ok) return resumed.error;
      this.#workerId = resumed.value.worker_id;
      for (const { verdict, ...ref } of resumed.value.running) {
        if (verdict === 'stale') this.#runs.get(keyOf(ref))?.becomeStale();
      }
      this.#attached(connection, resumed.value.lease_ms);
      return undefined;
    }
    const registered = await connection.call('worker.register', this.#registration);
    if (!registered.ok) return registered.error;
    this.#workerId = registered.value.worker_id;
    this.#attached(connection, registered.value.lease_ms);
    return undefined;
  }

  #attached(connection: Connection, leaseMs: number): void {
    this.#connection = connection;
    for (const run of this.#runs.values()) void run.deliver(connection);
    void this.#renew(connection, leaseMs / RENEWALS_PER_LEASE);
    // It came back only to deliver: the resume has offered its slots again.
    if (this.#state === 'stopping') void connection.call('worker.unregister', {});
  }

  async #renew(connection: Connection, everyMs: number): Promise<void> {
    // One listener for the life of the connection: a race against `closed` in each round would leave one behind each.
    const over = new AbortController();
    void connection.closed.then(() => over.abort());
    while (!over.signal.aborted) {
      await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined);
      const ids = [...this.#runs.values()].filter((run) => !run.stale).map(({ ref }) => ref.id);
      for (let at = 0; at < ids.length; at += BULK_MAX) {
        const page = { ids: ids.slice(at, at + BULK_MAX) };
        const renewed = await connection.call('worker.renew', page);
        if (renewed.ok) this.#giveUp(new Set(renewed.value.stale));
      }
    }
  }

  #giveUp(ids: ReadonlySet<string>): void {
    for (const run of this.#runs.values()) if (ids.has(run.ref.id)) run.becomeStale();
  }

  #take(task: NotificationParams<'worker.task'>): void {
    const key = keyOf(task);
    if (this.#runs.has(key)) return;
    const handler = this.#handlers.get(task.type);
    const run = new AttemptRun(task, handler, {
      connection: () => this.#connection,
      delivered: () => {
        this.#runs.delete(key);
        if (this.#runs.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
      },
    });
    this.#runs.set(key, run);
    run.start();
  }
}

const keyOf = ({ id, attempt }: Attempt): string => `${id}/${attempt}`;
