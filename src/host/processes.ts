/**
 * The Processes port: commands in process groups of their own, behind a gate.
 *
 * Each start runs `/bin/sh` first, which waits on descriptor 3 until the guardian knows the group,
 * then `exec`s the command in its place. If the daemon dies before that, descriptor 3 ends and the
 * command never runs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import type { Clock, Timer } from '../ports/clock.ts';
import type {
  Child,
  ChildExit,
  ChildHandlers,
  OutputStream,
  Processes,
  SpawnRequest,
} from '../ports/processes.ts';
import { type CommandStdio, StdioMaker, type StdioOptions } from './command-stdio.ts';
import { DescriptorShield } from './descriptors.ts';
import { textOf } from './directory-lock.ts';
import { Guardian } from './guardian.ts';

/**
 * The gate. It uses no variable of its own: one of that name in the command's environment would be
 * changed. What the shell sets by itself is removed; Bash cannot be kept from exporting `_`, so env
 * takes it out there.
 */
const GATE = `
read -r PWD <&3 || exit 125
exec 3<&-
unset PWD OLDPWD SHLVL
if [ -n "\${BASH_VERSION-}" ]; then
  case $1 in *=*) ;; *) exec /usr/bin/env -u _ "$@" ;; esac
fi
case $1 in -*) exec -- "$@" ;; esac
exec "$@"
`;

/**
 * Names that shells keep for themselves, and names that are none to a shell: env(1) sets them
 * instead.
 */
const SHELL_NAMES =
  /^(?:PWD|OLDPWD|SHLVL|_|IFS|OPT[A-Z]+|PPID|PS\d|BASH.*|SHELLOPTS|E?UID|GROUPS)$/;
const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const BASE_NAMES = ['PATH', 'HOME', 'USER', 'LANG', 'TZ'] as const;
/**
 * After the main process: output is complete when the pipes are closed, or have been quiet for so
 * long, …
 */
const QUIET_MS = 100;
/**
 * … or at the latest so long after it, if something that left the group holds them and writes on.
 */
const DRAIN_MS_MAX = 1_000;
const DRAIN_TICK_MS = 20;
/**
 * What a system says that has no process, descriptor or memory left: of no command in particular. EINVAL: a descriptor
 * that children are shielded from has a number above the limit, which was lowered since.
 */
const HOST_FAULTS: ReadonlySet<unknown> = new Set([
  'EAGAIN',
  'EINVAL',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
]);
/** How long `stop` waits for killed children. */
const STOP_MS_MAX = 2_000;

export class HostProcesses implements Processes {
  readonly #clock: Clock;
  readonly #guardian: Guardian;
  readonly #shield = new DescriptorShield();
  readonly #stdio: StdioMaker;
  readonly #running = new Set<HostChild>();
  #stopped = false;

  constructor(clock: Clock, options: StdioOptions = {}) {
    this.#clock = clock;
    this.#guardian = new Guardian(clock, () => this.#shield.found);
    this.#stdio = new StdioMaker(clock, options);
  }

  /** For tests. */
  get guardianPid(): number | undefined {
    return this.#guardian.pid;
  }

  spawn(request: SpawnRequest, handlers: ChildHandlers): Child {
    const child = new HostChild(this.#clock, this.#guardian, handlers, () => {
      this.#running.delete(child);
    });
    this.#running.add(child);
    // In a later turn, so that no handler is called before the caller has its Child.
    setImmediate(() => {
      if (this.#stopped) child.refuse('the daemon is stopping', 'host');
      else void this.#start(child, request);
    });
    return child;
  }

  async #start(child: HostChild, request: SpawnRequest): Promise<void> {
    const extraStdio = await this.#shield.extraStdio();
    if (!extraStdio.ok) {
      child.refuse(extraStdio.error, 'host');
      return;
    }
    const stdio = await this.#stdio.open(request.stdin);
    if (this.#stopped) {
      stdio.discard();
      child.refuse('the daemon is stopping', 'host');
    } else {
      await child.start(request, stdio, extraStdio.value);
    }
  }

  async directoryExists(path: string): Promise<boolean> {
    try {
      const stats = await stat(path);
      await access(path, constants.X_OK);
      return stats.isDirectory();
    } catch {
      return false;
    }
  }

  baseEnvironment(): Readonly<Record<string, string>> {
    const environment: Record<string, string> = {};
    for (const name of BASE_NAMES) {
      const value = process.env[name];
      if (value !== undefined) environment[name] = value;
    }
    return environment;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const exits = [...this.#running].map((child) => child.killAndWait());
    let timer: Timer | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = this.#clock.after(STOP_MS_MAX, resolve);
    });
    await Promise.race([Promise.all(exits), deadline]);
    timer?.cancel();
    await this.#guardian.stop();
    await this.#shield.close();
    await this.#stdio.close();
  }
}

