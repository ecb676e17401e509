/**
 * `npm run bench -- NAME [options] [--json]`: fetches what the bench compares with, runs it in namespaces of its own where
 * it may, and prints a table of what is asked and one line of JSON; with `--json` the line alone.
 *
 * Every bench knows `--json` and `--packages DIR`, which keeps what was fetched for the next run.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Bench } from './common/bench.ts';
import { BENCHES } from './common/catalog.ts';
import type { Order } from './common/inside.ts';
import { readOptions, type Shape, usageOf } from './common/options.ts';
import { runBench } from './common/program.ts';

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

const { name, bench, values, packages, json } = await asked();
await runBench(INSIDE, json, async (dir, isolated): Promise<Order> => {
  const fetched = await fetchAll(bench, values, packages ?? join(dir, 'packages'));
  return { name, values, dir: join(dir, 'run'), isolated, ...fetched };
});
