/**
 * One client's connection: lines in, requests to the server, answers and notifications out. It holds what one
 * client may cost: unanswered requests, unread bytes. Answers may overtake one another.
 */
import { ANSWER_BYTES_MAX, LINE_BYTES_MAX, UNANSWERED_REQUESTS_MAX } from '../api/limits.ts';
import type { NotificationName, NotificationParams } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { utf8 } from '../base/hash.ts';
import { err, type Result } from '../base/result.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { ByteStream, ByteStreamHandlers } from '../ports/listener.ts';
import type { Session } from './backend.ts';
import {
  encodeAnswer,
  encodeNotification,
  type Message,
  type RequestId,
  readLine,
} from './jsonrpc.ts';
import {
  BUSY_RETRY_AFTER_MS,
  CLOSE_MS_MAX,
  SLOW_READER_BYTES,
  SLOW_READER_MS,
  UNREAD_BYTES_MAX,
} from './limits.ts';
import { LineSplitter } from './lines.ts';

/** Below this a text is not counted exactly: even a batch of them stays far from ANSWER_BYTES_MAX. */
const BYTES_COUNTED_MIN = 4_096;

export interface SessionHost {
  /** Never rejects: a failure of ours is a result too. */
  execute(
    session: Session,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<Result<unknown, CoveyError>>;
  /** An answer could not be written as JSON; `thrown` says why. */
  answerFailed(thrown: unknown): CoveyError;
  /** The session was ended by us. */
  refusedReader(session: Session, unreadBytes: number): void;
}

/** A request that has not been answered; `answer` does so once, later calls do nothing. */
interface OpenRequest {
  answer(outcome: Result<unknown, CoveyError>): void;
}

/** An object of its own, so that a function added twice is two listeners. */
interface Listener {
  readonly listener: () => void;
}

function addTo(listeners: Set<Listener>, listener: () => void): () => void {
  const entry = { listener };
  listeners.add(entry);
  return () => {
    listeners.delete(entry);
  };
}

export class ControlSession implements Session, ByteStreamHandlers {
  readonly id: string;
  readonly #stream: ByteStream;
  readonly #clock: Clock;
  readonly #host: SessionHost;
  readonly #lines: LineSplitter;
  readonly #open = new Set<OpenRequest>();
  readonly #closedListeners = new Set<Listener>();
  readonly #drainedListeners = new Set<Listener>();
  /** The client said that no more comes; it ends with its last answer. */
  #finished = false;
  #state: 'open' | 'ending' | 'closed' = 'open';
  /** `write` said that too much waits; nothing more is read until the client has caught up. */
  #blocked = false;
  #slowTimer: Timer | undefined;

