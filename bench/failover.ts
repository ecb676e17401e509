/**
 * How soon a task starts again elsewhere, with default settings: after kill -9 of its worker program, of the daemon that
 * runs it, of the one that owns it, of both, and after the runner's host stands still. A pause of 5 s restarts nothing.
 *
 *   npm run bench -- failover [--rounds 20] [--only worker,runner,owner,both,freeze,pause] [--peers 5]
 */
import type { Bench, Outcome, Setting } from './common/bench.ts';
import type { Shape, Values } from './common/options.ts';
import { percentile, rounded } from './common/statistics.ts';
import { atMost, type Target } from './common/targets.ts';
import { Stage } from './failover/stage.ts';
import { RESTART_MS_MAX, STRIKES, type StrikeName, type Struck } from './failover/strikes.ts';

const NAMES = Object.keys(STRIKES) as StrikeName[];
/** A strike at two of five leaves a majority. */
const PEERS_MIN = 5;

const shape = {
  rounds: { kind: 'number', default: 20, min: 1, max: 1_000 },
  only: { kind: 'names', default: NAMES, of: NAMES },
  peers: { kind: 'number', default: PEERS_MIN, min: PEERS_MIN, max: 9 },
} satisfies Shape;

type Options = Values<typeof shape>;

export interface StrikeFigures {
  readonly rounds: number;
  readonly p50_ms: number | null;
  readonly max_ms: number | null;
  /** Started again: not in time, though it should have been; though it should not. */
  readonly late: number;
  readonly needless: number;
}

export function figuresOf(all: readonly Struck[], restarts: boolean): StrikeFigures {
  const times = all.flatMap(({ restartMs }) => (restartMs === undefined ? [] : [restartMs]));
  // One that never started took longer than any other: as long as it was waited for, at least.
  const late = restarts ? all.length - times.length : 0;
  const withLate = [...times, ...Array<number>(late).fill(RESTART_MS_MAX)];
  const at = (share: number): number | null => {
    const value = percentile(withLate, share);
    return value === undefined ? null : rounded(value, 1);
  };
  const needless = all.reduce((sum, one) => sum + one.needless, 0);
  return { rounds: all.length, p50_ms: at(0.5), max_ms: at(1), late, needless };
}

async function measure(options: Options, setting: Setting): Promise<Outcome> {
  const stage = await Stage.up(options.peers, setting);
  const figures: Partial<Record<StrikeName, StrikeFigures>> = {};
  for (const name of NAMES) {
    if (!options.only.includes(name)) continue;
    const all: Struck[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      const struck = await STRIKES[name](stage, round);
      all.push(struck);
      const took = struck.restartMs === undefined ? '-' : `${rounded(struck.restartMs, 1)} ms`;
      setting.say(`${name} ${round + 1}: ${took}, ${struck.needless} needless`);
    }
    figures[name] = figuresOf(all, name !== 'pause');
  }
  await stage.network.down({ graceMs: 0 });
  return { figures, targets: targetsOf(figures) };
}

export function targetsOf(figures: Partial<Record<StrikeName, StrikeFigures>>): Target[] {
  const { worker, runner, owner, both, freeze, pause } = figures;
  const daemons = { runner, owner, both };
  return [
    atMost('a worker program dies: restarted, p50 ms', worker?.p50_ms, 50, 20),
    ...Object.entries(daemons).flatMap(([name, one]) => [
      atMost(`kill -9 of ${name}: started elsewhere, p50 ms`, one?.p50_ms, 1_000, 500),
      atMost(`kill -9 of ${name}: started elsewhere, max ms`, one?.max_ms, 3_000, 1_000),
    ]),
    atMost('runner frozen: restarted elsewhere, max ms', freeze?.max_ms, 12_000, 8_500),
    atMost('restarts after a freeze of 5 s', pause?.needless, 0, 0),
    atMost('restarts of what ran elsewhere as its owner died', owner?.needless, 0, 0),
  ];
}

export const failover: Bench<typeof shape> = { shape, needs: () => ({}), measure };
