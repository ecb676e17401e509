/** Child processes of the bench: spawned in sessions of their own, known by their handle, and ended with us. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

/** Thirty programs that start at once on a busy machine of two cores. */
const READY_TIMEOUT_MS = 180_000;
const LOG_TAIL_CHARS = 2_000;

export interface Launched {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<void>;
  /** Its standard error, for the story of a start that failed. */
  readonly logFile: string;
  onLine(handler: (line: string) => void): void;
  /** The handlers so far hear no more. */
  forgetLines(): void;
  /** One line of JSON to its standard input; it should end when that ends. */
  tell(value: unknown): void;
}

export class Owned {
  readonly #children = new Set<ChildProcess>();
  readonly #ends = new Set<() => void>();
  #ending = false;

  async launch(
    command: readonly [string, ...string[]],
    options: { readonly logFile: string; readonly env?: NodeJS.ProcessEnv },
  ): Promise<Launched> {
    await mkdir(dirname(options.logFile), { recursive: true, mode: 0o700 });
    const log = await open(options.logFile, 'a', 0o600);
    if (this.#ending) throw new Error('the bench is being ended');
    const [program, ...args] = command;
    const child = spawn(program, args, {
      detached: true,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', log.fd],
    });
    child.stdin?.on('error', () => undefined); // it has ended, as `exited` says
    this.#children.add(child);
    const exited = new Promise<void>((resolve) => {
      const gone = (): void => {
        this.#children.delete(child);
        resolve();
      };
      child.on('exit', gone);
      child.on('error', gone);
    });
    await log.close();
    const { stdout, pid } = child;
    if (pid === undefined || stdout === null) throw new Error(`${program} could not be started`);
    const handlers: ((line: string) => void)[] = [];
    const early: string[] = [];
    createInterface({ input: stdout }).on('line', (line) => {
      if (handlers.length === 0) early.push(line);
      for (const handler of handlers) handler(line);
    });
    return {
      child,
      pid,
      exited,
      logFile: options.logFile,
      onLine: (handler) => {
        handlers.push(handler);
        for (const line of early.splice(0)) handler(line);
      },
      forgetLines: () => void handlers.splice(0),
      tell: (value) => void child.stdin?.write(`${JSON.stringify(value)}\n`),
    };
  }

  /** What ends a process that somebody else has started. */
  readonly ends = (kill: () => void): void => {
    this.#ends.add(kill);
  };

  /** A handle signals only while its process is not reaped: never one that has the pid by now. */
  killNow(): void {
    this.#ending = true;
    for (const child of this.#children) child.kill('SIGKILL');
    for (const kill of this.#ends) kill();
  }
}

/** What `read` makes of the first line it makes something of. */
export function firstLine<T>(
  launched: Launched,
  what: string,
  read: (line: string) => T | undefined,
): Promise<{ readonly value: T; readonly atMs: number }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${what}: not ready in time`)),
      READY_TIMEOUT_MS,
    );
    launched.onLine((line) => {
      const value = read(line);
      if (value === undefined) return;
      clearTimeout(timer);
      resolve({ value, atMs: performance.now() });
    });
    void launched.exited.then(async () => {
      clearTimeout(timer);
      const log = await readFile(launched.logFile, 'utf8').catch(String);
      reject(new Error(`${what}: ended before it was ready: ${log.slice(-LOG_TAIL_CHARS)}`));
    });
  });
}

export function parseJson(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // a line of another kind
  }
}
