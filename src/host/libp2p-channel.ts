/**
 * One class's way out to one peer: a long-lived stream, opened when the first frame is sent, and the frames
 * that wait for it. A stream per request would be 250 times slower, and libp2p allows 64 at a time (D5).
 */
import { SEND_BUFFER_BYTES_MAX } from '../ports/network.ts';
import { FrameQueue } from './libp2p-framing.ts';
import type { Connection, Stream } from './libp2p-node.ts';

// Limits of this room.
/** Written at once: small enough for a heartbeat to slip in between the chunks of a bulk frame (D6). */
const CHUNK_BYTES_MAX = 64 * 1_024;
/**
 * A stream waits this long to be negotiated. Long on purpose: in a silent partition each attempt only adds
 * bytes to the socket, and all of them would arrive when it heals.
 */
const NEGOTIATION_TIMEOUT_MS = 60_000;
/** Before another stream is tried after one ended or was refused: the other end may be about to admit us. */
const REOPEN_DELAY_MS = 50;

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly stream: Stream }
  | { readonly kind: 'pausing'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'closed' };

export interface ChannelOptions {
  readonly protocol: string;
  /** The connection to open a stream on; undefined when there is none at the moment. */
  pickConnection(): Connection | undefined;
  log(message: string, fields: Readonly<Record<string, unknown>>): void;
}

export class OutboundChannel {
  readonly #options: ChannelOptions;
  readonly #queue = new FrameQueue();
  #state: State = { kind: 'idle' };
  #writing = false;
  #whenEmpty: (() => void) | undefined;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** Takes the frame for the next `flush`. */
  send(frame: Uint8Array): 'sent' | 'full' {
    // A frame alone always fits: the budget is twice the longest frame.
    if (this.#queue.bytes + frame.length > SEND_BUFFER_BYTES_MAX) return 'full';
    this.#queue.push(frame);
    return 'sent';
  }

  /** Hands on what waits, as far as the stream takes it; the rest follows when it has drained. */
  flush(): void {
    if (this.#queue.bytes === 0) return;
    if (this.#state.kind === 'idle') this.#open();
    else if (this.#state.kind === 'open') this.#write(this.#state.stream);
  }

  #open(): void {
    const connection = this.#options.pickConnection();
    if (!connection) return;
    const opening: State = { kind: 'opening' };
    this.#state = opening;
    const signal = AbortSignal.timeout(NEGOTIATION_TIMEOUT_MS);
    connection.newStream(this.#options.protocol, { signal }).then(
      (stream) => {
        if (this.#state === opening) this.#opened(stream);
        else stream.abort(new Error('the link has ended'));
      },
      (error: unknown) => {
        this.#options.log('a stream could not be opened', {
          protocol: this.#options.protocol,
          error: String(error),
        });
        if (this.#state === opening) this.#pause();
      },
    );
  }

  #opened(stream: Stream): void {
    const open: State = { kind: 'open', stream };
    this.#state = open;
    // The events may come from inside our own send; #write sees to that.
    stream.addEventListener('drain', () => this.flush());
    // Later, because the stream says so while it still counts itself as sending, and would leave what it is given lying.
    stream.addEventListener('idle', () => queueMicrotask(() => this.flush()));
    stream.addEventListener('close', () => {
      if (this.#state === open) this.#pause();
    });
    if (stream.status === 'open') this.#write(stream);
    else this.#pause();
  }

  #write(stream: Stream): void {
    // A drain event from inside `send` must not write: the stream would swallow the whole queue at once.
    if (this.#writing) return;
    this.#writing = true;
    try {
      // A stream may say `drain` with its own buffer still full (the socket has room, yamux's window has not);
      // one chunk more for each of these and the buffer breaks its limit, which resets the stream.
      while (!stream.writableNeedsDrain && stream.writeBufferLength === 0) {
        const chunk = this.#queue.take(CHUNK_BYTES_MAX);
        if (!chunk) break;
        stream.send(chunk);
      }
    } catch (error) {
      // The stream ended a moment ago; its close event has been or will be dispatched.
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      if (this.#state.kind === 'open') this.#pause();
    } finally {
      this.#writing = false;
    }
    if (this.#queue.bytes === 0) this.#whenEmpty?.();
  }

  #pause(): void {
    this.#queue.rewind();
    const timer = setTimeout(() => {
      this.#state = { kind: 'idle' };
      this.flush();
    }, REOPEN_DELAY_MS);
    this.#state = { kind: 'pausing', timer };
  }

  /**
   * Resolves when the other end has read everything and closed its side, or when that cannot happen any more.
   * Merely closing the connection after the last write would lose its last frames: what TLS still holds is
   * thrown away when the end of the TCP stream is seen.
   */
  async finish(): Promise<void> {
    if (this.#queue.bytes > 0) {
      await new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
        this.flush();
        if (this.#queue.bytes === 0) resolve();
      });
    }
    if (this.#state.kind !== 'open') return;
    const { stream } = this.#state;
    if (stream.status !== 'open') return;
    const closed = new Promise<void>((resolve) => {
      stream.addEventListener('close', () => resolve());
    });
    try {
      await stream.close();
    } catch (error) {
      this.#options.log('a stream ended before it was closed', { error: String(error) });
      return;
    }
    await closed;
  }

  /** The link has ended: what waits is lost. */
  destroy(): void {
    if (this.#state.kind === 'pausing') clearTimeout(this.#state.timer);
    this.#state = { kind: 'closed' };
    this.#queue.clear();
    this.#whenEmpty?.();
  }
}
