/**
 * Runs seeds of one copy of the simulator, one line of JSON for each, and ends with the first that does not hold. A
 * program of its own: a mutant may hang, throw anywhere or eat memory, and every copy needs its own modules.
 *
 * seeds.ts COPY MODE FIRST COUNT WORLD
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type { ScenarioOptions } from '../../src/sim/options.ts';

type Scenarios = typeof import('../../src/sim/scenarios.ts');
type Options = typeof import('../../src/sim/options.ts');
type Faults = typeof import('../../src/sim/faults.ts');

export interface SeedLine {
  readonly seed: number;
  readonly outcome: 'held' | 'safety' | 'liveness' | 'crash';
  /** The rules that were broken, what is pending, or what was thrown. */
  readonly rule: string;
}

const DETAIL_CHARS_MAX = 300;
/** Smaller and denser than a drawn world: three times as many seeds in the same time. A cut needs its time, though. */
const SMALL = { tasks: 24, storyMs: 15_000, faults: 6 };
const [copy = '', mode = '', first = '1', count = '1', world = '{}'] = process.argv.slice(2);
const load = (file: string): Promise<unknown> =>
  import(pathToFileURL(join(copy, 'src/sim', file)).href);
const write = process.stdout.write.bind(process.stdout);

function say(line: SeedLine): void {
  write(`${JSON.stringify({ ...line, rule: line.rule.slice(0, DETAIL_CHARS_MAX) })}\n`);
}

let current = 0;
const crashed = (thrown: unknown): void => {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  say({ seed: current, outcome: 'crash', rule: text });
};
process.on('unhandledRejection', (thrown) => {
  crashed(thrown);
  process.exit(12);
});

async function runSeed(seed: number): Promise<boolean> {
  const { Scenario } = (await load('scenarios.ts')) as Scenarios;
  const { drawOptions, MODES } = (await load('options.ts')) as Options;
  const { FAULT_NAMES } = (await load('faults.ts')) as Faults;
  const known = MODES.find((item) => item === mode);
  if (known === undefined) throw new Error(`unknown mode ${mode}`);
  const chosen = known === 'storm' ? FAULT_NAMES : [];
  const options = drawOptions(String(seed), {
    ...(known === 'cuts' ? {} : SMALL),
    mode: known,
    chosen,
    ...(JSON.parse(world) as Partial<ScenarioOptions>),
  });
  const { outcome, violations, pending } = await new Scenario(options).run();
  const rules = [...new Set(violations.map(({ rule }) => rule))].join(' ');
  const [violation] = violations;
  const rule = violation === undefined ? (pending[0] ?? '') : `${rules}: ${violation.detail}`;
  say({ seed, outcome, rule: outcome === 'held' ? '' : rule });
  return outcome === 'held';
}

for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  current = seed;
  try {
    if (!(await runSeed(seed))) break;
  } catch (thrown) {
    crashed(thrown);
    break;
  }
}
