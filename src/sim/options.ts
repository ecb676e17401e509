/** What is drawn from a seed before the first event of a scenario, and the world that follows from it. */
import { type Random, randomBelow, SeededRandom } from '../base/random.ts';
import type { Skew } from './clock.ts';
import { World } from './world.ts';

export const MODES = ['calm', 'crashes', 'cuts', 'wild', 'storm'] as const;
export type Mode = (typeof MODES)[number];

/** Everything that is drawn before the first event. */
export interface ScenarioOptions {
  readonly seed: string;
  readonly mode: Mode;
  readonly peers: number;
  readonly tasks: number;
  readonly slots: number;
  readonly workers: number;
  readonly faults: number;
  /** Requests of local programs on the control sockets, some of them wrong; 0: there are no sockets. */
  readonly requests: number;
  /** Clients submit and faults happen within this time. */
  readonly storyMs: number;
  readonly taskMsMax: number;
  readonly delayMsMax: number;
  readonly diskMsMax: number;
  readonly shutdownMs: number;
  readonly killGraceMs: number;
  /** Of the tasks: their commands never end, and their clients cancel them for as long as it takes. */
  readonly endless: number;
  /** Of a hundred tasks so many are canceled as soon as they are acknowledged. */
  readonly hasty: number;
  /** Of a hundred receipts so many never reach their client, which submits again; as after so many restarts of a host. */
  readonly repeats: number;
  /** Tombstones are kept so long, and a store may be away so long; final tasks a third of it. 0: 30 days, and one. */
  readonly ttlMs: number;
  /** `max_connections`, with few observers: a partial mesh where there are more peers than that. 0: as configured by default. */
  readonly links: number;
  /** Faults of the table that may strike; only in a storm. */
  readonly chosen: readonly string[];
}

export const pick = <T>(random: Random, items: readonly T[]): T | undefined =>
  items[randomBelow(random, items.length)];
export const between = (random: Random, min: number, max: number): number =>
  min + randomBelow(random, max - min + 1);

export function drawOptions(seed: string, fixed: Partial<ScenarioOptions> = {}): ScenarioOptions {
  const random = new SeededRandom(`options ${seed}`);
  const roll = randomBelow(random, 10);
  const mode: Mode = roll < 2 ? 'calm' : roll < 6 ? 'crashes' : 'wild';
  return {
    seed,
    mode,
    peers: between(random, 3, 5),
    tasks: between(random, 20, 60),
    slots: between(random, 1, 4),
    workers: randomBelow(random, 3),
    faults: between(random, 2, 8),
    requests: 0,
    storyMs: between(random, 5_000, 40_000),
    taskMsMax: pick(random, [50, 500, 3_000, 8_000]) ?? 500,
    delayMsMax: pick(random, [1, 2, 20, 80]) ?? 2,
    diskMsMax: pick(random, [1, 3, 20, 100]) ?? 3,
    shutdownMs: between(random, 0, 5_000),
    killGraceMs: between(random, 100, 2_000),
    endless: 0,
    hasty: 0,
    repeats: 0,
    ttlMs: 0,
    links: 0,
    chosen: [],
    ...fixed,
  };
}

/** As few observers as may be: with eight of them a mesh of nine is a full one, whatever its limit. */
const sparse = (links: number) => ({ max_connections: links, observers: 2 });

const forgetting = (ttlMs: number) => ({
  tombstone_ttl: `${ttlMs}ms`,
  retention_age: `${Math.floor(ttlMs / 3)}ms`,
});

export function createWorld(
  options: ScenarioOptions,
  listen?: (count: number, event: string, args: readonly unknown[]) => void,
): World {
  const random = new SeededRandom(`clocks ${options.seed}`);
  const skews = Array.from(
    { length: options.peers },
    (): Skew => ({
      bootMs: randomBelow(random, 10_000_000),
    }),
  );
  return new World({
    seed: options.seed,
    peers: options.peers,
    slots: options.slots,
    workers: options.workers,
    skews,
    sockets: options.mode === 'storm',
    delayMs: { min: 0.1, max: options.delayMsMax },
    diskMsMax: options.diskMsMax,
    config: {
      shutdown_timeout: `${options.shutdownMs}ms`,
      kill_grace: `${options.killGraceMs}ms`,
      ...(options.ttlMs === 0 ? {} : forgetting(options.ttlMs)),
      ...(options.links === 0 ? {} : sparse(options.links)),
    },
    ...(listen === undefined ? {} : { listen }),
  });
}
