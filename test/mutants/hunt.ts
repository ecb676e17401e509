/** Hunts one mutant: seed after seed, its modes in turn, until one does not hold that holds without the mutant. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Mutant, MutantMode } from './mutant.ts';
import type { SeedLine } from './seeds.ts';

/** Seeds of one process: loading the copy costs as much as a seed or two. */
const CHUNK = 8;
/** A world takes half a second, a hard one some; a mutant that is still silent then hangs. */
const SILENCE_MS = 120_000;

export interface Place {
  readonly mode: MutantMode;
  readonly seed: number;
  /** What is not drawn from the seed. */
  readonly world: NonNullable<Mutant['world']>;
}

export interface Catch {
  readonly name: string;
  readonly breaks: string;
  /** Seeds that were used, the one that caught it included. */
  readonly seeds: number;
  readonly outcome: SeedLine['outcome'] | 'alive' | 'too_crude' | 'hangs';
  /** What said so, and in which world. */
  readonly rule: string;
  readonly at: Place | undefined;
  /** Seeds on the way that do not hold without the mutant either: nothing was caught there. */
  readonly passedOver: readonly Place[];
}

/** What became of a chunk: how many seeds held, and the line of the one that did not. */
interface Chunk {
  readonly held: number;
  readonly failed: SeedLine | undefined;
  readonly hangs: boolean;
}

export interface Hunter {
  /** Where the program's own seeds.ts lies. */
  readonly here: string;
  readonly pristine: string;
  readonly seedsMax: number;
  readonly limitMs: number;
}

export async function runChunk(
  hunter: Pick<Hunter, 'here'>,
  copy: string,
  first: Place,
  count: number,
): Promise<Chunk> {
  const { mode, seed, world } = first;
  const options = [mode, String(seed), String(count), JSON.stringify(world)];
  const args = [join(hunter.here, 'seeds.ts'), copy, ...options];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let hangs = false;
  const watchdog = setTimeout(() => {
    hangs = true;
    child.kill('SIGKILL');
  }, SILENCE_MS);
  let errors = '';
  child.stderr.on('data', (part) => {
    errors = `${errors}${String(part)}`.slice(-2_000);
  });
  const closed = once(child, 'close');
  let held = 0;
  let failed: SeedLine | undefined;
  for await (const text of createInterface({ input: child.stdout })) {
    watchdog.refresh();
    if (!text.startsWith('{')) continue;
    const line = JSON.parse(text) as SeedLine;
    if (line.outcome === 'held') held += 1;
    else failed ??= line;
  }
  const [code] = await closed;
  clearTimeout(watchdog);
  if (failed === undefined && held < count && !hangs) {
    // Ended without a word: thrown where nobody could catch it.
    failed = { seed: first.seed + held, outcome: 'crash', rule: `exit ${code}: ${errors}` };
  }
  return { held, failed, hangs };
}

/** A daemon that does not even start or join says nothing about the checkers. */
const isTooCrude = ({ seed, outcome, rule }: SeedLine): boolean =>
  seed === 1 &&
  outcome === 'crash' &&
  /did not come together|not settled within|was not created|did not start|SyntaxError|is not defined/.test(
    rule,
  );

export async function hunt(hunter: Hunter, mutant: Mutant, copy: string): Promise<Catch> {
  const { name, breaks, modes, world = {} } = mutant;
  const passedOver: Place[] = [];
  const about = { name, breaks, passedOver };
  const untilMs = performance.now() + hunter.limitMs;
  let seeds = 0;
  const next = new Map(modes.map((mode) => [mode, 1]));
  for (let turn = 0; seeds < hunter.seedsMax && performance.now() < untilMs; turn++) {
    const mode = modes[turn % modes.length] ?? 'storm';
    const seed = next.get(mode) ?? 1;
    const count = Math.min(CHUNK, hunter.seedsMax - seeds);
    const chunk = await runChunk(hunter, copy, { mode, seed, world }, count);
    seeds += chunk.held + (chunk.failed === undefined ? 0 : 1);
    next.set(mode, seed + chunk.held + (chunk.failed === undefined ? 0 : 1));
    const at = { mode, seed: chunk.failed?.seed ?? seed + chunk.held, world };
    if (chunk.hangs) return { ...about, seeds, outcome: 'hangs', rule: 'no end', at };
    if (chunk.failed === undefined) continue;
    const { outcome, rule } = chunk.failed;
    if (isTooCrude(chunk.failed)) return { ...about, seeds, outcome: 'too_crude', rule, at };
    // What fails without the mutant too says nothing about it.
    const without = await runChunk(hunter, hunter.pristine, at, 1);
    if (without.failed === undefined) return { ...about, seeds, outcome, rule, at };
    passedOver.push(at);
  }
  return { ...about, seeds, outcome: 'alive', rule: '', at: undefined };
}

/** Seeds that do not hold even without a mutant, up to the highest of each kind of world by which one was caught. */
export async function baseline(hunter: Hunter, places: readonly Place[]): Promise<Place[]> {
  const failed: Place[] = [];
  const highest = new Map<string, Place>();
  for (const place of places) {
    const kind = JSON.stringify([place.mode, place.world]);
    if ((highest.get(kind)?.seed ?? 0) < place.seed) highest.set(kind, place);
  }
  for (const last of highest.values()) {
    for (let seed = 1; seed <= last.seed; ) {
      const chunk = await runChunk(
        hunter,
        hunter.pristine,
        { ...last, seed },
        last.seed - seed + 1,
      );
      if (chunk.failed === undefined && !chunk.hangs) break;
      failed.push({ ...last, seed: seed + chunk.held });
      seed += chunk.held + 1;
    }
  }
  return failed;
}
