/**
 * `npm run bench -- NAME [options] [--json]`: fetches what the bench compares with, runs it in namespaces of its own where
 * it may, and prints a table of what is asked and one line of JSON; with `--json` the line alone.
 *
 * Every bench knows `--json` and `--packages DIR`, which keeps what was fetched for the next run.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../src/testnet/paths.ts';
import type { Bench } from './common/bench.ts';
import { BENCHES } from './common/catalog.ts';
import type { Order } from './common/inside.ts';
import { namespaces } from './common/namespaces.ts';
import { readOptions, type Shape, usageOf } from './common/options.ts';
import { type Target, table } from './common/targets.ts';

const INSIDE = fileURLToPath(new URL('./common/inside.ts', import.meta.url));
const COMMON = { packages: { kind: 'text' }, json: { kind: 'flag' } } satisfies Shape;

function usage(why: string, text: string): never {
  process.stderr.write(`${why}\nusage: ${text}\n`);
  process.exit(2);
}

async function fetchAll(bench: Bench, values: Order['values'], dir: string) {
  const found: Record<string, string> = {};
  const absent: Record<string, string> = {};
  for (const [name, fetch] of Object.entries(bench.needs(values))) {
    const fetched = await fetch(join(dir, name));
    if ('path' in fetched) found[name] = fetched.path;
    else absent[name] = fetched.why;
  }
  return { found, absent };
}

interface Asked {
  readonly name: string;
  readonly bench: Bench;
  readonly values: Order['values'];
  readonly packages: string | undefined;
  readonly json: boolean;
}

async function asked(): Promise<Asked> {
  const [name = '', ...args] = process.argv.slice(2);
  const load = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
  if (load === undefined) {
    usage(`there is no bench '${name}'`, `npm run bench -- ${Object.keys(BENCHES).join('|')}`);
  }
  const bench = await load();
  const shape = { ...bench.shape, ...COMMON };
  const read = readOptions(args, shape);
  if (!read.ok) usage(read.error, usageOf(name, shape));
  const { packages, json, ...values } = read.value;
  return { name, bench, values, packages, json };
}

async function perform(
  { name, bench, values, packages, json }: Asked,
  dir: string,
  ended: (kill: () => void) => void,
): Promise<boolean> {
  const fetched = await fetchAll(bench, values, packages ?? join(dir, 'packages'));
  const wrap = await namespaces();
  const order: Order = {
    name,
    values,
    dir: join(dir, 'run'),
    isolated: wrap !== undefined,
    ...fetched,
  };
  const [program, ...args] = [...(wrap ?? []), COVEY_NODE, INSIDE, JSON.stringify(order)];
  if (program === undefined) return false;
  const child = spawn(program, args, { detached: true, stdio: ['pipe', 'inherit', 'inherit'] });
  // It ends itself, and all it started, when its input does.
  ended(() => child.stdin.destroy());
  const code = await new Promise<number | null>((resolve) => {
    child.on('exit', resolve);
    child.on('error', () => resolve(null));
  });
  const file = join(order.dir, 'result.json');
  if (code !== 0 || !existsSync(file)) return false;
  const line = await readFile(file, 'utf8');
  const { targets } = JSON.parse(line) as { targets: readonly Target[] };
  if (!json && targets.length > 0) process.stdout.write(table(targets));
  process.stdout.write(`${line}\n`);
  return true;
}

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
const order = await asked();
const dir = await mkdtemp(join(tmpdir(), 'cvb-'));
try {
  const done = await perform(order, dir, (kill) => {
    end = kill;
    if (signalled) kill();
  });
  process.exitCode = signalled ? 130 : done ? 0 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}
