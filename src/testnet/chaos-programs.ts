/** The worker programs of a chaos run, one beside each daemon; one that is killed is started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { runsFileOf, uptimeMs } from './chaos-work.ts';
import { entryOf } from './paths.ts';

export class WorkerPrograms {
  readonly #dir: string;
  readonly #children = new Map<number, ChildProcess>();
  readonly #ends = new Set<Promise<void>>();
  #ended = false;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async start(index: number, socket: string, host: string): Promise<void> {
    if (this.#ended || this.#isRunning(index)) return;
    const log = await open(join(this.#dir, 'workers.log'), 'a', 0o600);
    const args = [entryOf('chaos-worker'), socket, this.#dir, host];
    // Two strikes at one program may both start it again: the second one would be ended by nobody.
    if (this.#isRunning(index)) return await log.close();
    // A session of its own: Ctrl-C is ours to handle.
    const child = spawn(process.execPath, args, {
      detached: true,
      stdio: ['ignore', 'ignore', log.fd],
    });
    this.#children.set(index, child);
    this.#ends.add(this.#noteEnd(child));
    await log.close();
    if (this.#ended) child.kill('SIGKILL');
  }

  #isRunning(index: number): boolean {
    const child = this.#children.get(index);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  async kill(index: number): Promise<void> {
    const child = this.#children.get(index);
    if (child === undefined) return;
    const ended = endOf(child);
    child.kill('SIGKILL');
    await ended;
  }

  async end(): Promise<void> {
    this.#ended = true;
    this.killNow();
    await Promise.all(this.#ends);
  }

  /** For the moment in which nothing can be awaited. */
  killNow(): void {
    for (const child of this.#children.values()) child.kill('SIGKILL');
  }

  /** With the program all its handlers have ended. */
  async #noteEnd(child: ChildProcess): Promise<void> {
    await endOf(child);
    if (child.pid === undefined || this.#ended) return;
    await appendFile(runsFileOf(this.#dir), `gone ${child.pid} ${uptimeMs()}\n`);
  }
}

function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}
