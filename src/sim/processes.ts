/**
 * A simulated machine and the Processes port on it: commands are a function of their request, time
 * is virtual.
 *
 * The machine keeps its own book of everything that ran on it, outside the mesh: the checkers
 * compare what the mesh claims with this. When the daemon crashes its children live on for a
 * moment, as real ones do, until the guardian has killed them; a restart that comes too early then
 * shows as two runs at once.
 */
import { type Random, randomFloat } from '../base/random.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type {
  Child,
  ChildExit,
  ChildHandlers,
  OutputStream,
  Processes,
  SpawnRequest,
} from '../ports/processes.ts';
import type { Trace } from './clock.ts';

/** What a command does. */
export interface SimCommand {
  readonly durationMs: number;
  readonly exitCode: number;
  /** Written at once, before the command does its work. */
  readonly earlyStdout?: Uint8Array;
  /** Written at the end. */
  readonly stdout?: Uint8Array;
  readonly stderr?: Uint8Array;
  /** Only KILL ends it. */
  readonly ignoresTerm?: boolean;
  /** A signal that it dies of, in place of its exit. */
  readonly endsBy?: string;
  /** It cannot be started on this machine now. */
  readonly startError?: string;
  readonly isHostFault?: boolean;
}

/** One line of the machine's book. */
export interface SimRun {
  readonly runId: string;
  readonly request: SpawnRequest;
  readonly groupId: number;
  readonly startedMs: number;
  endedMs: number | undefined;
  /** How it ended: by itself, by a signal of the daemon, or with the daemon. */
  ending: 'exited' | 'signal' | 'guardian' | 'power' | undefined;
  exitCode: number | undefined;
  /** Its daemon died, and the guardian was late. */
  outlived: boolean;
}

export interface SimMachineOptions {
  /** The world's clock: the machine outlives its daemon. */
  readonly clock: Clock;
  readonly random: Random;
  readonly run: (request: SpawnRequest) => SimCommand;
  readonly trace?: Trace;
  /** Called at each start and end, in addition to the book. */
  readonly onChange?: (run: SimRun) => void;
}

const SIGNAL_EXIT_CODE = 139;
/** A real start takes a few milliseconds. */
const START_MS_MIN = 1;
const START_MS_MAX = 6;
/**
 * A real guardian needs a few milliseconds; a restart elsewhere waits 250, and the promise is a second.
 */
const GUARDIAN_MS_MAX = 200;
/** What a guardian that is late may take: the whole second of the promise. */
const LATE_GUARDIAN_MS_MAX = 1_000;

export class SimMachine {
  readonly #options: SimMachineOptions;
  #nextGroupId = 1_000;
  #current: SimProcesses | undefined;
  /** Everything that ever ran here. */
  readonly book: SimRun[] = [];
  /** The guardian of the next crash takes its time. */
  isGuardianLate = false;
  /** Directories that are not there; all others are. */
  readonly missingDirectories = new Set<string>();

  constructor(options: SimMachineOptions) {
    this.#options = options;
  }

  /** Processes for a new incarnation of the daemon. */
  openProcesses(): Processes {
    this.#current = new SimProcesses(this, this.#options);
    return this.#current;
  }

  /** What runs now. */
  running(): SimRun[] {
    return this.book.filter((run) => run.endedMs === undefined);
  }

