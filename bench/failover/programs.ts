/** The worker programs beside the daemons, and every start they tell of, at the time at which this program heard it. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { firstLine, type Launched, type Owned, parseJson } from '../common/launch.ts';

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url));

/** Ends a task that the program has in its hands. */
export interface Command {
  readonly finish: string;
}

export interface Start {
  readonly id: string;
  /** Of the daemon beside which the program runs. */
  readonly peer: number;
  readonly atMs: number;
}

export class Programs {
  readonly #owned: Owned;
  readonly #dir: string;
  readonly #running = new Map<number, Launched>();
  readonly #starts: Start[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(owned: Owned, dir: string) {
    this.#owned = owned;
    this.#dir = dir;
  }

  /** Resolves when its daemon knows of it. */
  async launch(peer: number, socket: string, types: readonly string[]): Promise<void> {
    const program = await this.#owned.launch([COVEY_NODE, WORKER, socket, types.join()], {
      logFile: join(this.#dir, `program${peer}.log`),
    });
    this.#running.set(peer, program);
    program.onLine((line) => {
      const said = parseJson(line);
      if (said?.event !== 'start') return;
      this.#starts.push({ id: String(said.id), peer, atMs: performance.now() });
      for (const look of this.#waiting) look();
    });
    await firstLine(program, 'a worker program', (line) =>
      parseJson(line)?.event === 'ready' ? true : undefined,
    );
  }

  async kill(peer: number): Promise<void> {
    const program = this.#of(peer);
    program.child.kill('SIGKILL');
    await program.exited;
  }

  signal(peer: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#of(peer).child.kill(signal);
  }

  /** Whoever has it: the others know nothing of it. */
  finish(id: string): void {
    const command: Command = { finish: id };
    for (const program of this.#running.values()) program.tell(command);
  }

  startsOf(id: string): readonly Start[] {
    return this.#starts.filter((start) => start.id === id);
  }

  /** The `nth` start of a task, from 1; undefined when there was none in time. */
  async start(id: string, nth: number, timeoutMs: number): Promise<Start | undefined> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (this.startsOf(id).length >= nth) resolve();
    };
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiting.add(look);
    look();
    await promise;
    this.#waiting.delete(look);
    clearTimeout(timer);
    return this.startsOf(id)[nth - 1];
  }

  #of(peer: number): Launched {
    const program = this.#running.get(peer);
    if (program === undefined) throw new Error(`no worker program beside peer ${peer}`);
    return program;
  }
}
