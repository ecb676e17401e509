/**
 * Runs the worlds of seeds and says what became of them: the drawn options first, then the verdict; of a failure
 * the story, and on demand a smaller world that still fails.
 */
import { short } from './copies.ts';
import { Coverage } from './coverage.ts';
import { createWorld, type ScenarioOptions } from './options.ts';
import { optionsOf, type SimRequest, smaller } from './request.ts';
import { Scenario, type ScenarioResult } from './scenarios.ts';
import { storyOf } from './story.ts';
import { eventText } from './trace.ts';

/** As `covey sim --help` says them. */
export const SIM_EXIT = { held: 0, safety: 10, liveness: 11, crash: 12 } as const;
const LINES_MAX = 40;
/** Worlds that a shrinking may try. */
const SHRINK_RUNS_MAX = 120;

/** The exit code of a batch, from the worst of its seeds. */
export const exitOfBatch = (
  worst: number,
  coverage: Pick<Coverage, 'isPoor'>,
  fullBatchSeeds?: number,
): number => (coverage.isPoor(fullBatchSeeds) ? Math.max(worst, SIM_EXIT.crash) : worst);

export interface SimOutput {
  /** A line of the report. */
  readonly say: (line: string) => void;
  /** A line of the trace. */
  readonly trace: ((line: string) => void) | undefined;
  readonly json: boolean;
  /** The logs of all peers after a failure. */
  readonly log: boolean;
  /** Runs each seed twice and compares. */
  readonly twice: boolean;
  readonly shrink: boolean;
}

interface Told {
  readonly exit: number;
  readonly result: ScenarioResult | undefined;
}

/** The worst exit code of all seeds; a full batch that never reached something exits as a crash of the simulator. */
export async function runSim(
  request: SimRequest,
  output: SimOutput,
  fullBatchSeeds?: number,
): Promise<number> {
  const coverage = new Coverage();
  let worst: number = SIM_EXIT.held;
  for (const seed of request.seeds) {
    const { exit, result } = await runSeed(request, seed, output);
    if (result !== undefined) coverage.add(result);
    worst = Math.max(worst, exit);
    if (exit !== SIM_EXIT.held && output.shrink) await shrink(request, seed, exit, output);
  }
  if (request.mode !== undefined) return worst;
  if (output.json) output.say(JSON.stringify({ coverage: coverage.toJson() }));
  else output.say(coverageText(coverage));
  return exitOfBatch(worst, coverage, fullBatchSeeds);
}

function coverageText(coverage: Coverage): string {
  const { seeds, virtual_hours, missing } = coverage.toJson();
  const rest = missing.length === 0 ? 'nothing missing' : `not reached: ${missing.join(', ')}`;
  return `coverage: ${seeds} seeds, ${virtual_hours} virtual hours, ${coverage.shares()}; ${rest}`;
}

async function runSeed(request: SimRequest, seed: string, output: SimOutput): Promise<Told> {
  const { say, trace } = output;
  const options = optionsOf(request, seed);
  if (!output.json) say(`seed ${seed}: ${JSON.stringify(options)}`);
  const listen =
    trace === undefined
      ? undefined
      : (count: number, event: string, args: readonly unknown[]): void =>
          trace(`${count} ${eventText(event, args)}`);
  let scenario: Scenario | undefined;
  try {
    scenario = new Scenario(options, createWorld(options, listen));
    const result = await scenario.run();
    if (output.json) say(JSON.stringify(result));
    else report(options, result, say);
    if (result.outcome !== 'held' && !output.json) tellStory(scenario, result, output);
    if (!output.twice) return { exit: SIM_EXIT[result.outcome], result };
    const again = await new Scenario(options).run();
    if (again.hash === result.hash) return { exit: SIM_EXIT[result.outcome], result };
    say(`  seed ${seed} is not deterministic: ${result.hash} then ${again.hash}`);
    return { exit: SIM_EXIT.crash, result };
  } catch (thrown) {
    const why = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    say(`  crash: ${why}`);
    say(`  again: ${again(options)}`);
    if (output.log && scenario !== undefined) for (const line of logsOf(scenario)) say(line);
    return { exit: SIM_EXIT.crash, result: undefined };
  }
}

/** The very options, since what is drawn may change with the simulator. */
const again = ({ seed, ...options }: ScenarioOptions): string =>
  `covey sim --seed ${seed} --options '${JSON.stringify(options)}' --log`;

function report(options: ScenarioOptions, result: ScenarioResult, say: SimOutput['say']): void {
  const { outcome, hash, violations, pending } = result;
  const counts = Object.entries(result.counts).map(([key, value]) => `${key} ${value}`);
  const seconds = Math.round(result.virtualMs / 1_000);
  const text = `${result.events} events, ${seconds} s; ${counts.join(', ')}`;
  say(`  ${outcome}  ${hash.slice(0, 16)}  ${text}`);
  for (const { rule, detail } of violations.slice(0, LINES_MAX)) say(`  ${rule}: ${detail}`);
  for (const line of pending.slice(0, LINES_MAX)) say(`  pending: ${line}`);
  if (outcome !== 'held') say(`  again: ${again(options)}`);
}

const logsOf = (scenario: Scenario): string[] =>
  scenario.world.hosts.flatMap(({ log }) => log).sort();

function tellStory(scenario: Scenario, result: ScenarioResult, { say, log }: SimOutput): void {
  const { world } = scenario;
  say('  story:');
  for (const line of storyOf(world, result.violations, result.pending)) say(`    ${line}`);
  if (!log) return;
  for (const line of logsOf(scenario)) say(line);
  const about = [...result.violations.map(({ detail }) => detail), ...result.pending].join('\n');
  const copies = world.replicas();
  const ids = [...copies.keys()].filter((id) => about.includes(short(id)));
  for (const id of ids.slice(0, LINES_MAX)) {
    say(`task ${id}`);
    for (const { host, storeId, record } of copies.get(id) ?? []) {
      say(`  ${host} ${storeId.slice(0, 8)} holds it; home ${record.firstHome.join(' ')}`);
      for (const { store, seq, value } of record.facts)
        say(`      ${store.slice(0, 8)}/${seq} ${JSON.stringify(value)}`);
    }
  }
}

/** Greedy: every cut that still fails in the same way is kept, until none does. */
async function shrink(
  request: SimRequest,
  seed: string,
  exit: number,
  { say }: SimOutput,
): Promise<void> {
  const quiet: SimOutput = {
    say: () => undefined,
    trace: undefined,
    json: false,
    log: false,
    twice: false,
    shrink: false,
  };
  let best = optionsOf(request, seed);
  let runs = 0;
  for (let isSmaller = true; isSmaller && runs < SHRINK_RUNS_MAX; ) {
    isSmaller = false;
    for (const cut of smaller(best)) {
      if (runs >= SHRINK_RUNS_MAX) break;
      runs += 1;
      const overrides = { ...best, ...cut };
      const told = await runSeed({ ...request, overrides }, seed, quiet);
      if (told.exit !== exit) continue;
      best = overrides;
      isSmaller = true;
      break;
    }
  }
  const { peers, tasks, faults, storyMs, chosen } = best;
  say(
    `  shrunk in ${runs} runs: ${peers} peers, ${tasks} tasks, ${faults} faults of ${chosen.join(', ') || 'its mode'}, ${storyMs / 1_000} s`,
  );
  await runSeed({ ...request, overrides: best }, seed, { ...quiet, say });
}
