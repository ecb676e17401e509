/**
 * The client of applications: submit tasks to the local daemon, wait for them, work on them.
 *
 *     const covey = await connect();
 *     const { id } = await covey.submit({ type: 'thumbnail', payload: { path } });
 *     const task = await covey.waitFor(id);
 *
 * Every submit runs under an id that was reserved before, so a repetition after a lost answer makes no second task.
 */
import { BULK_MAX } from '../api/limits.ts';
import type { MemberView, MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import type { SubmitInput } from '../api/task.ts';
import type { Result } from '../base/result.ts';
import { CoveyClientError } from './errors.ts';
import { IdPool } from './ids.ts';
import { PATIENCE_MS, TIMER_MS_MAX } from './limits.ts';
import { Link } from './link.ts';
import {
  type Camel,
  camelKeys,
  type Receipt,
  submitFrom,
  type Task,
  type TaskOptions,
} from './names.ts';
import { defaultSocketPath } from './socket-path.ts';
import type { RpcFailure } from './types.ts';
import { Waits } from './waits.ts';
import {
  type Handler,
  type Handlers,
  startWorker,
  type Worker,
  type WorkerOptions,
} from './worker.ts';

export { openConnection } from './connection.ts';
export { CoveyClientError, PermanentError } from './errors.ts';
export type { Receipt, Task, TaskOptions } from './names.ts';
export { defaultDataDir, defaultSocketPath } from './socket-path.ts';
export type { Connection, RpcFailure } from './types.ts';
export type { Handler, HandlerContext, Handlers, Worker, WorkerOptions } from './worker.ts';

export interface ConnectOptions {
  /** Of the daemon; default: COVEY_SOCKET, else where this user's daemon has it. */
  readonly socket?: string;
  readonly clientName?: string;
  /** How long a call tries through reconnects and refusals that may pass. Default 30 s. */
  readonly patienceMs?: number;
  /**
   * Called when the connection to the daemon ends without `close`, and when there is one again: for a log, since the
   * client itself prints nothing. The client connects again at its next call, a worker as soon as it can.
   */
  readonly onConnection?: (event: ConnectionEvent) => void;
}

export interface ConnectionEvent {
  readonly state: 'lost' | 'restored';
  /** Each worker has a connection of its own. */
  readonly of: 'client' | 'worker';
  readonly socket: string;
}

export type Diagnosis = Camel<MethodResult<'system.doctor'>>;

export interface LogOptions {
  readonly stream?: 'stdout' | 'stderr' | 'both';
  readonly tailBytes?: number;
}

/** Fails at once when no daemon is there: a reconnect is for daemons that were. */
export async function connect(options: ConnectOptions = {}): Promise<Covey> {
  const uid = process.getuid?.() ?? -1;
  const socket = options.socket ?? defaultSocketPath(process.env, uid);
  const link = new Link(socket, options.clientName, (state) =>
    options.onConnection?.({ state, of: 'client', socket }),
  );
  unwrap(await link.get());
  return new Covey(link, socket, options);
}

export class Covey {
  readonly #link: Link;
  readonly #socket: string;
  readonly #options: ConnectOptions;
  readonly #patienceMs: number;
  readonly #ids: IdPool;
  readonly #waits: Waits;
  readonly #workers = new Set<Worker>();

  /** Use `connect`. */
  constructor(link: Link, socket: string, options: ConnectOptions) {
    this.#link = link;
    this.#socket = socket;
    this.#options = options;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#ids = new IdPool(link);
    this.#waits = new Waits(link);
  }

  /** Resolves when the task is accepted: from then on it survives what the receipt says. */
  async submit(task: TaskOptions): Promise<Receipt> {
    const id = task.id ?? unwrap(await this.#ids.take(this.#patienceMs));
    return await this.#submit({ ...submitFrom(task), id });
  }

  /** One receipt or one error per task, in the order of the tasks. */
  async submitBulk(tasks: readonly TaskOptions[]): Promise<(Receipt | CoveyClientError)[]> {
    const receipts: (Receipt | CoveyClientError)[] = [];
    for (let at = 0; at < tasks.length; at += BULK_MAX) {
      const block: SubmitInput[] = [];
      for (const task of tasks.slice(at, at + BULK_MAX)) {
        const id = task.id ?? unwrap(await this.#ids.take(this.#patienceMs, tasks.length - at));
        block.push({ ...submitFrom(task), id });
      }
      const answer = unwrap(
        await this.#link.call('task.submit_bulk', { tasks: block }, this.#patienceMs, 'repeatable'),
      );
      const settled = answer.receipts.map((receipt, index) => {
        if (!('error' in receipt)) return camelKeys(receipt);
        const failed = errorFrom(receipt.error);
        const task = block[index];
        return failed.retryable && task ? this.#submit(task).catch(asClientError) : failed;
      });
      receipts.push(...(await Promise.all(settled)));
    }
    return receipts;
  }

  /** Resolves when all are final, or time is up. */
  async wait(
    ids: readonly string[],
    options: { readonly timeoutMs?: number } = {},
  ): Promise<{ done: Task[]; pending: string[] }> {
    const done = new Map<string, Task>();
    const cancels: (() => void)[] = [];
    const each = ids.map(
      (id) =>
        new Promise<void>((resolve, reject) => {
          const cancel = this.#waits.add(id, (outcome) => {
            if (outcome.ok) done.set(id, camelKeys(outcome.value));
            if (outcome.ok) resolve();
            else reject(new CoveyClientError(outcome.error));
          });
          cancels.push(cancel);
        }),
    );
    let timer: NodeJS.Timeout | undefined;
    const { timeoutMs } = options;
    const timeIsUp = new Promise<void>((resolve) => {
      if (timeoutMs !== undefined) timer = setTimeout(resolve, Math.min(timeoutMs, TIMER_MS_MAX));
    });
    try {
      await Promise.race([Promise.all(each), timeIsUp]);
    } finally {
      clearTimeout(timer);
      for (const cancel of cancels) cancel();
    }
    return { done: [...done.values()], pending: ids.filter((id) => !done.has(id)) };
  }

  /** The task when it is final, however it ended: look at `state`. */
  async waitFor(id: string): Promise<Task> {
    const [task] = (await this.wait([id])).done;
    if (task !== undefined) return task;
    throw new CoveyClientError({ code: 'NOT_FOUND', message: `No task ${id}.`, retryable: false });
  }

  /** `read`: joined from so many of its home stores, or from more than half of them, or refused. */
  async get(id: string, options: { readonly read?: number | 'quorum' } = {}): Promise<Task> {
    return camelKeys(await this.#call('task.get', { id, ...options }));
  }

  async cancel(id: string, reason?: string): Promise<Camel<MethodResult<'task.cancel'>>> {
    const params = reason === undefined ? { id } : { id, reason };
    return camelKeys(await this.#call('task.cancel', params));
  }

  /** A final task again, as a new one. */
  async retry(id: string): Promise<{ id: string }> {
    return unwrap(await this.#link.call('task.retry', { id }, this.#patienceMs, 'once'));
  }

  async logs(id: string, options: LogOptions = {}): Promise<Camel<MethodResult<'task.logs'>>> {
    const { stream = 'both', tailBytes } = options;
    const params = { id, stream, ...(tailBytes === undefined ? {} : { tail_bytes: tailBytes }) };
    return camelKeys(await this.#call('task.logs', params));
  }

  /** As the daemon sees them, the dead and those that left included. */
  async members(): Promise<Camel<MemberView>[]> {
    return camelKeys((await this.#call('members.list', {})).members);
  }

  /** What is wrong with the mesh, as far as the daemon and those it can ask within `timeoutMs` know. */
  async doctor(options: { readonly timeoutMs?: number } = {}): Promise<Diagnosis> {
    const { timeoutMs } = options;
    const params = timeoutMs === undefined ? {} : { timeout_ms: timeoutMs };
    return camelKeys(await this.#call('system.doctor', params));
  }

  /** Works on tasks of one type, or of several, until `stop`; resolves when the daemon knows of it. */
  work<Payload = unknown>(
    type: string,
    handler: Handler<Payload>,
    options?: WorkerOptions,
  ): Promise<Worker>;
  work(handlers: Handlers, options?: WorkerOptions): Promise<Worker>;
  async work(
    types: string | Handlers,
    second?: Handler<never> | WorkerOptions,
    third: WorkerOptions = {},
  ): Promise<Worker> {
    const single = typeof types === 'string' && typeof second === 'function';
    const handlers = single ? { [types]: second } : (types as Handlers);
    const options = single ? third : ((second ?? {}) as WorkerOptions);
    const name = options.name ?? this.#options.clientName;
    const named = name === undefined ? options : { ...options, name };
    const worker = await startWorker(this.#socket, handlers, named, {
      patienceMs: this.#patienceMs,
      watch: (state) => this.#options.onConnection?.({ state, of: 'worker', socket: this.#socket }),
    });
    this.#workers.add(worker);
    return worker;
  }

  /** Stops its workers, when their handlers have finished, and ends the connection. */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.stop()));
    this.#link.close();
  }

  async #submit(task: SubmitInput): Promise<Receipt> {
    return camelKeys(
      unwrap(await this.#link.call('task.submit', task, this.#patienceMs, 'repeatable')),
    );
  }

  async #call<M extends MethodName>(method: M, params: MethodInput<M>): Promise<MethodResult<M>> {
    return unwrap(await this.#link.call(method, params, this.#patienceMs, 'read'));
  }
}

function unwrap<T>(result: Result<T, RpcFailure>): T {
  if (result.ok) return result.value;
  throw new CoveyClientError(result.error);
}

interface WireError {
  readonly message: string;
  readonly data: {
    readonly code: string;
    readonly retryable: boolean;
    readonly help?: string | undefined;
  };
}

function errorFrom({ message, data }: WireError): CoveyClientError {
  const { code, retryable, help } = data;
  return new CoveyClientError({ code, message, retryable, data, ...(help ? { help } : {}) });
}

function asClientError(thrown: unknown): CoveyClientError {
  if (thrown instanceof CoveyClientError) return thrown;
  throw thrown;
}