/** What a start turns into: arguments for the gate. */
function gateArguments(request: SpawnRequest): { args: string[]; env: Record<string, string> } {
  const env: Record<string, string> = {};
  const odd: string[] = [];
  for (const [name, value] of Object.entries(request.env)) {
    if (name === '' || name.includes('=')) throw new Error(`'${name}' cannot be a variable's name`);
    if (PLAIN_NAME.test(name) && !SHELL_NAMES.test(name)) env[name] = value;
    else odd.push(`${name}=${value}`);
  }
  const command = odd.length > 0 ? ['/usr/bin/env', ...odd] : [];
  return { args: ['-c', GATE, 'sh', ...command, ...request.argv], env };
}

type ExtraStdio = readonly ('ignore' | number)[];

class HostChild implements Child {
  readonly #clock: Clock;
  readonly #guardian: Guardian;
  readonly #handlers: ChildHandlers;
  readonly #forget: () => void;
  readonly #ended: Promise<void>;
  #resolveEnded: () => void = () => undefined;
  #process: ChildProcess | undefined;
  /** Its output streams, and how many of them have not ended. */
  readonly #outputs: Readable[] = [];
  #openOutputs = 0;
  #onOutputsEnded: () => void = () => undefined;
  #exited = false;
  #mainEnded = false;
  #paused = false;
  #earlySignal: NodeJS.Signals | undefined;
  /** How long no output has come since the main process ended. */
  #quietMs = 0;

