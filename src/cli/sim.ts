/** `covey sim`: whole meshes in virtual time, from a seed. The one verb that loads the simulator. */
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { FAULTS, type FaultName } from '../sim/faults.ts';
import { MODES, type Mode, type ScenarioOptions } from '../sim/options.ts';
import {
  MINUTES_MAX,
  PEERS_MAX,
  parseFaults,
  parseOverrides,
  type SimRequest,
} from '../sim/request.ts';
import { runSim, SIM_EXIT } from '../sim/runs.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { integer, jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

const SEEDS_MAX = 1_000_000;
const SEED_DEFAULT = '1';

interface Options {
  readonly seed?: string;
  readonly seeds?: number;
  readonly peers?: number;
  readonly minutes?: number;
  readonly faults: readonly FaultName[];
  readonly mode?: Mode;
  readonly options?: Partial<ScenarioOptions>;
  readonly trace?: string;
  readonly json?: boolean;
  readonly log?: boolean;
  readonly twice?: boolean;
  readonly shrink?: boolean;
}

function faults(text: string): readonly FaultName[] {
  const parsed = parseFaults(text);
  if ('unknown' in parsed)
    throw new InvalidArgumentError(`there is no fault '${parsed.unknown}' (see covey sim --help)`);
  return parsed;
}

function mode(text: string): Mode {
  const found = MODES.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`must be one of ${MODES.join(', ')}`);
  return found;
}

function options(text: string): Partial<ScenarioOptions> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('is not JSON');
  }
  const parsed = parseOverrides(value);
  if ('wrong' in parsed) throw new InvalidArgumentError(parsed.wrong);
  return parsed;
}

const faultLines = (): string =>
  Object.entries(FAULTS)
    .map(([name, { what }]) => `  ${name.padEnd(18)} ${what}`)
    .join('\n');

/** The seeds: one, or N whole numbers from the first on. */
function seedsOf({ seed = SEED_DEFAULT, seeds }: Options): string[] | undefined {
  if (seeds === undefined) return [seed];
  const first = Number(seed);
  if (!Number.isSafeInteger(first)) return undefined;
  return Array.from({ length: seeds }, (_, i) => String(first + i));
}

export const verb: Verb = {
  configure(command: Command) {
    command
      .option('--seed <seed>', `the world of this seed (default: ${SEED_DEFAULT})`)
      .option(
        '--seeds <n>',
        'so many seeds, whole numbers from --seed on, at most 1000000',
        integer(1, SEEDS_MAX),
      )
      .option(
        '--peers <n>',
        `so many peers instead of a drawn number, 1 to ${PEERS_MAX}`,
        integer(1, PEERS_MAX),
      )
      .option(
        '--minutes <n>',
        `virtual minutes of clients and faults, 1 to ${MINUTES_MAX}`,
        integer(1, MINUTES_MAX),
      )
      .addOption(
        new Option('--faults <list>', 'all, none, or names from below with commas')
          .argParser(faults)
          .default(faults('all'), 'all'),
      )
      .option('--mode <mode>', `a smaller story of this kind: ${MODES.join(', ')}`, mode)
      .option('--options <json>', 'in place of what is drawn, as a failed run prints it', options)
      .option('--trace <file>', 'write every event and port call to a file')
      .option('--log', 'after a failure also the logs of all peers and all copies')
      .option('--twice', 'run each seed twice and compare the trace hashes')
      .option('--shrink', 'look for a smaller world that still fails')
      .addHelpText(
        'after',
        `\nFaults:\n${faultLines()}\n\nExit code: 0 held, 10 safety violated, 11 not over in time, 12 crashed.\n`,
      );
    jsonFlag(command);
  },
  async run(cli, command) {
    const given = command.opts<Options>();
    const seeds = seedsOf(given);
    if (seeds === undefined) {
      return cli.usage('with --seeds the first seed must be a whole number');
    }
    const request: SimRequest = {
      seeds,
      peers: given.peers,
      minutes: given.minutes,
      faults: given.faults,
      mode: given.mode,
      overrides: given.options ?? {},
    };
    return simulate(cli, given, request);
  },
};

async function simulate(cli: Cli, given: Options, request: SimRequest): Promise<number> {
  const file = given.trace === undefined ? undefined : createWriteStream(given.trace);
  let failure: unknown;
  file?.on('error', (thrown) => {
    failure = thrown;
  });
  let crashed: unknown;
  // A promise of the product that nobody caught is as bad as a throw.
  const onRejection = (reason: unknown): void => {
    crashed ??= reason;
  };
  process.on('unhandledRejection', onRejection);
  try {
    const exit = await runSim(request, {
      say: (line) => void cli.print(`${line}\n`),
      trace: file === undefined ? undefined : (line) => file.write(`${line}\n`),
      json: given.json === true,
      log: given.log === true,
      twice: given.twice === true,
      shrink: given.shrink === true,
    });
    file?.end();
    if (file !== undefined && failure === undefined) await finished(file);
    if (failure !== undefined) await cli.say(`the trace was not written: ${String(failure)}`);
    if (crashed === undefined) return failure === undefined ? exit : Math.max(exit, EXIT.failure);
    await cli.say(
      `crash: a promise was rejected and nobody listened: ${crashed instanceof Error ? crashed.stack : String(crashed)}`,
    );
    return SIM_EXIT.crash;
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}
