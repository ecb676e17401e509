/** A Listener in memory, and one that can be crashed: what control tests stand on. */
import {
  type ByteStream,
  type ByteStreamHandlers,
  type Listener,
  type OpenResult,
  WRITE_BUFFER_BYTES_MAX,
} from '../../src/ports/listener.ts';

/** Passes everything to another Listener, and ends all its streams at a word, as kill -9 of the daemon does. */
export class CrashableListener implements Listener {
  readonly #inner: Listener;
  readonly #streams = new Set<ByteStream>();

  constructor(inner: Listener) {
    this.#inner = inner;
  }

  open(accept: (stream: ByteStream) => ByteStreamHandlers): Promise<OpenResult> {
    return this.#inner.open((stream) => {
      this.#streams.add(stream);
      const handlers = accept(stream);
      return {
        data: (bytes) => handlers.data(bytes),
        drained: () => handlers.drained(),
        finished: () => handlers.finished(),
        ended: () => {
          this.#streams.delete(stream);
          handlers.ended();
        },
      };
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async crash(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    await this.close();
  }
}

/** A Listener without an operating system: `connect` gives the client's end of a stream. */
export class MemoryListener implements Listener {
  #accept: ((stream: ByteStream) => ByteStreamHandlers) | undefined;

  open(accept: (stream: ByteStream) => ByteStreamHandlers): Promise<OpenResult> {
    this.#accept = accept;
    return Promise.resolve({ ok: true, path: 'memory' });
  }

  close(): Promise<void> {
    this.#accept = undefined;
    return Promise.resolve();
  }

  connect(): MemoryClient {
    if (this.#accept === undefined) throw new Error('the listener is closed');
    return new MemoryClient(this.#accept);
  }
}

/** Reads at once, or, after `stopReading`, not at all. */
export class MemoryClient {
  readonly #handlers: ByteStreamHandlers | undefined;
  readonly #decoder = new TextDecoder();
  #text = '';
  readonly #unread: Uint8Array[] = [];
  #reading = true;
  paused = false;
  ended = false;

  constructor(accept: (stream: ByteStream) => ByteStreamHandlers) {
    this.#handlers = accept({
      write: (bytes) => {
        this.#unread.push(bytes);
        if (this.#reading) this.read();
        return this.#bufferedBytes() <= WRITE_BUFFER_BYTES_MAX;
      },
      bufferedBytes: () => this.#bufferedBytes(),
      pause: () => {
        this.paused = true;
      },
      resume: () => {
        this.paused = false;
      },
      end: () => this.close(),
      destroy: () => this.close(),
    });
    // Turned away while it was being accepted: nobody could be told yet.
    if (this.ended) this.#handlers?.ended();
  }

  #bufferedBytes(): number {
    return this.#unread.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  send(data: Uint8Array | string): void {
    this.#handlers?.data(typeof data === 'string' ? new TextEncoder().encode(data) : data);
  }

  /** Says that no more comes, and goes on reading. */
  finish(): void {
    this.#handlers?.finished();
  }

  stopReading(): void {
    this.#reading = false;
  }

  /** Takes all that waits; says so to the server when that was too much. */
  read(): void {
    const wasOver = this.#bufferedBytes() > WRITE_BUFFER_BYTES_MAX;
    for (const bytes of this.#unread.splice(0)) {
      this.#text += this.#decoder.decode(bytes, { stream: true });
    }
    if (wasOver) this.#handlers?.drained();
  }

  close(): void {
    if (this.ended) return;
    this.ended = true;
    this.#handlers?.ended();
  }

  /** The complete lines received so far, parsed; each is told once. */
  take(): unknown[] {
    const lines = this.#text.split('\n');
    this.#text = lines.pop() ?? '';
    return lines.map((line): unknown => JSON.parse(line));
  }
}
