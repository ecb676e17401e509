/** Single daemons with flags of the test's own, for what the test network does not do: strange starts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { COVEYD } from '../../src/testnet/paths.ts';
import { endWithUs, processEndsWithUs } from '../support/end-with-us.ts';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly pid: number;
  /** The first line on stdout, as it was printed. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly ended: Promise<Ended>;
  /** Resolves when its log holds this; never if it never does. */
  logged(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<Ended>;
}

/**
 * Of this process alone: a port that a daemon chose stays its own while it is dead, whatever other tests, with
 * daemons of theirs, let the kernel choose meanwhile.
 */
const HOST = `127.76.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;

export class Daemons {
  readonly dir: string;
  readonly #children: ChildProcess[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async create(): Promise<Daemons> {
    const dir = await mkdtemp(join(tmpdir(), 'covey-one-'));
    endWithUs({ files: dir });
    return new Daemons(dir);
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await rm(this.dir, { recursive: true, force: true });
  }

  /** A daemon that is expected to end by itself. */
  run(args: readonly string[], command: readonly string[] = [COVEYD]): Promise<Ended> {
    return this.#spawn(args, command).ended;
  }

  /** A daemon in `DIR/NAME`, up to its ready line. */
  async start(
    name: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
    command: readonly string[] = [COVEYD],
  ): Promise<Running> {
    const dataDir = join(this.dir, name);
    const socket = join(this.dir, `${name}.sock`);
    const where = ['--data-dir', dataDir, '--bind', `${HOST}:0`, '--socket', socket];
    const all = [...where, '--allow-root', ...args];
    const { child, ended } = this.#spawn(all, command, env);
    const { stdout, stderr, pid } = child;
    if (!stdout || !stderr || pid === undefined) throw new Error('the daemon has no output');
    const logged = heard(stderr);
    const lines = createInterface({ input: stdout });
    const line = new Promise<string>((resolve) => lines.once('line', resolve));
    const first = await Promise.race([line, ended]);
    if (typeof first !== 'string') throw new Error(`coveyd ended (${first.code}): ${first.stderr}`);
    const kill = (signal: NodeJS.Signals): Promise<Ended> => {
      child.kill(signal);
      return ended;
    };
    return { pid, ready: JSON.parse(first), ended, logged, kill };
  }

  #spawn(
    args: readonly string[],
    command: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ) {
    const [program = COVEYD, ...first] = command;
    const foreign = Object.entries(process.env).filter(([name]) => !name.startsWith('COVEY_'));
    const env = { ...Object.fromEntries(foreign), ...variables };
    const child = spawn(program, [...first, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#children.push(child);
    void processEndsWithUs(child.pid);
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
      child.on('exit', (code, signal) => resolve({ code, signal }));
    });
    const ended = Promise.all([exit, text(child.stdout), text(child.stderr)]).then(
      ([{ code, signal }, stdout, stderr]) => ({ code, signal, stdout, stderr }),
    );
    return { child, ended };
  }
}

/** Listens from now on, and answers for what was said at any time since. */
function heard(stream: NodeJS.ReadableStream): (text: string) => Promise<void> {
  let said = '';
  stream.on('data', (chunk) => {
    said += String(chunk);
  });
  return async (text) => {
    while (!said.includes(text)) await once(stream, 'data');
  };
}
