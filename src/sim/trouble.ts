/** What faults have in common: what they may use of their story, and how long things take. */
import { type Random, randomBelow, randomFloat } from '../base/random.ts';
import type { Oddity } from './odd-tasks.ts';
import { between, pick } from './options.ts';
import type { RequestName } from './programs.ts';
import type { World } from './world.ts';

/** What a fault may use of its story. */
export interface Trouble {
  readonly world: World;
  readonly random: Random;
  /** Does something so much later in the story; what is left when the faults end is done then. */
  readonly later: (delayMs: number, act: () => void) => void;
  /** A client submits a task of this kind, anywhere or there. False: there is no daemon that could take it. */
  readonly submit: (what: Oddity, at?: number) => boolean;
  /** A local program asks this, anywhere or there. */
  readonly ask: (what: RequestName, at?: number) => void;
  /** Of tombstones and absences in this world; 0: as configured by default, longer than any story. */
  readonly ttlMs: number;
  /** As `submit`, where local programs are at work: what shows a fault to those who run into it. */
  readonly provoke: (what: Oddity, at?: number) => void;
}

export interface Fault {
  readonly what: string;
  readonly strike: (trouble: Trouble) => boolean;
}

/** From 10 ms to 20 s, each magnitude as often as the others: often a moment, sometimes long enough to be convicted. */
export const drawPauseMs = (random: Random): number =>
  Math.floor(10 ** (1 + 3.3 * randomFloat(random)));
export const pauseMs = ({ random }: Pick<Trouble, 'random'>): number => drawPauseMs(random);

const running = ({ world }: Trouble): number[] =>
  world.hosts.flatMap((host, i) => (host.state === 'up' && !host.isFrozen ? [i] : []));
export const oneOf = (trouble: Trouble): number | undefined =>
  pick(trouble.random, running(trouble));

/** Some of them, one at least, in any order. */
export function someOf(trouble: Trouble, max: number): number[] {
  const left = running(trouble);
  const count = Math.min(left.length, between(trouble.random, 1, Math.max(1, max)));
  return Array.from({ length: count }, () =>
    left.splice(randomBelow(trouble.random, left.length), 1),
  ).flat();
}

export const withOne =
  (strike: (trouble: Trouble, i: number) => boolean) =>
  (trouble: Trouble): boolean => {
    const i = oneOf(trouble);
    return i !== undefined && strike(trouble, i);
  };

/** As an init system does: starts it if it is down, and again when that failed; one that still stops is looked at again. */
export function restart(trouble: Pick<Trouble, 'world' | 'later'>, i: number): void {
  const { world } = trouble;
  const { state } = world.host(i);
  if (state === 'stopping') trouble.later(500, () => restart(trouble, i));
  if (state !== 'down') return;
  void world.restart(i).then((isUp) => {
    if (!isUp) world.clock.after(1_000, () => restart(trouble, i));
  });
}

export function crash(trouble: Trouble, i: number): boolean {
  trouble.world.crash(i);
  trouble.later(pauseMs(trouble), () => restart(trouble, i));
  return true;
}

/** Kills the daemon of a host in the middle of its next sync. */
export function crashInSync(trouble: Trouble, i: number, after: () => void): boolean {
  const { world } = trouble;
  const { disk } = world.host(i);
  disk.onSync = () => {
    disk.onSync = undefined;
    world.clock.after(0, () => {
      if (world.host(i).state !== 'up' || world.isOver) return;
      crash(trouble, i);
      after();
    });
  };
  return true;
}

/** Two hosts, whatever they do. */
export function pairOf({ world, random }: Trouble): [number, number] | undefined {
  const count = world.hosts.length;
  if (count < 2) return undefined;
  const a = randomBelow(random, count);
  return [a, (a + between(random, 1, count - 1)) % count];
}

/** Blocks directions for a while; several such faults may overlap, and the first heal ends them all. */
export function cutOff(
  trouble: Trouble,
  directions: readonly (readonly [number, number])[],
  forMs = silenceMs(trouble) ?? pauseMs(trouble) * 2,
): boolean {
  const { world, later } = trouble;
  if (directions.length === 0) return false;
  world.wires.block(directions);
  askInto(trouble);
  later(forMs, () => world.heal());
  return true;
}

/** So soon after somebody fell silent nobody knows it yet: whoever needs him waits, and is told that he waited in vain. */
const SILENT_MS = [10, 500, 1_000, 1_500, 2_000, 3_000];
/** Two calls that time out, one after the other, and not yet a conviction by one that is alone. */
const IN_VAIN_MS_MIN = 10_500;
const IN_VAIN_MS_MAX = 13_500;

/** Where there are but two hosts nobody else can answer: one of three silences is as long as that takes to show. */
export function silenceMs({ world, random }: Trouble): number | undefined {
  if (world.hosts.length !== 2 || randomBelow(random, 3) > 0) return undefined;
  return between(random, IN_VAIN_MS_MIN, IN_VAIN_MS_MAX);
}

export function askInto({ later, provoke }: Pick<Trouble, 'later' | 'provoke'>): void {
  for (const delayMs of SILENT_MS) later(delayMs, () => provoke('keyed'));
}

export const bothWays = (a: number, b: number): (readonly [number, number])[] => [
  [a, b],
  [b, a],
];

/** All directions between hosts for which it holds. */
export function directionsWhere(
  { world }: Pick<Trouble, 'world'>,
  isCut: (from: number, to: number) => boolean,
): (readonly [number, number])[] {
  const all = [...world.hosts.keys()];
  return all.flatMap((from) =>
    all.filter((to) => from !== to && isCut(from, to)).map((to) => [from, to] as const),
  );
}
