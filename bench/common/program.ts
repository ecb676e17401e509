/**
 * A bench as a program: a temporary directory, the part that measures in namespaces of its own where it may, a table and
 * one line of JSON. A signal, or the end of this program, ends all that it started.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { namespaces } from './namespaces.ts';
import { type Target, table } from './targets.ts';

/** What the part that measures is told; it writes `result.json` into `dir`. */
export interface InsideOrder {
  readonly dir: string;
  readonly isolated: boolean;
}

/** `orderOf` is given the temporary directory, and whether there are namespaces. */
export async function runBench(
  inside: string,
  json: boolean,
  orderOf: (dir: string, isolated: boolean) => Promise<InsideOrder>,
): Promise<void> {
  let end = (): void => undefined;
  let signalled = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      signalled = true;
      end();
    });
  }
  // A reader that goes away (`| head`) must not keep the directory from being removed.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const dir = await mkdtemp(join(tmpdir(), 'cvb-'));
  try {
    const wrap = await namespaces();
    const order = await orderOf(dir, wrap !== undefined);
    const done = await measure(inside, order, wrap ?? [], (kill) => {
      end = kill;
      if (signalled) kill();
    });
    if (done !== undefined) print(done, json);
    process.exitCode = signalled ? 130 : done === undefined ? 1 : 0;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measure(
  inside: string,
  order: InsideOrder,
  wrap: readonly string[],
  ended: (kill: () => void) => void,
): Promise<string | undefined> {
  const [program, ...args] = [...wrap, COVEY_NODE, inside, JSON.stringify(order)];
  if (program === undefined) return undefined;
  const child = spawn(program, args, { detached: true, stdio: ['pipe', 'inherit', 'inherit'] });
  // It ends itself, and all it started, when its input does.
  ended(() => child.stdin.destroy());
  const code = await new Promise<number | null>((resolve) => {
    child.on('exit', resolve);
    child.on('error', () => resolve(null));
  });
  const file = join(order.dir, 'result.json');
  return code === 0 && existsSync(file) ? await readFile(file, 'utf8') : undefined;
}

function print(line: string, json: boolean): void {
  const { targets } = JSON.parse(line) as { targets: readonly Target[] };
  if (!json && targets.length > 0) process.stdout.write(table(targets));
  process.stdout.write(`${line}\n`);
}
