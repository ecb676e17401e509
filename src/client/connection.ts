/**
 * One connection to a daemon: JSON-RPC on a Unix socket. Published without the daemon's packages, so it imports
 * `node:` modules and constants alone; of the schemas it takes the types, which cost nothing at run time.
 */
import { createConnection, type Socket } from 'node:net';
import { ANSWER_BYTES_MAX, LINE_BYTES_MAX } from '../api/limits.ts';
import type {
  MethodInput,
  MethodName,
  MethodResult,
  NotificationName,
  NotificationParams,
} from '../api/methods.ts';
import { err, ok, type Result } from '../base/result.ts';
import {
  CALL_MS_MAX,
  CALLS_QUEUED_MAX,
  CALLS_SENT_MAX,
  CONNECT_MS_MAX,
  TIMER_MS_MAX,
} from './limits.ts';
import { LineReader } from './lines.ts';
import type { Connection, RpcFailure } from './types.ts';

/** `api/methods.ts` holds schemas and would bring their library along; the test of hello keeps the two equal. */
const CONTROL_VERSION = 1;

export interface OpenOptions {
  /** Who we are, for the daemon's log. */
  readonly clientName?: string;
  readonly timeoutMs?: number;
}

/** Connects and says hello. A failure is `DISCONNECTED` with `data.errno` (ENOENT, ECONNREFUSED, EACCES …). */
export async function openConnection(
  socketPath: string,
  options: OpenOptions = {},
): Promise<Result<Connection, RpcFailure>> {
  const timeoutMs = options.timeoutMs ?? CONNECT_MS_MAX;
  const connected = await connectSocket(socketPath, timeoutMs);
  if (!connected.ok) return connected;
  const connection = new SocketConnection(connected.value);
  const client = options.clientName ?? `client pid ${process.pid}`;
  const hello = await connection.call(
    'system.hello',
    { client, versions: [CONTROL_VERSION] },
    { timeoutMs },
  );
  if (hello.ok) return ok(connection);
  connection.close();
  return hello;
}

function connectSocket(path: string, timeoutMs: number): Promise<Result<Socket, RpcFailure>> {
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    const timer = setTimeout(() => {
      socket.destroy();
      const message = `No daemon answered at ${path} within ${timeoutMs} ms.`;
      resolve(err({ code: 'CLIENT_TIMEOUT', message, retryable: true }));
    }, timeoutMs);
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      const errno = error.code ?? 'UNKNOWN';
      resolve(err(unreachable(path, errno)));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(ok(socket));
    });
  });
}

const ERRNO_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'this user may not use it',
  EPERM: 'this user may not use it',
};

function unreachable(path: string, errno: string): RpcFailure {
  return {
    code: 'DISCONNECTED',
    message: `No daemon is reachable at ${path}: ${ERRNO_REASONS[errno] ?? errno}.`,
    retryable: true,
    help: "Start one with 'coveyd', or name its socket with COVEY_SOCKET.",
    data: { errno, path },
  };
}

interface PendingCall {
  readonly line: string;
  readonly settle: (outcome: Result<unknown, RpcFailure>) => void;
}

/** What a line of the daemon may hold; everything else is ignored, as a later version may send more. */
interface Incoming {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: {
    readonly message?: unknown;
    readonly data?: Readonly<Record<string, unknown>>;
  };
}

type AnyHandler = (params: unknown) => void;

