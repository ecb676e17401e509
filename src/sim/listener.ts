/**
 * The Listener port in memory: `connect` gives a test the client's end of a stream.
 *
 * Bytes travel by timers and are cut at random places, so that nobody relies on where a chunk ends.
 * What a receiver does not take stays with the sender, beyond what a kernel would hold.
 */
import { type Random, randomBelow } from '../base/random.ts';
import type { Clock } from '../ports/clock.ts';
import {
  type ByteStream,
  type ByteStreamHandlers,
  type Listener,
  type OpenResult,
  WRITE_BUFFER_BYTES_MAX,
} from '../ports/listener.ts';
import type { Trace } from './clock.ts';

/** What a kernel takes for a Unix socket before the sender has to wait. */
const KERNEL_BYTES = 208 * 1_024;
const DELIVERY_MS = 0.05;
/** Chunks beyond this size are cut. */
const CHUNK_BYTES_MAX = 64 * 1_024;

export interface SimListenerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly path: string;
  readonly trace?: Trace;
}

export class SimListener implements Listener {
  readonly #options: SimListenerOptions;
  #accept: ((stream: ByteStream) => ByteStreamHandlers) | undefined;
  /** Answer of the next `open`, to play a path that is taken. */
  nextOpen: OpenResult | undefined;

  constructor(options: SimListenerOptions) {
    this.#options = options;
  }

  open(accept: (stream: ByteStream) => ByteStreamHandlers): Promise<OpenResult> {
    this.#options.trace?.('listener.open');
    const result = this.nextOpen ?? { ok: true, path: this.#options.path };
    this.nextOpen = undefined;
    if (result.ok) this.#accept = accept;
    return Promise.resolve(result);
  }

  close(): Promise<void> {
    this.#options.trace?.('listener.close');
    this.#accept = undefined;
    return Promise.resolve();
  }

  /** A local program connects; undefined: nobody listens. */
  connect(handlers: ByteStreamHandlers): ByteStream | undefined {
    const accept = this.#accept;
    if (!accept) return undefined;
    const client = new SimStream(this.#options, 'client');
    const server = new SimStream(this.#options, 'server');
    client.join(server, handlers);
    let serverHandlers: ByteStreamHandlers | undefined;
    server.join(client, {
      data: (bytes) => serverHandlers?.data(bytes),
      drained: () => serverHandlers?.drained(),
      finished: () => serverHandlers?.finished(),
      ended: () => serverHandlers?.ended(),
    });
    serverHandlers = accept(server);
    return client;
  }
}

class SimStream implements ByteStream {
  readonly #options: SimListenerOptions;
  readonly #side: 'client' | 'server';
  #other: SimStream | undefined;
  #handlers: ByteStreamHandlers | undefined;
  /** Written here, not yet delivered to the other end. */
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #over = false;
  #paused = false;
  #ending = false;
  #toldEnd = false;
  #ended = false;
  #scheduled = false;

  constructor(options: SimListenerOptions, side: 'client' | 'server') {
    this.#options = options;
    this.#side = side;
  }

  join(other: SimStream, handlers: ByteStreamHandlers): void {
    this.#other = other;
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array): boolean {
    this.#options.trace?.('stream.write', this.#side, bytes);
    if (this.#ended || this.#ending) return false;
    this.#queue.push(bytes.slice());
    this.#queuedBytes += bytes.length;
    this.#schedule();
    this.#over = this.bufferedBytes() > WRITE_BUFFER_BYTES_MAX;
    return !this.#over;
  }

  bufferedBytes(): number {
    return Math.max(0, this.#queuedBytes - KERNEL_BYTES);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (this.#other) this.#other.#schedule();
  }

  end(): void {
    this.#options.trace?.('stream.end', this.#side);
    this.#ending = true;
    this.#paused = false;
    this.#schedule();
  }

  destroy(): void {
    this.#options.trace?.('stream.destroy', this.#side);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#finish();
    if (this.#other) this.#other.#finish();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.clock.after(DELIVERY_MS, () => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const other = this.#other;
    if (this.#ended || !other || other.#ended) return;
    if (this.#queue.length === 0) {
      if (this.#ending) this.#sayEnd(other);
      return;
    }
    if (other.#paused) return;
    const chunk = this.#takeChunk();
    other.#handlers?.data(chunk);
    if (this.#over && this.bufferedBytes() === 0) {
      this.#over = false;
      this.#handlers?.drained();
    }
    this.#schedule();
  }

  /** The bytes that wait, up to a size, cut anywhere. */
  #takeChunk(): Uint8Array {
    const size = Math.min(this.#queuedBytes, CHUNK_BYTES_MAX);
    const cut = this.#queuedBytes > 1 && randomBelow(this.#options.random, 4) === 0;
    const length = cut ? 1 + randomBelow(this.#options.random, size) : size;
    const chunk = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const first = this.#queue.shift();
      if (!first) break;
      const part = first.subarray(0, length - filled);
      chunk.set(part, filled);
      filled += part.length;
      if (part.length < first.length) this.#queue.unshift(first.subarray(part.length));
    }
    this.#queuedBytes -= filled;
    return chunk;
  }

  /** A program may end its half and read on; when the server ends its own, the program follows. */
  #sayEnd(other: SimStream): void {
    if (this.#side === 'server' || other.#ending) {
      this.#finishBoth();
    } else if (!this.#toldEnd) {
      this.#toldEnd = true;
      other.#handlers?.finished();
    }
  }

  /**
   * One end has said all it had to; the other may still write out what waits, as with a real
   * socket.
   */
  #finishBoth(): void {
    const other = this.#other;
    if (other && !other.#ending && other.#queue.length > 0) {
      other.end();
      return;
    }
    this.#finish();
    if (other) other.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.clock.after(DELIVERY_MS, () => this.#handlers?.ended());
  }
}
