/**
 * Commands a second: `covey xargs` beside GNU parallel and `xargs -P` with the same slots, and what this machine can
 * start at all.
 *
 *   npm run bench -- exec [--items 5000] [--files 2000] [--file-kib 64] [--batch 50] [--slots 4] [--peers 1]
 *                         [--runs 3] [--only covey,parallel,xargs,spawn]
 *
 * Each of the daemons has its share of the slots.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COVEY, COVEY_NODE } from '../src/testnet/paths.ts';
import type { Bench, Needs, Outcome, Setting } from './common/bench.ts';
import { meshUp } from './common/mesh.ts';
import type { Shape, Values } from './common/options.ts';
import { debian } from './common/packages.ts';
import { median, rounded } from './common/statistics.ts';
import { atLeast } from './common/targets.ts';
import { type CommandLine, type Ran, runOnce } from './exec/run-once.ts';

const RUNNERS = ['covey', 'parallel', 'xargs', 'spawn'] as const;
type Runner = (typeof RUNNERS)[number];
const SPAWN_LIMIT = fileURLToPath(new URL('./exec/spawn-limit.ts', import.meta.url));

const shape = {
  items: { kind: 'number', default: 5_000, min: 1, max: 1_000_000 },
  files: { kind: 'number', default: 2_000, min: 1, max: 100_000 },
  'file-kib': { kind: 'number', default: 64, min: 1, max: 10_240 },
  batch: { kind: 'number', default: 50, min: 1, max: 1_000 },
  slots: { kind: 'number', default: 4, min: 1, max: 256 },
  peers: { kind: 'number', default: 1, min: 1, max: 9 },
  runs: { kind: 'number', default: 3, min: 1, max: 20 },
  only: { kind: 'names', default: RUNNERS, of: RUNNERS },
} satisfies Shape;

type Options = Values<typeof shape>;

interface Job {
  readonly name: 'true' | 'sha256sum';
  readonly input: string;
  readonly items: number;
  readonly batch: number;
  readonly command: readonly [string, ...string[]];
}

/** All start with the same command for each item or batch of items, which are arguments of it. */
function commandLines(
  job: Job,
  slots: number,
  covey: { readonly socket: string },
  parallel: { readonly program: string | undefined; readonly home: string },
): Partial<Record<Runner, CommandLine>> {
  const [size, jobs] = [String(job.batch), String(slots)];
  return {
    covey: {
      argv: [COVEY, 'xargs', '--no-progress', '-n', size, ...job.command],
      env: { COVEY_SOCKET: covey.socket },
    },
    ...(parallel.program === undefined
      ? {}
      : {
          parallel: {
            argv: [parallel.program, '--will-cite', '-j', jobs, '-n', size, ...job.command],
            env: { PARALLEL_HOME: parallel.home },
          },
        }),
    xargs: { argv: ['xargs', '-P', jobs, '-n', size, ...job.command] },
    ...(job.name === 'true'
      ? { spawn: { argv: [COVEY_NODE, SPAWN_LIMIT, String(job.items), jobs, ...job.command] } }
      : {}),
  };
}

async function jobsOf(options: Options, dir: string): Promise<Job[]> {
  const files = join(dir, 'files');
  await mkdir(files, { recursive: true });
  const paths = Array.from({ length: options.files }, (_, i) => join(files, `f${i}`));
  const size = options['file-kib'] * 1_024;
  for (const [i, path] of paths.entries()) await writeFile(path, Buffer.alloc(size, i % 251));
  const numbers = Array.from({ length: options.items }, (_, i) => `${i}\n`);
  await writeFile(join(dir, 'items'), numbers.join(''));
  await writeFile(join(dir, 'paths'), paths.map((path) => `${path}\n`).join(''));
  return [
    {
      name: 'true',
      input: join(dir, 'items'),
      items: options.items,
      batch: 1,
      command: ['/bin/true'],
    },
    {
      name: 'sha256sum',
      input: join(dir, 'paths'),
      items: options.files,
      batch: options.batch,
      command: ['sha256sum'],
    },
  ];
}

/** Every runner must have done the whole: same lines, exit code 0. */
function objection(ran: Ran, expected: Ran | undefined): string | undefined {
  if (ran.code !== 0) return `ended with ${ran.code}: ${ran.errors}`;
  if (expected === undefined || ran.digest === expected.digest) return undefined;
  return `printed ${ran.lines} lines, not the ${expected.lines} of the others`;
}

async function measure(options: Options, setting: Setting): Promise<Outcome> {
  const { dir, say, owned } = setting;
  const jobs = await jobsOf(options, dir);
  const slots = Math.ceil(options.slots / options.peers);
  const network = await meshUp({ peers: options.peers, dir: join(dir, 'm'), slots });
  const home = join(dir, 'parallel-home');
  await mkdir(home);
  const parallel = { program: setting.found.parallel, home };
  const figures: Record<string, Record<string, number>> = {};
  const failures: string[] = [];
  for (const job of jobs) {
    const rates = new Map<Runner, number[]>();
    const lines = commandLines(job, options.slots, { socket: network.socket(1) }, parallel);
    let expected: Ran | undefined;
    for (let run = 1; run <= options.runs; run += 1) {
      for (const runner of RUNNERS) {
        const line = lines[runner];
        if (line === undefined || !options.only.includes(runner)) continue;
        const ran = await runOnce(line, job.input, join(dir, 'scratch'), owned.ends);
        const wrong = objection(ran, expected);
        if (wrong === undefined) expected ??= ran;
        else failures.push(`${runner}, ${job.name}: ${wrong}`);
        const rate = rounded(job.items / ran.seconds, 1);
        if (wrong === undefined) rates.set(runner, [...(rates.get(runner) ?? []), rate]);
        say(`run ${run}, ${job.name}, ${runner}: ${wrong ?? `${rate} items/s`}`);
      }
    }
    figures[job.name] = Object.fromEntries(
      [...rates].map(([runner, all]) => [`${runner}_items_per_s`, median(all) ?? 0]),
    );
  }
  await network.down({ graceMs: 0 });
  const over = (job: string, other: Runner): number | null => {
    const [a, b] = [figures[job]?.covey_items_per_s, figures[job]?.[`${other}_items_per_s`]];
    return a === undefined || b === undefined ? null : rounded(a / b, 3);
  };
  const ratios = {
    ratio_spawn_limit: over('true', 'spawn'),
    ratio_parallel: over('true', 'parallel'),
    ratio_xargs: over('true', 'xargs'),
    ratio_parallel_sha256sum: over('sha256sum', 'parallel'),
    ratio_xargs_sha256sum: over('sha256sum', 'xargs'),
  };
  return {
    figures: { ...figures, ...ratios, failures },
    targets: [
      atLeast('/bin/true over the spawn limit', ratios.ratio_spawn_limit, 0.6, 0.8),
      atLeast('/bin/true over GNU parallel (an aim alone)', ratios.ratio_parallel, 0, 1),
    ],
  };
}

export const exec: Bench<typeof shape> = {
  shape,
  needs: ({ only }): Needs =>
    only.includes('parallel')
      ? { parallel: (into) => debian(into, ['parallel'], 'usr/bin/parallel') }
      : {},
  measure,
};