  /**
   * The daemon died: no handler is called any more, and within a moment the guardian has killed the
   * rest.
   */
  crashDaemon(): void {
    const crashed = this.#current;
    this.#current = undefined;
    if (!crashed) return;
    const orphans = crashed.crash();
    for (const run of orphans) run.outlived = this.isGuardianLate;
    const longestMs = this.isGuardianLate ? LATE_GUARDIAN_MS_MAX : GUARDIAN_MS_MAX;
    this.isGuardianLate = false;
    const delayMs = longestMs * randomFloat(this.#options.random);
    this.#options.clock.after(delayMs, () => {
      for (const run of orphans) this.end(run, 'guardian', undefined);
    });
  }

  /** The host sleeps: what runs stands still, and goes on at `resume` with what was left of its time. */
  suspend(): void {
    this.#current?.suspend();
  }

  resume(): void {
    this.#current?.resume();
  }

  /** The host lost power: everything stops at this moment. */
  powerOff(): void {
    const orphans = this.#current?.crash() ?? [];
    this.#current = undefined;
    for (const run of [...orphans, ...this.running()]) this.end(run, 'power', undefined);
  }

  /** For Processes alone. */
  begin(request: SpawnRequest): SimRun {
    const run: SimRun = {
      runId: request.runId,
      request,
      groupId: this.#nextGroupId++,
      startedMs: this.#options.clock.nowMs(),
      endedMs: undefined,
      ending: undefined,
      exitCode: undefined,
      outlived: false,
    };
    this.book.push(run);
    this.#options.trace?.('machine.begin', run.runId);
    this.#options.onChange?.(run);
    return run;
  }

  /** For Processes alone. */
  end(run: SimRun, ending: SimRun['ending'], exitCode: number | undefined): void {
    if (run.endedMs !== undefined) return;
    run.endedMs = this.#options.clock.nowMs();
    run.ending = ending;
    run.exitCode = exitCode;
    this.#options.trace?.('machine.end', run.runId, ending, exitCode);
    this.#options.onChange?.(run);
  }
}

class SimProcesses implements Processes {
  readonly #machine: SimMachine;
  readonly #options: SimMachineOptions;
  readonly #children = new Set<SimChild>();
  #state: 'open' | 'stopped' | 'crashed' = 'open';

  constructor(machine: SimMachine, options: SimMachineOptions) {
    this.#machine = machine;
    this.#options = options;
  }

