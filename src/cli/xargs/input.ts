/** Reads stdin into a bounded queue of work, as far ahead of the submits as memory allows. */
import type { Readable } from 'node:stream';
import { messageOf } from '../../base/errors.ts';
import type { Gate } from './gate.ts';
import { READ_AHEAD_BYTES_MAX } from './limits.ts';
import { type Work, type WorkSource, workBytes } from './source.ts';

export class InputQueue {
  readonly #stream: Readable;
  readonly #source: WorkSource;
  readonly #gate: Gate;
  #queue: Work[] = [];
  #head = 0;
  #bytes = 0;
  #read = 0;
  #ended = false;
  #stopped = false;
  #failure: string | undefined;

  constructor(stream: Readable, source: WorkSource, gate: Gate) {
    this.#stream = stream;
    this.#source = source;
    this.#gate = gate;
  }

  /** Pieces of work read so far; the total once `ended`. */
  get read(): number {
    return this.#read;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  get size(): number {
    return this.#queue.length - this.#head;
  }

  peek(): Work | undefined {
    return this.#queue[this.#head];
  }

  take(): Work | undefined {
    const work = this.#queue[this.#head];
    if (work === undefined) return undefined;
    this.#head++;
    this.#bytes -= workBytes(work);
    // Array.shift() on a long queue moves every element; the taken half is cut off at once instead.
    if (this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    if (this.#bytes <= READ_AHEAD_BYTES_MAX / 2) this.#gate.wake();
    return work;
  }

  /** Ends when stdin has, or after `stop`. */
  async run(): Promise<void> {
    try {
      for await (const chunk of this.#stream) {
        this.#add(this.#source.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk));
        while (this.#bytes > READ_AHEAD_BYTES_MAX && !this.#stopped) await this.#gate.wait();
        if (this.#stopped) break;
      }
      if (!this.#stopped) this.#add(this.#source.end());
    } catch (thrown) {
      if (!this.#stopped) this.#failure = messageOf(thrown);
    }
    this.#ended = true;
    this.#gate.wake();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stream.destroy();
    this.#gate.wake();
  }

  #add(works: readonly Work[]): void {
    for (const work of works) {
      this.#queue.push(work);
      this.#bytes += workBytes(work);
    }
    this.#read += works.length;
    if (works.length > 0) this.#gate.wake();
  }
}
