/** The measuring itself, in namespaces of its own where there are any. Ends with whatever holds its standard input. */
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Owned } from '../common/launch.ts';
import { loadAverage } from '../common/proc.ts';
import type { Backend } from './backend.ts';
import { COVEY } from './covey.ts';
import { prepareCuts } from './host.ts';
import { bareResidentMiB, type Figures, measure } from './measure.ts';
import { serf } from './serf.ts';
import { targetsOf } from './targets.ts';
import { upring } from './upring.ts';

/** From the program outside, which downloads what is needed. */
export interface Order {
  readonly dir: string;
  readonly sizes: readonly number[];
  readonly covey: boolean;
  readonly serf: string | undefined;
  readonly upring: string | undefined;
  /** System by system: why it is not there. */
  readonly absent: Readonly<Record<string, string>>;
  readonly isolated: boolean;
  readonly quick: boolean;
  readonly rounds: number;
  readonly loadMs: number;
}

const IDLE_MS = 30_000;
const QUICK_IDLE_MS = 1_000;

const order = JSON.parse(process.argv[2] ?? '') as Order;
const owned = new Owned();
process.on('exit', () => owned.killNow());
const stop = (): void => process.exit(1);
process.stdin.on('end', stop).on('error', stop).resume();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
process.env.NODE_COMPILE_CACHE = join(order.dir, 'compile-cache');

const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function results(): Promise<unknown> {
  await mkdir(order.dir, { recursive: true });
  const canCut = order.isolated && !order.quick && (await prepareCuts());
  const plan = {
    rounds: order.quick ? 1 : order.rounds,
    idleMs: order.quick ? QUICK_IDLE_MS : IDLE_MS,
    loadMs: order.loadMs,
    slow: !order.quick,
    canCut,
    ownLoopback: order.isolated,
  };
  const to = { owned, dir: order.dir, plan, say };
  const loadBefore = await loadAverage();
  const backends: Backend[] = [];
  if (order.covey) backends.push(COVEY);
  if (order.serf !== undefined) backends.push(serf(order.serf));
  if (order.upring !== undefined) backends.push(upring(order.upring));
  const measured: Record<string, Record<string, Figures>> = {};
  const failed: Record<string, string> = {};
  for (const backend of backends) {
    const bare = backend.name === 'covey' ? { bare_rss_mib: await bareResidentMiB(to) } : {};
    for (const n of order.sizes) {
      try {
        const figures = { ...(await measure(backend, n, to)), ...bare };
        measured[backend.name] = { ...measured[backend.name], [n]: figures };
      } catch (thrown) {
        if (backend.name === 'covey') throw thrown;
        failed[`${backend.name}, N = ${n}`] = String(thrown);
      }
    }
  }
  return {
    bench: 'membership',
    sizes: order.sizes,
    rounds: plan.rounds,
    cores: availableParallelism(),
    load_average: { before: loadBefore, after: await loadAverage() },
    own_namespaces: order.isolated,
    ...measured,
    absent: { ...order.absent, ...failed },
    targets: order.covey ? targetsOf(measured, order.sizes) : [],
  };
}

const line = JSON.stringify(await results());
await writeFile(join(order.dir, 'result.json'), line);
process.exit(0);
