/** What is asked of the simulator: which seeds, which worlds, which faults. Pure; flags are read elsewhere. */
import { type Random, randomBelow, SeededRandom } from '../base/random.ts';
import { FAULT_NAMES, type FaultName } from './faults.ts';
import { REJECTED_MS } from './odd-tasks.ts';
import { between, drawOptions, MODES, type Mode, pick, type ScenarioOptions } from './options.ts';

export interface SimRequest {
  readonly seeds: readonly string[];
  readonly peers: number | undefined;
  /** Of virtual time in which clients and faults act. */
  readonly minutes: number | undefined;
  /** Faults that may strike. */
  readonly faults: readonly FaultName[];
  /** A smaller story of a given kind instead of a storm. */
  readonly mode: Mode | undefined;
  /** Put in place of what is drawn: how a shrunken run is told. */
  readonly overrides: Partial<ScenarioOptions>;
}

export const PEERS_MAX = 9;
export const MINUTES_MAX = 24 * 60;
const STORM_MS_MIN = 45_000;
const STORM_MS_MAX = 75_000;
const MINUTE_MS = 60_000;
/** With a wait for every third and a cancel for every sixth: 100 client operations a minute and more. */
const TASKS_MIN = 72;
const TASKS_MAX = 100;
/** One of so many stories is a long one of a small mesh: there what takes most of an hour comes to its end. */
const LONG_ONE_IN = 40;
const LONG_MS = REJECTED_MS + 5 * MINUTE_MS;
/** One of so many stories is one in which what is over is soon forgotten, and a host is away for longer than that. */
const FORGETFUL_ONE_IN = 15;
/** Longer than any pause, stall and partition of the other faults together: as a month is in earnest. */
const FORGETFUL_TTL_MS = 100_000;
const FORGETFUL_MS = 4 * MINUTE_MS;
/** One of so many stories is that of a mesh with more members than links. */
const SPARSE_ONE_IN = 6;

/** Of local programs, besides. */
const REQUESTS_MIN = 10;
const REQUESTS_MAX = 40;

/** Not every fault in every world: what a few do together shows best where the others are away. */
function drawFaults(random: Random, allowed: readonly FaultName[]): FaultName[] {
  const share = between(random, 1, 4);
  const drawn = allowed.filter(() => randomBelow(random, 4) < share);
  return drawn.length > 0 ? drawn : [...allowed];
}

/** Everything that is drawn before the first event. */
export function optionsOf(request: SimRequest, seed: string): ScenarioOptions {
  const { peers, minutes, faults, mode, overrides } = request;
  const random = new SeededRandom(`storm ${seed}`);
  const drawnPeers = pick(random, [1, 2, 3, 3, 4, 5, 5, 5, 6, 7, PEERS_MAX]) ?? 5;
  const storyMs =
    minutes === undefined ? between(random, STORM_MS_MIN, STORM_MS_MAX) : minutes * MINUTE_MS;
  const scale = Math.max(1, storyMs / MINUTE_MS);
  const isLong = minutes === undefined && randomBelow(random, LONG_ONE_IN) === 0;
  const storm: Partial<ScenarioOptions> = {
    mode: 'storm',
    peers: drawnPeers,
    storyMs,
    tasks: Math.round(between(random, TASKS_MIN, TASKS_MAX) * scale),
    faults: faults.length === 0 ? 0 : Math.round(between(random, 3, 14) * scale),
    chosen: drawFaults(random, faults),
    endless: randomBelow(random, 4),
    hasty: randomBelow(random, 3) * 10,
    repeats: randomBelow(random, 3) * 50,
    requests: Math.round(between(random, REQUESTS_MIN, REQUESTS_MAX) * scale),
  };
  const isForgetful =
    minutes === undefined &&
    !isLong &&
    faults.includes('away_too_long') &&
    randomBelow(random, FORGETFUL_ONE_IN) === 0;
  const forgetful: Partial<ScenarioOptions> = isForgetful
    ? {
        peers: between(random, 3, 5),
        ttlMs: FORGETFUL_TTL_MS,
        storyMs: FORGETFUL_MS,
        // In earnest an id may be repeated for an hour, and is remembered for a month.
        repeats: 0,
        chosen: [...new Set([...(storm.chosen ?? []), 'away_too_long'])],
      }
    : {};
  // A stream of its own: what else is drawn stays as it was.
  const sparse = new SeededRandom(`links ${seed}`);
  const isSparse = !isLong && !isForgetful && randomBelow(sparse, SPARSE_ONE_IN) === 0;
  const few = isSparse
    ? { links: between(sparse, 2, 4), peers: between(sparse, 5, PEERS_MAX) }
    : {};
  const long = isLong ? { peers: between(random, 1, 2), storyMs: LONG_MS } : {};
  return drawOptions(seed, {
    ...(mode === undefined
      ? { ...storm, ...long, ...forgetful, ...few }
      : { mode, ...(mode === 'storm' ? { chosen: faults } : {}) }),
    ...(peers === undefined ? {} : { peers }),
    ...overrides,
  });
}

