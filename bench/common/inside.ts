/** The measuring itself, in namespaces of its own where there are any. Ends with whatever holds its standard input. */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { BENCHES } from './catalog.ts';
import { Owned } from './launch.ts';
import { loadAverage } from './proc.ts';

/** From the program outside, which has checked the options and downloaded what is needed. */
export interface Order {
  readonly name: string;
  readonly values: Readonly<Record<string, never>>;
  readonly dir: string;
  readonly found: Readonly<Record<string, string>>;
  readonly absent: Readonly<Record<string, string>>;
  readonly isolated: boolean;
}

/** Nothing that a bench does takes longer; what hangs ends here, with all that it started. */
const LIMIT_MS = 6 * 3_600_000;

const order = JSON.parse(process.argv[2] ?? '') as Order;
const owned = new Owned();
process.on('exit', () => owned.killNow());
const stop = (): void => process.exit(1);
process.stdin.on('end', stop).on('error', stop).resume();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
setTimeout(stop, LIMIT_MS).unref();
// Whoever read the progress may have gone; the result is a file.
process.stderr.on('error', () => undefined);
process.env.NODE_COMPILE_CACHE = join(order.dir, 'compile-cache');

const load = BENCHES[order.name];
if (load === undefined) throw new Error(`no bench ${order.name}`);
const bench = await load();
await mkdir(order.dir, { recursive: true });
const before = await loadAverage();
const { figures, targets } = await bench.measure(order.values, {
  owned,
  dir: order.dir,
  found: order.found,
  absent: order.absent,
  isolated: order.isolated,
  say: (text) => void process.stderr.write(`${text}\n`),
});
const line = JSON.stringify({
  bench: order.name,
  options: order.values,
  node: process.version,
  cores: availableParallelism(),
  load_average: { before, after: await loadAverage() },
  own_namespaces: order.isolated,
  ...figures,
  absent: order.absent,
  targets,
});
await writeFile(join(order.dir, 'result.json'), line);
process.exit(0);
