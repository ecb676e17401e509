/**
 * One daemon of the test network as a child process: started in a session of its own, so that a Ctrl-C at
 * the terminal reaches only us (SIGINT makes a daemon leave its mesh), and known to run once it printed its
 * ready line.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { err, ok, type Result } from '../base/result.ts';
import { type ProcessRef, refOf, signalProcess } from './processes.ts';

/** A daemon starts in well under a second; a loaded machine gets the rest. */
const READY_TIMEOUT_MS = 30_000;
const LOG_TAIL_LINES = 15;

const readySchema = z.looseObject({
  event: z.literal('ready'),
  pid: z.int(),
  peer_id: z.string(),
  store_id: z.string(),
  mesh_id: z.string(),
  addresses: z.array(z.string()),
  socket: z.string(),
});
export type ReadyLine = z.output<typeof readySchema>;

export interface DaemonExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface DaemonOptions {
  /** The program and its first arguments; the rest follows. */
  readonly command: readonly [string, ...string[]];
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Called in the very turn of the spawn: a process that nobody knows is one that nobody ends. */
  readonly onSpawned: (child: ChildProcess) => void;
  /** Called as soon as there is a process, ready or not: from then on somebody must end it. */
  readonly onStarted: (daemon: DaemonProcess) => Promise<void>;
}

export class DaemonProcess {
  readonly ref: ProcessRef;
  /** Resolves when the process has ended and was reaped. */
  readonly exited: Promise<DaemonExit>;
  #hasExited = false;

  private constructor(ref: ProcessRef, exited: Promise<DaemonExit>) {
    this.ref = ref;
    this.exited = exited.then((exit) => {
      this.#hasExited = true;
      return exit;
    });
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** Starts the daemon and waits for its ready line. */
  static async start(options: DaemonOptions): Promise<Result<ReadyLine, string>> {
    const log = await open(options.logFile, 'a', 0o600);
    const [program, ...first] = options.command;
    const child = spawn(program, [...first, ...options.args], {
      detached: true,
      env: options.env,
      stdio: ['ignore', 'pipe', log.fd],
    });
    options.onSpawned(child);
    const exited = exitOf(child);
    await log.close();
    // Until it is reaped, which needs a turn of the event loop after its exit, the pid is the child's own.
    const ref = child.pid === undefined ? undefined : await refOf(child.pid);
    if (!ref) {
      // It never was, or it ended before anybody had looked at it.
      const exit = await exited;
      const why =
        child.pid === undefined ? `${program} could not be started` : textOf('ended', exit);
      return err(`${why}${await logTail(options.logFile)}`);
    }
    const daemon = new DaemonProcess(ref, exited);
    const ready = readyLineOf(child);
    await options.onStarted(daemon);
    const winner = await Promise.race([ready, daemon.exited.then(() => undefined)]);
    if (winner) return ok(winner);
    const why = daemon.hasExited ? 'ended' : `was not ready within ${READY_TIMEOUT_MS} ms`;
    await daemon.kill('SIGKILL');
    return err(`${textOf(why, await daemon.exited)}${await logTail(options.logFile)}`);
  }

  kill(signal: NodeJS.Signals): Promise<boolean> {
    return this.#hasExited ? Promise.resolve(false) : signalProcess(this.ref, signal);
  }
}

const textOf = (why: string, { signal, code }: DaemonExit): string =>
  `the daemon ${why} (${signal ?? `exit code ${code}`})`;

function exitOf(child: ChildProcess): Promise<DaemonExit> {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
    child.on('error', () => resolve({ code: 127, signal: null }));
  });
}

/** Undefined when time is up without a ready line. */
function readyLineOf(child: ChildProcess): Promise<ReadyLine | undefined> {
  return new Promise((resolve) => {
    const { stdout } = child;
    if (!stdout) throw new Error('the daemon has no standard output');
    const lines = createInterface({ input: stdout });
    const timer = setTimeout(() => resolve(undefined), READY_TIMEOUT_MS);
    lines.on('line', (line) => {
      const ready = parseReady(line);
      if (!ready) return;
      clearTimeout(timer);
      resolve(ready);
    });
    // An end of the output settles nothing: the end of the process follows, and says more.
    timer.unref();
  });
}

function parseReady(line: string): ReadyLine | undefined {
  try {
    return readySchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // not JSON: not the ready line
  }
}

async function logTail(file: string): Promise<string> {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  const tail = lines.slice(-LOG_TAIL_LINES).join('\n  ');
  return tail ? `; its log ends with\n  ${tail}` : '';
}