  spawn(request: SpawnRequest, handlers: ChildHandlers): Child {
    this.#options.trace?.('processes.spawn', request);
    const child = new SimChild(this.#machine, this.#options, request, handlers, () => {
      this.#children.delete(child);
    });
    if (this.#state === 'crashed') return child;
    this.#children.add(child);
    child.start(this.#state === 'stopped' ? 'the daemon is stopping' : undefined);
    return child;
  }

  directoryExists(path: string): Promise<boolean> {
    this.#options.trace?.('processes.directoryExists', path);
    if (this.#state === 'crashed') return new Promise(() => undefined);
    const { clock } = this.#options;
    return new Promise((resolve) => {
      clock.after(0, () => {
        if (this.#state !== 'crashed') resolve(!this.#machine.missingDirectories.has(path));
      });
    });
  }

  baseEnvironment(): Readonly<Record<string, string>> {
    return { PATH: '/usr/bin:/bin', HOME: '/home/covey', USER: 'covey', LANG: 'C.UTF-8' };
  }

  async stop(): Promise<void> {
    this.#options.trace?.('processes.stop');
    if (this.#state === 'crashed') return new Promise(() => undefined);
    this.#state = 'stopped';
    for (const child of [...this.#children]) {
      child.resumeOutput();
      child.signal('SIGKILL');
    }
    await new Promise<void>((resolve) => this.#options.clock.after(START_MS_MAX, resolve));
  }

  suspend(): void {
    for (const child of this.#children) child.suspend();
  }

  resume(): void {
    for (const child of this.#children) child.resume();
  }

  /** Silences this incarnation; its runs that go on. */
  crash(): SimRun[] {
    this.#state = 'crashed';
    const orphans = [...this.#children].map((child) => child.silence());
    this.#children.clear();
    return orphans.filter((run) => run !== undefined);
  }
}

class SimChild implements Child {
  readonly #machine: SimMachine;
  readonly #options: SimMachineOptions;
  readonly #request: SpawnRequest;
  readonly #handlers: ChildHandlers;
  readonly #forget: () => void;
  #command: SimCommand | undefined;
  #run: SimRun | undefined;
  /** What it does next, by itself. */
  #next: { readonly dueMs: number; readonly act: () => void; readonly timer: Timer } | undefined;
  /** What was left of its time when the host fell asleep. */
  #asleep: { readonly leftMs: number; readonly act: () => void } | undefined;
  #silent = false;
  #exited = false;
  #paused = false;
  /** What could not be delivered while the output was held back, in order. */
  readonly #held: (() => void)[] = [];

  constructor(
    machine: SimMachine,
    options: SimMachineOptions,
    request: SpawnRequest,
    handlers: ChildHandlers,
    forget: () => void,
  ) {
    this.#machine = machine;
    this.#options = options;
    this.#request = request;
    this.#handlers = handlers;
    this.#forget = forget;
  }

  start(refusal: string | undefined): void {
    const spread = START_MS_MAX - START_MS_MIN;
    const delayMs = START_MS_MIN + spread * randomFloat(this.#options.random);
    this.#after(delayMs, () => this.#begin(refusal));
  }

  #after(delayMs: number, act: () => void): void {
    const { clock } = this.#options;
    this.#next = { dueMs: clock.nowMs() + delayMs, act, timer: clock.after(delayMs, act) };
  }

  suspend(): void {
    if (this.#next === undefined || this.#exited || this.#silent || this.#asleep) return;
    const { dueMs, act, timer } = this.#next;
    timer.cancel();
    this.#asleep = { leftMs: Math.max(0, dueMs - this.#options.clock.nowMs()), act };
  }

  resume(): void {
    if (this.#asleep === undefined || this.#exited || this.#silent) return;
    this.#after(this.#asleep.leftMs, this.#asleep.act);
    this.#asleep = undefined;
  }

  #begin(refusal: string | undefined): void {
    const { cwd } = this.#request;
    const missing = this.#machine.missingDirectories.has(cwd)
      ? `cannot start in the directory ${cwd} (ENOENT)`
      : undefined;
    const early = refusal ?? missing;
    const command = early === undefined ? this.#options.run(this.#request) : undefined;
    const startError = early ?? command?.startError;
    if (!command || startError !== undefined) {
      const isHostFault = refusal !== undefined || command?.isHostFault === true;
      this.#exit({ code: undefined, signal: undefined, startError, isHostFault });
      return;
    }
    this.#command = command;
    this.#run = this.#machine.begin(this.#request);
    this.#tell(() => this.#handlers.started(this.#run?.groupId ?? 0));
    this.#output('stdout', command.earlyStdout);
    this.#after(command.durationMs, () => {
      this.#output('stdout', command.stdout);
      this.#output('stderr', command.stderr);
      const { endsBy } = command;
      const code = endsBy === undefined ? command.exitCode : undefined;
      this.#end('exited', { code, signal: endsBy, startError: undefined });
    });
  }

  #output(stream: OutputStream, bytes: Uint8Array | undefined): void {
    if (bytes && bytes.length > 0) {
      this.#deliver(() => this.#handlers.output(stream, bytes.slice()));
    }
  }

  #end(ending: SimRun['ending'], exit: ChildExit): void {
    this.#next?.timer.cancel();
    // As a shell has it: what died of a signal of its own failed, and did not just end.
    const code = ending === 'exited' ? (exit.code ?? SIGNAL_EXIT_CODE) : exit.code;
    if (this.#run) this.#machine.end(this.#run, ending, code);
    this.#exit(exit);
  }

  #exit(exit: ChildExit): void {
    if (this.#exited) return;
    this.#exited = true;
    this.#deliver(() => {
      this.#forget();
      this.#handlers.exited(exit);
    });
  }

  #deliver(call: () => void): void {
    if (this.#paused) this.#held.push(call);
    else this.#tell(call);
  }

  #tell(call: () => void): void {
    if (!this.#silent) call();
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.#options.trace?.('child.signal', this.#request.runId, signal);
    if (this.#exited || this.#silent) return;
    if (signal === 'SIGTERM' && this.#command?.ignoresTerm) return;
    this.#next?.timer.cancel();
    // Dying takes a moment, and handlers are never called from inside a call.
    this.#after(START_MS_MIN, () =>
      this.#end('signal', { code: undefined, signal, startError: undefined }),
    );
  }

  pauseOutput(): void {
    this.#options.trace?.('child.pauseOutput', this.#request.runId);
    this.#paused = true;
  }

  resumeOutput(): void {
    this.#options.trace?.('child.resumeOutput', this.#request.runId);
    if (!this.#paused) return;
    this.#paused = false;
    this.#options.clock.after(0, () => {
      while (!this.#paused) {
        const call = this.#held.shift();
        if (!call) return;
        this.#tell(call);
      }
    });
  }

  /** The daemon is gone; the run that goes on without it, if there is one. */
  silence(): SimRun | undefined {
    this.#silent = true;
    const run = this.#run;
    const command = this.#command;
    if (!command || run?.endedMs !== undefined) this.#next?.timer.cancel();
    return run?.endedMs === undefined ? run : undefined;
  }
}