  constructor(id: string, stream: ByteStream, clock: Clock, host: SessionHost) {
    this.id = id;
    this.#stream = stream;
    this.#clock = clock;
    this.#host = host;
    this.#lines = new LineSplitter(LINE_BYTES_MAX, {
      line: (bytes) => this.#line(bytes),
      tooLong: () => this.#refuse(coveyError('LINE_TOO_LONG', { limit_bytes: LINE_BYTES_MAX })),
    });
  }

  data(bytes: Uint8Array): void {
    if (this.#state === 'open') this.#lines.push(bytes);
  }

  drained(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#slowTimer?.cancel();
    this.#slowTimer = undefined;
    if (this.#state !== 'open') return;
    this.#stream.resume();
    for (const { listener } of [...this.#drainedListeners]) listener();
  }

  finished(): void {
    this.#finished = true;
    this.#endIfAnswered();
  }

  ended(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#slowTimer?.cancel();
    this.#open.clear();
    const listeners = [...this.#closedListeners];
    this.#closedListeners.clear();
    this.#drainedListeners.clear();
    for (const { listener } of listeners) listener();
  }

  notify<N extends NotificationName>(
    name: N,
    params: NotificationParams<N>,
  ): 'sent' | 'full' | 'closed' {
    if (this.#state !== 'open') return 'closed';
    if (this.#blocked) return 'full';
    this.#write(encodeNotification(name, params));
    return 'sent';
  }

  onClosed(listener: () => void): () => void {
    if (this.#state === 'closed') {
      listener();
      return () => undefined;
    }
    return addTo(this.#closedListeners, listener);
  }

  onDrained(listener: () => void): () => void {
    return addTo(this.#drainedListeners, listener);
  }

  /** Answers everything open with `error`, writes what waits, and closes; resolves when closed. */
  close(error: CoveyError): Promise<void> {
    if (this.#state === 'closed') return Promise.resolve();
    for (const request of [...this.#open]) request.answer(err(error));
    this.#state = 'ending';
    this.#stream.end();
    return new Promise((resolve) => {
      const timer = this.#clock.after(CLOSE_MS_MAX, () => this.destroy());
      this.onClosed(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  destroy(): void {
    this.#stream.destroy();
    this.ended();
  }

  #line(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    const line = readLine(bytes);
    if (line.kind === 'refused') this.#refuse(line.error);
    else if (line.kind === 'single') {
      this.#start(line.message, (answer) => {
        if (answer !== undefined) this.#write(answer);
      });
    } else if (line.kind === 'batch') this.#batch(line.messages);
  }

  #refuse(error: CoveyError): void {
    this.#write(encodeAnswer(null, err(error)));
  }

  /** Executes in parallel and answers in one line; without a line if there were notifications only. */
  #batch(messages: readonly Message[]): void {
    const answers: string[] = [];
    let waiting = messages.length;
    let bytes = 0;
    for (const message of messages) {
      this.#start(message, (answer) => {
        waiting -= 1;
        if (answer !== undefined && message.kind !== 'notification') {
          bytes += bytesOf(answer);
          answers.push(bytes > ANSWER_BYTES_MAX ? tooLarge(message.id, bytes) : answer);
        }
        if (waiting === 0 && answers.length > 0) this.#write(`[${answers.join(',')}]`);
      });
    }
  }

  /** Calls `done` once: with the answer, or with nothing when none is due. */
  #start(message: Message, done: (answer: string | undefined) => void): void {
    if (message.kind === 'invalid') {
      done(encodeAnswer(message.id, err(message.error)));
      return;
    }
    const id = message.kind === 'request' ? message.id : undefined;
    if (this.#open.size >= UNANSWERED_REQUESTS_MAX) {
      const what = `${UNANSWERED_REQUESTS_MAX} requests of this connection are unanswered`;
      const busy = coveyError('BUSY', { what, retry_after_ms: BUSY_RETRY_AFTER_MS });
      done(id === undefined ? undefined : encodeAnswer(id, err(busy)));
      return;
    }
    const request: OpenRequest = {
      answer: (outcome) => {
        if (!this.#open.delete(request)) return;
        done(id === undefined ? undefined : this.#encode(id, outcome));
        this.#endIfAnswered();
      },
    };
    this.#open.add(request);
    void this.#host.execute(this, message.method, message.params).then(request.answer);
  }

  #endIfAnswered(): void {
    if (!this.#finished || this.#state !== 'open' || this.#open.size > 0) return;
    this.#state = 'ending';
    this.#stream.end();
  }

  #encode(id: RequestId, outcome: Result<unknown, CoveyError>): string {
    let text: string;
    try {
      text = encodeAnswer(id, outcome);
    } catch (thrown) {
      text = encodeAnswer(id, err(this.#host.answerFailed(thrown)));
    }
    const bytes = bytesOf(text);
    return bytes > ANSWER_BYTES_MAX ? tooLarge(id, bytes) : text;
  }

  #write(text: string): void {
    if (this.#state === 'closed') return;
    const taken = this.#stream.write(utf8(`${text}\n`));
    if (taken || this.#state !== 'open') return;
    if (!this.#blocked) {
      this.#blocked = true;
      this.#stream.pause();
    }
    const unread = this.#stream.bufferedBytes();
    if (unread > UNREAD_BYTES_MAX) this.#endSlowReader();
    else if (unread > SLOW_READER_BYTES && this.#slowTimer === undefined) {
      this.#slowTimer = this.#clock.after(SLOW_READER_MS, () => {
        this.#slowTimer = undefined;
        if (this.#stream.bufferedBytes() > SLOW_READER_BYTES) this.#endSlowReader();
      });
    }
  }

  #endSlowReader(): void {
    this.#host.refusedReader(this, this.#stream.bufferedBytes());
    this.destroy();
  }
}

/** Short texts, nearly all, are counted in characters, which costs nothing. */
const bytesOf = (text: string): number =>
  3 * text.length <= BYTES_COUNTED_MIN ? text.length : utf8(text).length;

const tooLarge = (id: RequestId, bytes: number): string =>
  encodeAnswer(
    id,
    err(
      coveyError('PAYLOAD_TOO_LARGE', {
        what: 'The answer',
        bytes,
        limit_bytes: ANSWER_BYTES_MAX,
      }),
    ),
  );
