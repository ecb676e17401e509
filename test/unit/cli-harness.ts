/** Runs `covey …` in this process: streams in memory, a daemon of the test's choice, Ctrl-C by hand. */
import { PassThrough, Writable } from 'node:stream';
import { vi } from 'vitest';
import { runCli } from '../../src/cli/app.ts';
import type { CliIo, InterruptSignal } from '../../src/cli/io.ts';
import { Sink } from '../../src/cli/io.ts';
import { openConnection } from '../../src/client/connection.ts';

export interface CliOptions {
  readonly socket?: string;
  readonly stdin?: string | Buffer;
  /** stdout and stderr are a terminal. */
  readonly terminal?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** The program's own by default. */
  readonly noticeMs?: number;
  readonly open?: CliIo['open'];
  /** Thrown when the working directory is asked for. */
  readonly gone?: Error;
}

export interface CliResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Buffer;
}

class Collector extends Writable {
  readonly chunks: Buffer[] = [];
  /** While set, writes wait: a slow reader. */
  hold: Promise<void> | undefined;
  error: NodeJS.ErrnoException | undefined;
  onData: () => void = () => undefined;

  override _write(chunk: Buffer, _: string, done: (error?: Error | null) => void): void {
    const take = () => {
      if (this.error !== undefined) return done(this.error);
      this.chunks.push(chunk);
      this.onData();
      done();
    };
    if (this.hold === undefined) take();
    else void this.hold.then(take);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8');
  }
}

export class CliProcess {
  readonly stdin = new PassThrough();
  readonly stdout = new Collector();
  readonly stderr = new Collector();
  readonly result: Promise<CliResult>;
  readonly #handlers = new Set<(signal: InterruptSignal) => void>();

  constructor(argv: readonly string[], options: CliOptions = {}) {
    if (options.stdin !== undefined) this.stdin.end(options.stdin);
    const terminal = options.terminal === true;
    const io: CliIo = {
      env: { COVEY_SOCKET: options.socket ?? '/nonexistent/covey.sock', ...options.env },
      uid: 1_000,
      get cwd() {
        if (options.gone !== undefined) throw options.gone;
        return '/tmp';
      },
      stdin: this.stdin,
      stdinIsTerminal: options.stdin === undefined,
      stdout: new Sink(this.stdout, terminal),
      stderr: new Sink(this.stderr, terminal),
      noticeMs: options.noticeMs ?? 2_000,
      open: options.open ?? ((path) => openConnection(path, { clientName: 'covey test' })),
      onInterrupt: (handler) => {
        this.#handlers.add(handler);
        return () => this.#handlers.delete(handler);
      },
    };
    this.result = runCli(argv, io).then((exit) => ({
      exit,
      stdout: this.stdout.text,
      stderr: this.stderr.text,
      stdoutBytes: Buffer.concat(this.stdout.chunks),
    }));
  }

  interrupt(): void {
    for (const handler of this.#handlers) handler('SIGINT');
  }

  /** Settles when the text was printed. */
  async printed(stream: 'stdout' | 'stderr', text: string): Promise<void> {
    const collector = this[stream];
    while (!collector.text.includes(text)) {
      await new Promise<void>((resolve) => {
        collector.onData = resolve;
      });
    }
  }
}

export const covey = (argv: readonly string[], options: CliOptions = {}): Promise<CliResult> =>
  new CliProcess(argv, options).result;

/** What a verb does comes within moments; the first of a file is loaded meanwhile, maybe beside many others. */
const UNTIL_MS = 20_000;
export const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { interval: 5, timeout: UNTIL_MS });
