/**
 * The guardian: a small process that outlives the daemon by a moment and takes its children along.
 *
 * It runs in a session of its own, so that no terminal and no signal to the daemon's group reaches
 * it, reads the process groups to watch from a pipe that the daemon holds, and when that pipe ends,
 * for whatever reason, it sends KILL to every group. It is POSIX sh with builtins alone (a Node
 * here would cost 40 MB), ignores INT, TERM and HUP, and is replaced when it dies. A
 * PR_SET_PDEATHSIG would not do: it covers the direct child only.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import type { Clock, Timer } from '../ports/clock.ts';

/**
 * `+GROUP` adds a group (once: it may be told twice) and is echoed, `-GROUP` removes it. A line cut
 * off by the daemon's death is not a line, so `read` fails on it. KILL goes out twice: a fork that
 * was under way is caught too.
 */
const SCRIPT = `
trap '' INT TERM HUP QUIT PIPE
groups=' '
while read -r line; do
  group=\${line#?}
  case $line in
    +*) case $groups in *" $group "*) ;; *) groups="$groups$group " ;; esac ;;
    -*) groups="\${groups%% $group *} \${groups#* $group }" ; continue ;;
  esac
  echo "$line"
done
for round in 1 2; do
  for group in $groups; do kill -s KILL -- "-$group"; done
done
`;

/**
 * An acknowledgement takes well under a millisecond; a guardian that is stopped or stuck is
 * replaced.
 */
const ACK_DEADLINE_MS = 3_000;
/** Tries per group: the guardian of the moment, and two replacements. */
const TRIES_MAX = 3;
/**
 * A dead guardian is replaced after this time, so that one that cannot live does not busy the host.
 */
const REPLACE_MS = 100;
/**
 * A group that has ended is taken from the list this late. The system uses a number again only after
 * all others, so that no other group has it by then.
 */
const FORGET_MS = 20;
/** Time for a guardian to end after its pipe has. */
const END_DEADLINE_MS = 2_000;

interface Running {
  readonly process: ChildProcess;
  /** Called with each acknowledged group. */
  readonly waiting: Map<number, (known: boolean) => void>;
  readonly ended: Promise<void>;
  alive: boolean;
}

export class Guardian {
  readonly #clock: Clock;
  readonly #extraStdio: () => readonly ('ignore' | number)[];
  readonly #groups = new Set<number>();
  #running: Running | undefined;
  /** Lines that are still to be written, and when that happens at the latest. */
  #forgotten = '';
  #forgetting: Timer | undefined;
  #stopped = false;

  /** `extraStdio`: what to put in the place of descriptors, from number 4 on, that a child would inherit. */
  constructor(clock: Clock, extraStdio: () => readonly ('ignore' | number)[] = () => []) {
    this.#clock = clock;
    this.#extraStdio = extraStdio;
  }

  /** The guardian's process id, while there is one. */
  get pid(): number | undefined {
    return this.#running?.alive ? this.#running.process.pid : undefined;
  }

  /** True once a living guardian knows this group; false: there is no guardian to be had. */
  async watch(groupId: number): Promise<boolean> {
    this.#groups.add(groupId);
    for (let i = 0; i < TRIES_MAX && !this.#stopped && this.#groups.has(groupId); i++) {
      const running = this.#ensure();
      if (running === undefined) return false;
      if (await this.#tell(running, groupId)) return true;
      // Dead or deaf: make sure that it is dead, so that the next round starts another.
      running.process.kill('SIGKILL');
      running.alive = false;
    }
    return false;
  }

  /** The group has been killed and its number may be used again by the system. */
  forget(groupId: number): void {
    if (!this.#groups.delete(groupId)) return;
    // Goes out with the next `+`, or soon: each write wakes the guardian.
    this.#forgotten += `-${groupId}\n`;
    this.#forgetting ??= this.#clock.after(FORGET_MS, () => {
      if (this.#running?.alive) this.#running.process.stdin?.write(this.#takeForgotten());
    });
  }

  #takeForgotten(): string {
    const lines = this.#forgotten;
    this.#forgotten = '';
    this.#forgetting?.cancel();
    this.#forgetting = undefined;
    return lines;
  }

  /** Ends the guardian, which kills the groups it still knows. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const running = this.#running;
    if (!running?.alive) return;
    running.process.stdin?.end(this.#takeForgotten());
    const timer = this.#clock.after(END_DEADLINE_MS, () => running.process.kill('SIGKILL'));
    await running.ended;
    timer.cancel();
  }

  /** The living guardian; a new one is told every group that runs, before anything else. Undefined: none to be had. */
  #ensure(): Running | undefined {
    if (this.#running?.alive) return this.#running;
    const running = this.#start();
    this.#running = running;
    if (running === undefined) return undefined;
    // It never knew those, and taking away what is not on its list would spoil the list.
    this.#takeForgotten();
    const lines = [...this.#groups].map((groupId) => `+${groupId}\n`);
    if (lines.length > 0) running.process.stdin?.write(lines.join(''));
    return running;
  }

  #start(): Running | undefined {
    const child = spawnScript(this.#extraStdio());
    if (child === undefined) {
      this.#replaceSoon();
      return undefined;
    }
    const waiting: Running['waiting'] = new Map();
    const ended = new Promise<void>((resolve) => {
      const end = () => {
        running.alive = false;
        for (const resolve of waiting.values()) resolve(false);
        waiting.clear();
        resolve();
        this.#replaceSoon();
      };
      child.on('exit', end);
      child.on('error', end);
    });
    const running: Running = { process: child, waiting, ended, alive: true };
    // It must not keep a process alive that has nothing else to do; it ends with it anyway.
    child.unref();
    tame(child);
    let rest = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const groupId = Number(line.slice(1));
        waiting.get(groupId)?.(true);
        waiting.delete(groupId);
      }
    });
    return running;
  }

  /** Running groups are covered again soon, not only at the next start. */
  #replaceSoon(): void {
    this.#clock.after(REPLACE_MS, () => {
      if (!this.#stopped && this.#groups.size > 0) this.#ensure();
    });
  }

  #tell(running: Running, groupId: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(ACK_DEADLINE_MS, () => {
        running.waiting.delete(groupId);
        resolve(false);
      });
      running.waiting.set(groupId, (known) => {
        timer.cancel();
        resolve(known);
      });
      running.process.stdin?.write(`${this.#takeForgotten()}+${groupId}\n`);
    });
  }
}

/** Undefined: this host has no memory for it. What else is exhausted Node tells by an event, and that by throwing. */
function spawnScript(extraStdio: readonly ('ignore' | number)[]): ChildProcess | undefined {
  try {
    return spawn('/bin/sh', ['-c', SCRIPT, 'covey-guardian'], {
      // Not the daemon's directory: it would keep a file system busy.
      cwd: '/',
      env: {},
      detached: true,
      // The fourth is the gate of a command; the guardian has none.
      stdio: ['pipe', 'pipe', 'ignore', 'ignore', ...extraStdio],
    });
  } catch {
    return undefined;
  }
}

/**
 * A dead guardian shows as its exit; that writing to it fails too says nothing new. Nor do its pipes
 * count as work to be done.
 */
function tame(child: ChildProcess): void {
  for (const stream of [child.stdin, child.stdout]) {
    stream?.on('error', () => undefined);
    if (stream instanceof Socket) stream.unref();
  }
}
