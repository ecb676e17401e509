/** One command line that reads items from a file, timed from its start to its end; what it printed is kept and compared. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';

export interface CommandLine {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Ran {
  readonly seconds: number;
  readonly code: number | null;
  /** Of its lines in alphabetical order. */
  readonly digest: string;
  readonly lines: number;
  readonly errors: string;
}

const ERROR_CHARS = 500;

export async function runOnce(
  { argv, env = {} }: CommandLine,
  input: string,
  scratch: string,
  started: (kill: () => void) => void,
): Promise<Ran> {
  const [program, ...args] = argv;
  const [from, to] = [await open(input), await open(`${scratch}.out`, 'w')];
  const errors = await open(`${scratch}.err`, 'w');
  const beganMs = performance.now();
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: [from.fd, to.fd, errors.fd],
  });
  started(() => child.kill('SIGKILL'));
  const code = await new Promise<number | null>((resolve) => {
    child.on('exit', resolve);
    child.on('error', () => resolve(null));
  });
  const seconds = (performance.now() - beganMs) / 1_000;
  await Promise.all([from.close(), to.close(), errors.close()]);
  const text = await readFile(`${scratch}.out`, 'utf8');
  const said = await readFile(`${scratch}.err`, 'utf8');
  await Promise.all([rm(`${scratch}.out`), rm(`${scratch}.err`)]);
  return { seconds, code, ...contentOf(text), errors: said.slice(0, ERROR_CHARS) };
}

/** Runners print in the order in which their commands end: the lines count, not their order. */
export function contentOf(text: string): { readonly digest: string; readonly lines: number } {
  const lines = text.split('\n').filter((line) => line !== '');
  const digest = createHash('sha256').update(lines.sort().join('\n')).digest('hex');
  return { digest: digest.slice(0, 16), lines: lines.length };
}