  constructor(clock: Clock, guardian: Guardian, handlers: ChildHandlers, forget: () => void) {
    this.#clock = clock;
    this.#guardian = guardian;
    this.#handlers = handlers;
    this.#forget = forget;
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  async start(request: SpawnRequest, stdio: CommandStdio, extraStdio: ExtraStdio): Promise<void> {
    if (this.#earlySignal) {
      stdio.discard();
      this.#exit({ code: undefined, signal: this.#earlySignal, startError: undefined });
      return;
    }
    const started = this.#spawnGate(request, stdio, extraStdio);
    if (!started) return;
    const known = await this.#guardian.watch(started.groupId);
    if (this.#mainEnded) {
      // Killed behind the gate, while the guardian was told.
      this.#guardian.forget(started.groupId);
      return;
    }
    if (!known) {
      this.#killGroup(started.groupId);
      this.refuse('the guardian process cannot be started', 'host');
      return;
    }
    this.#handlers.started(started.groupId);
    started.gate.end('\n');
    this.#process?.stdin?.end(request.stdin);
  }

  /** Nothing was started, or nothing that ran. */
  refuse(startError: string, fault: 'host' | 'request'): void {
    const isHostFault = fault === 'host';
    this.#exit({ code: undefined, signal: undefined, startError, isHostFault });
  }

  #spawnGate(
    request: SpawnRequest,
    stdio: CommandStdio,
    extraStdio: ExtraStdio,
  ): { groupId: number; gate: Writable } | undefined {
    this.#readOutput('stdout', stdio.stdout);
    this.#readOutput('stderr', stdio.stderr);
    try {
      if (request.argv[0] === undefined) throw new Error('there is no command');
      const { args, env } = gateArguments(request);
      const child = spawn('/bin/sh', args, {
        cwd: request.cwd,
        env,
        detached: true,
        stdio: [...stdio.stdio, 'pipe', ...extraStdio],
      });
      this.#process = child;
      child.on('error', (error) => this.#spawnFailed(error, request));
      // What the command does not read, or its end, is no error of ours.
      child.stdin?.on('error', () => undefined);
      // Out of descriptors Node makes no streams at all, whatever its types say; the error comes as an event.
      const streams: ChildProcess['stdio'] | undefined = child.stdio;
      const gate = streams?.[3];
      gate?.on('error', () => undefined);
      this.#readOutput('stdout', child.stdout);
      this.#readOutput('stderr', child.stderr);
      if (child.pid === undefined || !gate || !('write' in gate)) return undefined;
      const groupId = child.pid;
      child.on('exit', (code, signal) => {
        this.#mainExit(groupId, {
          code: code ?? undefined,
          signal: signal ?? undefined,
          startError: undefined,
        });
      });
      return { groupId, gate };
    } catch (error) {
      this.#spawnFailed(error, request);
      return undefined;
    } finally {
      stdio.handOver();
    }
  }

  #spawnFailed(error: unknown, request: SpawnRequest): void {
    if (this.#process?.pid !== undefined) return;
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'E2BIG') {
      // As a shell has it: the command is at fault, no other host would do better.
      const text = `${request.argv[0]}: Argument list too long\n`;
      this.#handlers.output('stderr', new TextEncoder().encode(text));
      this.#exit({ code: 126, signal: undefined, startError: undefined });
    } else if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') {
      this.refuse(`cannot start in the directory ${request.cwd} (${String(code)})`, 'request');
    } else {
      this.refuse(textOf(error), HOST_FAULTS.has(code) ? 'host' : 'request');
    }
  }

  #readOutput(name: OutputStream, stream: Readable | null | undefined): void {
    if (!stream) return;
    this.#outputs.push(stream);
    this.#openOutputs += 1;
    stream.on('data', (chunk: Buffer) => {
      if (this.#exited) return;
      this.#quietMs = 0;
      this.#handlers.output(name, new Uint8Array(chunk));
    });
    // A stream that fails is closed too: what it says is that no more comes.
    stream.on('error', () => undefined);
    stream.once('close', () => {
      this.#openOutputs -= 1;
      if (this.#openOutputs === 0) this.#onOutputsEnded();
    });
    if (this.#paused) stream.pause();
  }

  /**
   * The main process has ended: so does everything it left in its group; then the pipes are read
   * out.
   */
  #mainExit(groupId: number, exit: ChildExit): void {
    this.#mainEnded = true;
    this.#killGroup(groupId);
    this.#guardian.forget(groupId);
    this.#onOutputsEnded = () => this.#exit(exit);
    if (this.#openOutputs === 0) {
      this.#exit(exit);
      return;
    }
    let readingMs = 0;
    let checkedMs = this.#clock.nowMs();
    const check = () => {
      const nowMs = this.#clock.nowMs();
      // A busy event loop must not pass for quiet pipes.
      const passedMs = Math.min(nowMs - checkedMs, 2 * DRAIN_TICK_MS);
      checkedMs = nowMs;
      // Time in which the consumer holds the output back does not count: the bytes are still his to
      // have.
      this.#quietMs = this.#paused ? 0 : this.#quietMs + passedMs;
      if (!this.#paused) readingMs += passedMs;
      if (this.#quietMs > QUIET_MS || readingMs > DRAIN_MS_MAX) this.#exit(exit);
      else if (!this.#exited) wait();
    };
    // An immediate runs after the system was asked for input: what had come by now has been
    // delivered.
    const wait = () => this.#clock.after(DRAIN_TICK_MS, () => setImmediate(check));
    wait();
  }

  #exit(exit: ChildExit): void {
    if (this.#exited) return;
    this.#exited = true;
    for (const stream of [...this.#outputs, ...(this.#process?.stdio ?? [])]) stream?.destroy();
    this.#forget();
    this.#resolveEnded();
    this.#handlers.exited(exit);
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    const groupId = this.#process?.pid;
    if (groupId === undefined) this.#earlySignal ??= signal;
    else if (!this.#mainEnded) this.#killGroup(groupId, signal);
  }

  #killGroup(groupId: number, signal: NodeJS.Signals = 'SIGKILL'): void {
    try {
      process.kill(-groupId, signal);
    } catch (error) {
      // ESRCH: all of it has ended. EPERM: what is left took another user's identity (setuid).
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    }
  }

  killAndWait(): Promise<void> {
    this.signal('SIGKILL');
    this.resumeOutput();
    return this.#ended;
  }

  pauseOutput(): void {
    this.#paused = true;
    for (const stream of this.#outputs) stream.pause();
  }

  resumeOutput(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const stream of this.#outputs) stream.resume();
  }
}