class SocketConnection implements Connection {
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new LineReader(ANSWER_BYTES_MAX);
  /** Sent and unanswered, by request id. */
  readonly #sent = new Map<number, PendingCall>();
  /** Not sent yet: CALLS_SENT_MAX are on their way. */
  readonly #queued = new Map<number, PendingCall>();
  readonly #handlers = new Map<string, Set<AnyHandler>>();
  readonly #inbox: Incoming[] = [];
  #pumpScheduled = false;
  #nextId = 1;
  #end: RpcFailure | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#drop({ code: 'DISCONNECTED', message: 'The daemon closed the connection.' });
        resolve();
      });
    });
    socket.on('error', (error) => {
      this.#drop({ code: 'DISCONNECTED', message: `The connection failed: ${error.message}.` });
    });
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
  }

  call<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<Result<MethodResult<M>, RpcFailure>> {
    return new Promise((resolve) => {
      const id = this.#nextId++;
      const line = encodeCall(id, method, params);
      const refusal = this.#end ?? (line.ok ? undefined : line.error);
      if (refusal !== undefined || !line.ok) {
        resolve(err(refusal ?? failure('INVALID_PARAMS', 'The call cannot be encoded.')));
        return;
      }
      const wantedMs = options.timeoutMs ?? CALL_MS_MAX + ownWaitMs(params);
      const timeoutMs = Math.min(wantedMs, TIMER_MS_MAX);
      const timer = setTimeout(() => {
        const message = `The daemon did not answer ${method} within ${timeoutMs} ms.`;
        this.#settle(id, err({ code: 'CLIENT_TIMEOUT', message, retryable: true }));
      }, timeoutMs);
      const settle = (outcome: Result<unknown, RpcFailure>): void => {
        clearTimeout(timer);
        resolve(outcome as Result<MethodResult<M>, RpcFailure>);
      };
      this.#send(id, { line: line.value, settle });
    });
  }

  on<N extends NotificationName>(
    name: N,
    handler: (params: NotificationParams<N>) => void,
  ): () => void {
    const handlers = this.#handlers.get(name) ?? new Set<AnyHandler>();
    this.#handlers.set(name, handlers);
    // The name decides the type of the parameters; the map cannot express the pair.
    const stored: AnyHandler = (params) => handler(params as NotificationParams<N>);
    handlers.add(stored);
    return () => handlers.delete(stored);
  }

  close(): void {
    this.#drop({ code: 'DISCONNECTED', message: 'The connection was closed by this program.' });
    this.#socket.destroySoon();
  }

  #send(id: number, call: PendingCall): void {
    if (this.#sent.size < CALLS_SENT_MAX) {
      this.#sent.set(id, call);
      this.#socket.write(call.line);
    } else if (this.#queued.size < CALLS_QUEUED_MAX) {
      this.#queued.set(id, call);
    } else {
      const what = `${CALLS_QUEUED_MAX} calls wait in this program.`;
      call.settle(err({ code: 'BUSY', message: what, retryable: true }));
    }
  }

  #settle(id: number, outcome: Result<unknown, RpcFailure>): void {
    const call = this.#sent.get(id) ?? this.#queued.get(id);
    this.#queued.delete(id);
    if (this.#sent.delete(id)) {
      const [next] = this.#queued;
      if (next !== undefined) {
        this.#queued.delete(next[0]);
        this.#send(next[0], next[1]);
      }
    }
    call?.settle(outcome);
  }

  #data(chunk: Buffer): void {
    const lines = this.#reader.push(chunk);
    if (lines === undefined) {
      const message = `The daemon sent a line of more than ${ANSWER_BYTES_MAX} bytes.`;
      this.#fail({ code: 'DISCONNECTED', message });
      return;
    }
    for (const line of lines) {
      const message = parse(line);
      if (message === undefined) {
        this.#fail({ code: 'DISCONNECTED', message: 'The daemon sent a line that is not JSON.' });
        return;
      }
      this.#inbox.push(message);
    }
    if (!this.#pumpScheduled) this.#pump();
  }

  /**
   * A notification never overtakes the code that awaits the answer before it: after an answer, notifications wait
   * for the next turn. Else the first events of a subscription would come before its caller knows its name.
   */
  #pump(): void {
    this.#pumpScheduled = false;
    let answered = false;
    for (let message = this.#inbox[0]; message !== undefined; message = this.#inbox[0]) {
      if (typeof message.method === 'string') {
        if (answered) {
          this.#pumpScheduled = true;
          setImmediate(() => this.#pump());
          return;
        }
        this.#inbox.shift();
        for (const handler of this.#handlers.get(message.method) ?? []) handler(message.params);
      } else {
        this.#inbox.shift();
        this.#answer(message);
        answered = true;
      }
    }
  }

  #answer(message: Incoming): void {
    const outcome =
      message.error === undefined ? ok(message.result) : err(failureOf(message.error));
    if (typeof message.id === 'number') {
      this.#settle(message.id, outcome);
    } else if (!outcome.ok) {
      // An error without an id is about the connection itself: TOO_MANY_CONNECTIONS, a line of ours it cannot read.
      this.#fail(outcome.error);
    }
  }

  #fail(reason: Omit<RpcFailure, 'retryable'> & { readonly retryable?: boolean }): void {
    this.#drop(reason);
    this.#socket.destroy();
  }

  /** Every call from now on, and every one that waits, fails with the first reason. */
  #drop(reason: Omit<RpcFailure, 'retryable'> & { readonly retryable?: boolean }): void {
    this.#end ??= { retryable: true, ...reason };
    const end = this.#end;
    const calls = [...this.#sent.values(), ...this.#queued.values()];
    this.#sent.clear();
    this.#queued.clear();
    for (const call of calls) call.settle(err(end));
  }
}

const failure = (code: string, message: string): RpcFailure => ({
  code,
  message,
  retryable: false,
});

function encodeCall(id: number, method: string, params: unknown): Result<string, RpcFailure> {
  let line: string;
  try {
    line = `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return err(failure('INVALID_PARAMS', `The parameters are not JSON: ${why}.`));
  }
  if (line.length <= LINE_BYTES_MAX && Buffer.byteLength(line) <= LINE_BYTES_MAX) return ok(line);
  const text = `The call is longer than a line may be (${LINE_BYTES_MAX} bytes).`;
  return err(failure('PAYLOAD_TOO_LARGE', text));
}

/** A call that itself waits gets its own time on top of the usual patience. */
function ownWaitMs(params: unknown): number {
  if (typeof params !== 'object' || params === null || !('timeout_ms' in params)) return 0;
  return typeof params.timeout_ms === 'number' ? params.timeout_ms : 0;
}

function parse(line: string): Incoming | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function failureOf(error: NonNullable<Incoming['error']>): RpcFailure {
  const data = error.data ?? {};
  return {
    code: typeof data.code === 'string' ? data.code : 'INTERNAL',
    message: typeof error.message === 'string' ? error.message : 'The daemon gave no reason.',
    retryable: data.retryable === true,
    ...(typeof data.help === 'string' ? { help: data.help } : {}),
    data,
  };
}
