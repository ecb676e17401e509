/**
 * The standard streams of one command: FIFOs for its output, an unlinked file or /dev/null for its
 * input. Where they cannot be had (no mkfifo, a file system without FIFOs, a full disk), they are
 * Node's socket pairs, on which all works except opening /dev/stdin, /dev/stdout and /dev/stderr by
 * name; the reason goes to the caller, once for as long as it stays the same.
 */
import { Socket } from 'node:net';
import type { Result } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import { Fifos } from './fifos.ts';
import { closeFd, closePair, type Pair } from './pair-pool.ts';

/** After a failure, socket pairs are used for so long before FIFOs are tried again. */
const RETRY_MS = 60_000;

export interface StdioOptions {
  /**
   * A directory of this process' own, for the moments in which a stream has a name; what a killed
   * predecessor left there is removed. Default: a new one in the system's temporary directory.
   */
  readonly directory?: string;
  /** Told when commands get socket pairs instead of pipes. */
  readonly onFallback?: (reason: string) => void;
}

/** What `spawn` takes for descriptors 0, 1 and 2. */
export type Stdio = readonly ['ignore' | 'pipe' | number, 'pipe' | number, 'pipe' | number];

export class CommandStdio {
  readonly stdio: Stdio;
  /** Undefined where the stream is a socket pair: `spawn` makes it. */
  readonly stdout: Socket | undefined;
  readonly stderr: Socket | undefined;

  constructor(stdin: number | 'ignore' | 'pipe', outputs: readonly [Pair, Pair] | undefined) {
    this.stdio = [stdin, outputs?.[0].writeFd ?? 'pipe', outputs?.[1].writeFd ?? 'pipe'];
    this.stdout = outputs && readerOf(outputs[0]);
    this.stderr = outputs && readerOf(outputs[1]);
  }

  /** The command has its copies: without ours, the end of its output shows. Called once. */
  handOver(): void {
    for (const end of this.stdio) if (typeof end === 'number') closeFd(end);
  }

  /** There will be no command. Instead of `handOver`. */
  discard(): void {
    this.handOver();
    this.stdout?.destroy();
    this.stderr?.destroy();
  }
}

export class StdioMaker {
  readonly #clock: Clock;
  readonly #fifos: Fifos;
  readonly #onFallback: (reason: string) => void;
  #fallback: { readonly reason: string; readonly sinceMs: number } | undefined;

  constructor(clock: Clock, options: StdioOptions) {
    this.#clock = clock;
    this.#fifos = new Fifos(options.directory);
    this.#onFallback = options.onFallback ?? (() => undefined);
  }

  async open(stdin: Uint8Array): Promise<CommandStdio> {
    if (this.#fallback && this.#clock.nowMs() - this.#fallback.sinceMs < RETRY_MS) {
      return new CommandStdio(inputWithoutFile(stdin), undefined);
    }
    const [input, stdout, stderr] = await Promise.all([
      stdin.length === 0 ? undefined : this.#fifos.file(stdin),
      this.#fifos.take(),
      this.#fifos.take(),
    ]);
    if (stdout.ok && stderr.ok && input?.ok !== false) {
      this.#fallback = undefined;
      return new CommandStdio(input?.value ?? 'ignore', [stdout.value, stderr.value]);
    }
    for (const result of [stdout, stderr]) if (result.ok) closePair(result.value);
    if (input?.ok) closeFd(input.value);
    this.#fellBack(reasonOf([stdout, stderr, input]));
    return new CommandStdio(inputWithoutFile(stdin), undefined);
  }

  close(): Promise<void> {
    return this.#fifos.close();
  }

  #fellBack(reason: string): void {
    const isNew = this.#fallback?.reason !== reason;
    this.#fallback = { reason, sinceMs: this.#clock.nowMs() };
    if (!isNew) return;
    this.#onFallback(
      `commands get socket pairs for pipes, and cannot open /dev/stdin, /dev/stdout or /dev/stderr: ${reason}`,
    );
  }
}

const readerOf = (pair: Pair): Socket =>
  new Socket({ fd: pair.readFd, readable: true, writable: false });

const inputWithoutFile = (stdin: Uint8Array): 'ignore' | 'pipe' =>
  stdin.length === 0 ? 'ignore' : 'pipe';

function reasonOf(results: readonly (Result<unknown, string> | undefined)[]): string {
  for (const result of results) if (result && !result.ok) return result.error;
  return 'unknown';
}