/** `all`, `none`, or names with commas; an unknown one is named in the refusal. */
export function parseFaults(text: string): readonly FaultName[] | { readonly unknown: string } {
  if (text === 'all') return FAULT_NAMES;
  if (text === 'none') return [];
  const names = text.split(',').filter((name) => name !== '');
  const unknown = names.find((name) => !FAULT_NAMES.some((known) => known === name));
  if (unknown !== undefined) return { unknown };
  return FAULT_NAMES.filter((name) => names.includes(name));
}

/** What a failed run printed, or a part of it; else what is wrong with it. */
export function parseOverrides(
  value: unknown,
): Partial<ScenarioOptions> | { readonly wrong: string } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { wrong: 'must be a JSON object, as a failed run prints it' };
  const sample: Readonly<Record<string, unknown>> = { ...drawOptions('sample') };
  for (const [key, item] of Object.entries(value)) {
    if (!(key in sample)) return { wrong: `there is no option '${key}'` };
    if (typeof item !== typeof sample[key]) return { wrong: `${key} is a ${typeof sample[key]}` };
    if (typeof item === 'number' && !(Number.isSafeInteger(item) && item >= 0))
      return { wrong: `${key} is a whole number` };
  }
  const { mode, chosen, peers, seed, ...rest }: Partial<ScenarioOptions> = value;
  if (seed !== undefined) return { wrong: 'the seed is given by --seed' };
  if (peers !== undefined && (peers < 1 || peers > PEERS_MAX))
    return { wrong: `peers is from 1 to ${PEERS_MAX}` };
  if (mode !== undefined && !MODES.includes(mode)) return { wrong: `mode is ${MODES.join(', ')}` };
  const faults = chosen === undefined ? undefined : parseFaults([chosen].flat().join(','));
  if (faults !== undefined && 'unknown' in faults)
    return { wrong: `there is no fault '${faults.unknown}'` };
  return {
    ...rest,
    ...(mode === undefined ? {} : { mode }),
    ...(peers === undefined ? {} : { peers }),
    ...(faults === undefined ? {} : { chosen: faults }),
  };
}

/** What a smaller world may leave out, the largest cuts first. */
export function smaller(options: ScenarioOptions): Partial<ScenarioOptions>[] {
  const { peers, tasks, faults, storyMs, workers, chosen, requests } = options;
  const halves = (value: number, min: number): number[] =>
    [Math.floor(value / 2), Math.floor((value * 3) / 4), value - 1].filter(
      (next, i, all) => next >= min && next < value && all.indexOf(next) === i,
    );
  return [
    ...halves(faults, 0).map((next) => ({ faults: next })),
    ...(requests > 0 ? [{ requests: 0 }] : []),
    ...halves(tasks, 1).map((next) => ({ tasks: next })),
    ...halves(peers, 1).map((next) => ({ peers: next })),
    ...chosen.map((name) => ({ chosen: chosen.filter((other) => other !== name) })),
    ...(workers > 0 ? [{ workers: 0 }] : []),
    ...halves(Math.floor(storyMs / 1_000), 1).map((next) => ({ storyMs: next * 1_000 })),
  ];
}
