/** A local program on the control socket of a simulated daemon: lines out, answers in, every error code noted. */
import { ANSWER_BYTES_MAX } from '../api/limits.ts';
import { TASK_STATES } from '../api/task.ts';
import { utf8 } from '../base/hash.ts';
import { LineSplitter } from '../control/lines.ts';
import type { Clock } from '../ports/clock.ts';
import type { ByteStream, ByteStreamHandlers } from '../ports/listener.ts';
import type { Sightings } from './sightings.ts';

/** A client gives up; longer than any call of the daemon takes by itself. */
const PATIENCE_MS = 20_000;

/** What a request came to: its result, its error code, or nothing, when the daemon went away or did not answer. */
export interface Answer {
  readonly result?: Readonly<Record<string, unknown>>;
  readonly code?: string;
}

export interface SocketClientDeps {
  readonly clock: Clock;
  readonly sightings: Sightings;
  readonly connect: (handlers: ByteStreamHandlers) => ByteStream | undefined;
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export class SocketClient {
  readonly #deps: SocketClientDeps;
  readonly #stream: ByteStream | undefined;
  /** By id; what has none is answered in the order in which it was asked. */
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #lines: LineSplitter;
  #next = 1;
  #isOver = false;

  constructor(deps: SocketClientDeps) {
    this.#deps = deps;
    this.#lines = new LineSplitter(2 * ANSWER_BYTES_MAX, {
      line: (bytes) => this.#line(new TextDecoder().decode(bytes)),
      tooLong: () => {
        throw new Error('the daemon sent a line longer than it may');
      },
    });
    this.#stream = deps.connect({
      data: (bytes) => this.#lines.push(bytes),
      drained: () => undefined,
      finished: () => undefined,
      ended: () => this.#over(),
    });
    if (this.#stream === undefined) this.#isOver = true;
  }

  call(method: string, params: unknown = {}): Promise<Answer> {
    return this.#expect((id) => JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  }

  /** Something that is no request, or carries an id of its own: whatever comes first without one of ours answers it. */
  raw(text: string | Uint8Array): Promise<Answer> {
    return this.#expect(() => text);
  }

  end(): void {
    this.#stream?.destroy();
    this.#over();
  }

  #expect(lineOf: (id: number) => string | Uint8Array): Promise<Answer> {
    const id = this.#next++;
    if (this.#isOver) return Promise.resolve({});
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after(PATIENCE_MS, () => this.#settle(id, {}));
      this.#waiting.set(id, (answer) => {
        timer.cancel();
        resolve(answer);
      });
      const line = lineOf(id);
      this.#stream?.write(typeof line === 'string' ? utf8(line) : line);
      this.#stream?.write(utf8('\n'));
    });
  }

  #settle(id: number, answer: Answer): void {
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    resolve?.(answer);
  }

  #over(): void {
    this.#isOver = true;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, {});
  }

  #line(text: string): void {
    const message = JSON.parse(text) as unknown;
    for (const one of Array.isArray(message) ? message : [message]) {
      if (isFields(one) && !('method' in one)) this.#answered(one);
    }
  }

  #answered({ id, result, error }: Fields): void {
    const data = isFields(error) ? error.data : undefined;
    const code = isFields(data) ? String(data.code) : undefined;
    if (code !== undefined) this.#deps.sightings.code(code);
    if (isFields(result)) this.#shown(result);
    const known = typeof id === 'number' && this.#waiting.has(id) ? id : undefined;
    const first = known ?? [...this.#waiting.keys()][0];
    if (first === undefined) return;
    this.#settle(first, {
      ...(isFields(result) ? { result } : {}),
      ...(code === undefined ? {} : { code }),
    });
  }

  /** Tasks in an answer, as one or in a list. */
  #shown(result: Fields): void {
    const lists = [result.tasks, result.done, result.receipts].filter(Array.isArray);
    for (const item of [result, ...lists.flat()]) {
      if (!isFields(item)) continue;
      const state = TASK_STATES.find((name) => name === item.state);
      const reason = typeof item.reason === 'string' ? item.reason : undefined;
      if (state !== undefined) this.#deps.sightings.state(state, reason);
      const data = isFields(item.error) ? item.error.data : undefined;
      if (isFields(data)) this.#deps.sightings.code(String(data.code));
    }
  }
}
