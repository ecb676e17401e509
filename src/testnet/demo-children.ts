/** The two xargs of `npm start` as child processes in groups of their own, so that none outlives an interrupt. */
import { type ChildProcess, spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';

export interface Finished {
  readonly output: string;
  readonly errors: string;
  /** Its exit code, or 128 + n as a shell has it; 127 when it could not be started. */
  readonly exitCode: number;
  readonly wallMs: number;
}

export class Children {
  readonly #running = new Set<ChildProcess>();

  /** Runs the command with `inputFile` as its stdin; `onRecords` hears how many NULs came. */
  async run(
    argv: readonly [string, ...string[]],
    inputFile: string,
    onRecords: (count: number) => void,
  ): Promise<Finished> {
    const input = await open(inputFile);
    const startedMs = performance.now();
    const [program, ...args] = argv;
    const child = spawn(program, args, { detached: true, stdio: [input.fd, 'pipe', 'pipe'] });
    this.#running.add(child);
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => {
      output.push(chunk);
      onRecords(countZeros(chunk));
    });
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk));
    const exitCode = await new Promise<number>((resolve) => {
      child.on('error', (error) => {
        errors.push(Buffer.from(error.message));
        resolve(127);
      });
      child.on('close', (code) => resolve(code ?? 128));
    });
    this.#running.delete(child);
    await input.close();
    const wallMs = performance.now() - startedMs;
    const textOf = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString();
    return { output: textOf(output), errors: textOf(errors).trim(), exitCode, wallMs };
  }

  /** SIGKILL to every group that runs. */
  killAll(): void {
    for (const child of this.#running) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL'); // the group is empty already
      }
    }
  }
}

function countZeros(chunk: Buffer): number {
  let count = 0;
  for (let at = chunk.indexOf(0); at >= 0; at = chunk.indexOf(0, at + 1)) count++;
  return count;
}

/** Linux reports times of /proc in these, whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;

/** CPU seconds of all children of this process that have ended, and of those that they waited for. */
export async function childrenCpuSeconds(): Promise<number> {
  const stat = await readFile('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}
