/**
 * `npm run sim -- --seed X`: runs the world of a seed, or of many, and says whether what must hold held.
 * Exit codes: 0 held, 10 safety, 11 liveness, 12 the simulation itself or the product threw, 64 usage.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { short } from './copies.ts';
import { FAULT_NAMES } from './faults.ts';
import { createWorld, drawOptions, MODES, type Mode, type ScenarioOptions } from './options.ts';
import { Scenario, type ScenarioResult } from './scenarios.ts';
import { eventText } from './trace.ts';

const USAGE = `usage: npm run sim -- [--seed SEED] [--seeds N] [--peers N] [--mode calm|crashes|cuts|wild|storm] [--twice] [--json] [--log] [--trace]
  --seed SEED  the world of this seed (default 1); with --seeds the first of N whole numbers
  --seeds N    N seeds, one after another; stops at nothing, exits with the worst outcome
  --peers N    this many peers instead of a drawn number
  --mode MODE  these faults instead of drawn ones
  --twice      runs each seed twice and compares the trace hashes
  --json       one line of JSON for each seed
  --log        the logs of all peers after a failure
  --trace      every traced event, on standard error
`;

const EXIT = { held: 0, safety: 10, liveness: 11, crash: 12, usage: 64 } as const;
const LINES_MAX = 40;

interface Line {
  readonly seeds: readonly string[];
  readonly fixed: Partial<ScenarioOptions>;
  readonly json: boolean;
  readonly log: boolean;
  readonly trace: boolean;
  readonly twice: boolean;
}

function parseLine(argv: readonly string[]): Line | string {
  try {
    const { values } = parseArgs({
      args: argv.filter((word) => word !== '--'),
      options: {
        seed: { type: 'string', default: '1' },
        seeds: { type: 'string' },
        peers: { type: 'string' },
        mode: { type: 'string' },
        twice: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        log: { type: 'boolean', default: false },
        trace: { type: 'boolean', default: false },
      },
    });
    const count = values.seeds === undefined ? undefined : Number(values.seeds);
    const first = Number(values.seed);
    if (count !== undefined && !(Number.isSafeInteger(count) && Number.isSafeInteger(first)))
      return '--seeds needs whole numbers';
    const mode = MODES.find((item) => item === values.mode);
    if (values.mode !== undefined && mode === undefined) return `unknown mode ${values.mode}`;
    const peers = values.peers === undefined ? undefined : Number(values.peers);
    if (peers !== undefined && !(Number.isSafeInteger(peers) && peers > 0))
      return '--peers needs a number';
    const seeds =
      count === undefined
        ? [values.seed]
        : Array.from({ length: count }, (_, i) => String(first + i));
    const fixed: { peers?: number; mode?: Mode; chosen?: readonly string[] } = {
      ...(mode === 'storm' ? { chosen: FAULT_NAMES } : {}),
      ...(peers === undefined ? {} : { peers }),
      ...(mode === undefined ? {} : { mode }),
    };
    return {
      seeds,
      fixed,
      json: values.json,
      log: values.log,
      trace: values.trace,
      twice: values.twice,
    };
  } catch (thrown) {
    return messageOf(thrown);
  }
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const flagsOf = (fixed: Partial<ScenarioOptions>): string =>
  Object.entries(fixed)
    .map(([key, value]) => ` --${key} ${String(value)}`)
    .join('');

function report(line: Line, result: ScenarioResult): void {
  const { options, outcome, hash, violations, pending } = result;
  if (line.json) {
    say(JSON.stringify(result));
    return;
  }
  const counts = Object.entries(result.counts).map(([key, value]) => `${key} ${value}`);
  say(
    `  ${outcome}  ${hash.slice(0, 16)}  ${result.events} events, ${Math.round(result.virtualMs / 1_000)} s; ${counts.join(', ')}`,
  );
  for (const { rule, detail } of violations.slice(0, LINES_MAX)) say(`  ${rule}: ${detail}`);
  for (const text of pending.slice(0, LINES_MAX)) say(`  pending: ${text}`);
  if (outcome !== 'held')
    say(`  again: npm run sim -- --seed ${options.seed}${flagsOf(line.fixed)} --log`);
}

async function runSeed(line: Line, seed: string): Promise<number> {
  const options = drawOptions(seed, line.fixed);
  if (!line.json) say(`seed ${seed}: ${JSON.stringify(options)}`);
  const listen = line.trace
    ? (count: number, event: string, args: readonly unknown[]): void => {
        process.stderr.write(`${count} ${eventText(event, args)}\n`);
      }
    : undefined;
  const scenario = new Scenario(options, createWorld(options, listen));
  const logs = (): string[] => scenario.world.hosts.flatMap(({ log }) => log).sort();
  try {
    const result = await scenario.run();
    report(line, result);
    if (line.log && result.outcome !== 'held') describeFailure(scenario, result, logs());
    if (!line.twice) return EXIT[result.outcome];
    const again = await new Scenario(options).run();
    if (again.hash === result.hash) return EXIT[result.outcome];
    say(`  seed ${seed} is not deterministic: ${result.hash} then ${again.hash}`);
    return EXIT.crash;
  } catch (thrown) {
    say(`  crash: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`);
    say(`  again: npm run sim -- --seed ${seed}${flagsOf(line.fixed)} --log`);
    if (line.log) for (const text of logs()) say(text);
    return EXIT.crash;
  }
}

/** Logs of all peers, and every copy of each task that is named in what went wrong. */
function describeFailure(
  scenario: Scenario,
  result: ScenarioResult,
  logs: readonly string[],
): void {
  for (const text of logs) say(text);
  const about = [...result.violations.map(({ detail }) => detail), ...result.pending].join('\n');
  const ids = [...scenario.world.replicas().keys()].filter((id) => about.includes(short(id)));
  for (const id of ids.slice(0, LINES_MAX)) {
    say(`task ${id}`);
    for (const { host, storeId, record } of scenario.world.replicas().get(id) ?? []) {
      say(`  ${host} ${storeId.slice(0, 8)} holds it; home ${record.firstHome.join(' ')}`);
      for (const { store, seq, value } of record.facts)
        say(`      ${store.slice(0, 8)}/${seq} ${JSON.stringify(value)}`);
    }
    for (const run of scenario.world.runs)
      if (run.taskId === id) say(`  ran: ${JSON.stringify(run)}`);
    for (const told of scenario.world.told)
      if (told.id === id) say(`  told: ${JSON.stringify(told)}`);
  }
}

async function main(): Promise<number> {
  const line = parseLine(process.argv.slice(2));
  if (typeof line === 'string') {
    process.stderr.write(`${line}\n${USAGE}`);
    return EXIT.usage;
  }
  let worst: number = EXIT.held;
  // A promise of the product that nobody caught: as bad as a throw.
  process.on('unhandledRejection', (reason) => {
    say(
      `  crash: unhandled rejection: ${reason instanceof Error ? (reason.stack ?? '') : String(reason)}`,
    );
    worst = EXIT.crash;
  });
  for (const seed of line.seeds) worst = Math.max(worst, await runSeed(line, seed));
  return worst;
}

process.exitCode = await main();
