/** What a verb sees of the process around it; tests hand in streams and a fake daemon instead. */
import type { Readable, Writable } from 'node:stream';
import type { Result } from '../base/result.ts';
import type { Connection, RpcFailure } from '../client/types.ts';

export type InterruptSignal = 'SIGINT' | 'SIGTERM';

export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly cwd: string;
  readonly stdin: Readable;
  readonly stdinIsTerminal: boolean;
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** How long nothing may happen before it is said why: a healthy mesh starts a command, a daemon restarts, sooner. */
  readonly noticeMs: number;
  readonly open: (socketPath: string) => Promise<Result<Connection, RpcFailure>>;
  /** Replaces what Ctrl-C does until the returned function is called. */
  readonly onInterrupt: (handler: (signal: InterruptSignal) => void) => () => void;
}

/**
 * An output stream with backpressure: `write` settles when the bytes were taken by the system. A reader that went
 * away (`covey tasks | head`) is no error: later writes do nothing, and `broken` tells loops to stop.
 */
export class Sink {
  readonly #stream: Writable;
  readonly isTerminal: boolean;
  #broken = false;
  #failure: string | undefined;

  constructor(stream: Writable, isTerminal: boolean) {
    this.#stream = stream;
    this.isTerminal = isTerminal;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#broken = true;
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') {
        this.#failure ??= error.message;
      }
    });
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** Set when output was lost for another reason than a reader that left: a full disk, for one. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** The terminal's width; the usual one where it is not known. */
  get columns(): number {
    // Also 0 is "not known": a pseudo-terminal whose size nobody set.
    return (this.#stream as { readonly columns?: number }).columns || 80;
  }

  write(data: string | Uint8Array): Promise<void> {
    if (this.#broken || data.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#stream.write(data, () => resolve());
    });
  }

  line(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }
}
