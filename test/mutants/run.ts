/**
 * `npm run sim:mutants`: plants every bug of planted.ts, one at a time, in a temporary copy of src/ and lets the
 * simulator look for it. A mutant that lives is a hole in the checkers or in the stories.
 *
 * Exit codes: 0 all were caught, 1 one lives (or hangs, or is too crude, or a seed fails without any), 64 usage.
 */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Copies } from './copy.ts';
import { baseline, type Catch, type Hunter, hunt } from './hunt.ts';
import type { Mutant } from './mutant.ts';
import { MUTANTS } from './planted.ts';

const USAGE = `usage: npm run sim:mutants -- [--only NAME,..] [--seeds N] [--jobs N] [--minutes M] [--no-baseline] [--root DIR] [--json]
  --only NAMES   these mutants (default: all)
  --seeds N      seeds for each (default 5000)
  --jobs N       mutants at the same time (default: cores, at most 2)
  --minutes M    for each mutant at most (default: no limit)
  --no-baseline  spare the seeds without a mutant; each that caught one is run without it all the same
  --root DIR     plants them in the src/ of this project instead of this one
  --json         one line of JSON: {mutants, survived, median_seeds, by, baseline}
`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url));

interface Line {
  readonly mutants: readonly Mutant[];
  readonly seeds: number;
  readonly jobs: number;
  readonly limitMs: number;
  readonly json: boolean;
  readonly baseline: boolean;
  readonly root: string;
}

function parseLine(argv: readonly string[]): Line | string {
  try {
    const { values } = parseArgs({
      args: argv.filter((word) => word !== '--'),
      options: {
        only: { type: 'string' },
        seeds: { type: 'string', default: '5000' },
        jobs: { type: 'string', default: String(Math.min(2, availableParallelism())) },
        minutes: { type: 'string', default: 'Infinity' },
        'no-baseline': { type: 'boolean', default: false },
        root: { type: 'string', default: ROOT },
        json: { type: 'boolean', default: false },
      },
    });
    const only = values.only?.split(',');
    const unknown = only?.find((name) => !MUTANTS.some((mutant) => mutant.name === name));
    if (unknown !== undefined) return `there is no mutant ${unknown}`;
    const [seeds, jobs, minutes] = [values.seeds, values.jobs, values.minutes].map(Number);
    if (!(Number(seeds) >= 1 && Number(jobs) >= 1 && Number(minutes) > 0))
      return '--seeds, --jobs and --minutes need numbers';
    return {
      mutants: MUTANTS.filter(({ name }) => only === undefined || only.includes(name)),
      seeds: Number(seeds),
      jobs: Number(jobs),
      limitMs: Number(minutes) * 60_000,
      json: values.json,
      root: values.root,
      baseline: !values['no-baseline'],
    };
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

const write = (text: string): void => {
  process.stdout.write(text);
};

const rowOf = ({ name, seeds, outcome, rule, at }: Catch): string =>
  `${name.padEnd(30)} ${String(seeds).padStart(5)}  ${outcome.padEnd(9)} ${at === undefined ? '' : `${at.mode} ${at.seed}`}  ${rule.slice(0, 120)}\n`;

const CAUGHT = new Set<Catch['outcome']>(['safety', 'liveness', 'crash']);

/** All mutants, `jobs` at a time, in order. */
async function huntAll(line: Line, hunter: Hunter, copies: Copies): Promise<Catch[]> {
  const left = [...line.mutants];
  const catches: Catch[] = [];
  const work = async (): Promise<void> => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const copy = await copies.plant(mutant);
      const caught = await hunt(hunter, mutant, copy);
      await copies.remove(mutant.name);
      catches.push(caught);
      if (!line.json) write(rowOf(caught));
    }
  };
  await Promise.all(Array.from({ length: line.jobs }, work));
  const order = line.mutants.map(({ name }) => name);
  return catches.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

function medianOf(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

async function run(line: Line): Promise<number> {
  const copies = await Copies.create(line.root);
  const stop = (): void => {
    void copies.close().finally(() => process.exit(130));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const hunter = {
      here: HERE,
      pristine: copies.pristine,
      seedsMax: line.seeds,
      limitMs: line.limitMs,
    };
    const by = await huntAll(line, hunter, copies);
    const caught = by.filter(({ outcome }) => CAUGHT.has(outcome));
    const places = caught.flatMap(({ at }) => (at === undefined ? [] : [at]));
    const failed = line.baseline
      ? await baseline(hunter, places)
      : by.flatMap(({ passedOver }) => passedOver);
    const survived = by.length - caught.length;
    const median = medianOf(caught.map(({ seeds }) => seeds));
    const summary = { mutants: by.length, survived, median_seeds: median };
    if (line.json) write(`${JSON.stringify({ ...summary, by, baseline_failed: failed })}\n`);
    else {
      write(`${by.length} mutants, ${survived} survived, ${median} seeds in the median\n`);
      for (const { mode, seed, world } of failed)
        write(`without a mutant: ${mode} ${seed} ${JSON.stringify(world)} does not hold\n`);
    }
    return survived === 0 && failed.length === 0 ? 0 : 1;
  } finally {
    await copies.close();
  }
}

const line = parseLine(process.argv.slice(2));
if (typeof line === 'string') {
  process.stderr.write(`${line}\n${USAGE}`);
  process.exitCode = 64;
} else process.exitCode = await run(line);
