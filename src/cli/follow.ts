/** Live output of a task: `log` notifications, resumed over a new connection when the daemon went away. */
import type { MethodResult, NotificationParams } from '../api/methods.ts';
import type { TaskState } from '../api/task.ts';
import type { Result } from '../base/result.ts';
import { err, ok } from '../base/result.ts';
import type { Connection, RpcFailure } from '../client/types.ts';
import { decodeBytes } from './bytes.ts';
import { isPassing, type Mesh } from './mesh.ts';

export type StreamName = 'stdout' | 'stderr';
type LogChunk = NotificationParams<'log'>;
type LogEnd = NotificationParams<'log_end'>;

/** Chunks wait here while the terminal is slow; more than this and the subscription is made anew from where we are. */
const PENDING_BYTES_MAX = 8 * 1_024 * 1_024;
const RETRY_MS = 500;

/** Where a stream stands: what was shown of the current attempt. Pure; `take` returns what is new in a chunk. */
export class StreamCursor {
  #next = 0;
  #lastOfSubscription = -1;

  get shown(): number {
    return this.#next;
  }

  /** A new subscription may begin again at any earlier offset of the same attempt. */
  resubscribed(): void {
    this.#lastOfSubscription = -1;
  }

  take(offset: number, bytes: Buffer): { fresh: Buffer; restarted: boolean } {
    // Offsets of one subscription only rise; a fall means that another attempt began to write.
    const restarted = offset < this.#lastOfSubscription;
    this.#lastOfSubscription = offset;
    if (restarted) this.#next = 0;
    const skip = Math.min(bytes.length, Math.max(0, this.#next - offset));
    this.#next = Math.max(this.#next, offset + bytes.length);
    return { fresh: bytes.subarray(skip), restarted };
  }
}

export interface FollowHandlers {
  show(stream: StreamName, bytes: Buffer): Promise<void>;
  restarted(stream: StreamName): Promise<void>;
}

export class LogFollower {
  readonly #mesh: Mesh;
  readonly #id: string;
  readonly #stream: StreamName | 'both';
  readonly #handlers: FollowHandlers;
  readonly cursors: Readonly<Record<StreamName, StreamCursor>> = {
    stdout: new StreamCursor(),
    stderr: new StreamCursor(),
  };
  #stopped = false;
  #wake: () => void = () => undefined;

  constructor(mesh: Mesh, id: string, stream: StreamName | 'both', handlers: FollowHandlers) {
    this.#mesh = mesh;
    this.#id = id;
    this.#stream = stream;
    this.#handlers = handlers;
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Shows output until the task is final (its state), `stop` (undefined) or a failure that will not pass. */
  async run(): Promise<Result<TaskState | undefined, RpcFailure>> {
    while (!this.#stopped) {
      const opened = await this.#mesh.connection();
      // Nobody wants to wait for a daemon that never was.
      if (!opened.ok && !this.#mesh.wasConnected) return opened;
      const end = opened.ok ? await this.#subscribe(opened.value) : opened;
      if (end.ok && end.value !== undefined) return ok(end.value);
      if (!end.ok && !isPassing(end.error)) return end;
      if (!this.#stopped) await this.#mesh.sleep(RETRY_MS);
    }
    return ok(undefined);
  }

  async #subscribe(connection: Connection): Promise<Result<TaskState | undefined, RpcFailure>> {
    for (const cursor of Object.values(this.cursors)) cursor.resubscribed();
    const inbox: (LogChunk | LogEnd)[] = [];
    let inboxBytes = 0;
    let overflow = false;
    let gone = false;
    // Before the call: the first notifications may arrive together with its answer.
    const offLog = connection.on('log', (chunk) => {
      inboxBytes += decodedLength(chunk);
      if (inboxBytes > PENDING_BYTES_MAX) overflow = true;
      else inbox.push(chunk);
      this.#wake();
    });
    const offEnd = connection.on('log_end', (end) => {
      inbox.push(end);
      this.#wake();
    });
    void connection.closed.then(() => {
      gone = true;
      this.#wake();
    });
    try {
      const answer = await connection.call('task.logs', {
        id: this.#id,
        stream: this.#stream,
        follow: true,
      });
      if (!answer.ok) return err(answer.error);
      await this.#showFirst(answer.value);
      const { subscription } = answer.value;
      if (subscription === undefined) return ok(answer.value.state);
      for (;;) {
        const next = inbox.shift();
        if (next === undefined) {
          if (gone || overflow || this.#stopped) break;
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        if (next.subscription !== subscription) continue;
        if (!('stream' in next)) return ok(next.state);
        inboxBytes -= decodedLength(next);
        await this.#showChunk(next.stream, next.offset_bytes, decodeBytes(next.data));
      }
      if (!gone) await connection.call('events.unsubscribe', { subscription });
      return ok(undefined);
    } finally {
      offLog();
      offEnd();
    }
  }

  async #showFirst(answer: MethodResult<'task.logs'>): Promise<void> {
    for (const stream of ['stdout', 'stderr'] as const) {
      const chunk = answer[stream];
      if (chunk === undefined) continue;
      const bytes = decodeBytes(chunk);
      // A cut beginning has no known offset; it is shown once and the notifications go on from their own offsets.
      if (bytes.length > 0) await this.#showChunk(stream, 0, bytes);
    }
  }

  async #showChunk(stream: StreamName, offset: number, bytes: Buffer): Promise<void> {
    const { fresh, restarted } = this.cursors[stream].take(offset, bytes);
    if (restarted) await this.#handlers.restarted(stream);
    if (fresh.length > 0) await this.#handlers.show(stream, fresh);
  }
}

const decodedLength = (chunk: LogChunk): number =>
  typeof chunk.data === 'string' ? chunk.data.length : chunk.data.base64.length;
