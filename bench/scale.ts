/**
 * What size costs. `load`: tasks done for each second of processor time, and bytes between the daemons for each task, with
 * 1 to 9 daemons. `held`: a mesh that holds many finished and waiting tasks: their memory and disk, how fast it still
 * is, how long a listing takes, and how soon a daemon is back.
 *
 *   npm run bench -- scale [--only load,held] [--peers 1,3,5,9] [--in-flight 256] [--seconds 10]
 *                          [--finished 1000000] [--waiting 100000]
 */
import { join } from 'node:path';
import type { Bench, Outcome, Setting } from './common/bench.ts';
import { meshUp } from './common/mesh.ts';
import type { Shape, Values } from './common/options.ts';
import { loopbackBytes } from './common/proc.ts';
import { rounded } from './common/statistics.ts';
import { atMost, type Target } from './common/targets.ts';
import { type HeldFigures, heldTasks } from './scale/held.ts';
import { coveyOn } from './throughput/deploy.ts';
import { type Around, Crew } from './throughput/measure.ts';
import type { Phase } from './throughput/system.ts';

const PARTS = ['load', 'held'] as const;
const WARM_MS = 1_500;

const shape = {
  only: { kind: 'names', default: PARTS, of: PARTS },
  peers: { kind: 'numbers', default: [1, 3, 5, 9], min: 1, max: 9 },
  'in-flight': { kind: 'number', default: 256, min: 1, max: 100_000 },
  seconds: { kind: 'number', default: 10, min: 1, max: 600 },
  finished: { kind: 'number', default: 1_000_000, min: 0, max: 9_000_000 },
  waiting: { kind: 'number', default: 100_000, min: 0, max: 1_000_000 },
} satisfies Shape;

type Options = Values<typeof shape>;

interface LoadFigures {
  readonly done_per_s: number;
  /** For each second of processor time of all processes, and of the daemons alone. */
  readonly done_per_core_s: number;
  readonly done_per_daemon_core_s: number;
  /** TCP between the daemons, as the kernel counts it; null where the loopback device is not ours alone. */
  readonly bytes_per_task: number | null;
}

function phaseOf(options: Options): Phase {
  const ms = 1_000 * options.seconds;
  const inFlight = options['in-flight'];
  return { name: 'scale', inFlight, bulk: undefined, warmMs: Math.min(WARM_MS, ms), ms };
}

/** Between the opening and the end of a window. */
class LoopbackBytes implements Around {
  #before: Promise<number> | undefined;
  #after: Promise<number> | undefined;
  readonly open = (): void => {
    this.#before = loopbackBytes();
  };
  readonly close = (): void => {
    this.#after = loopbackBytes();
  };

  async sent(): Promise<number> {
    return ((await this.#after) ?? 0) - ((await this.#before) ?? 0);
  }
}

async function loadOf(peers: number, options: Options, setting: Setting): Promise<LoadFigures> {
  const network = await meshUp({ peers, dir: join(setting.dir, `m${peers}`) });
  const deployment = coveyOn(network);
  try {
    const phase = phaseOf(options);
    const crew = await Crew.of(deployment, setting, phase);
    const bytes = new LoopbackBytes();
    const figures = await crew.measure(phase, bytes);
    await crew.end();
    const daemonUs = Object.entries(figures.cpu_us)
      .filter(([name]) => name.startsWith('coveyd'))
      .reduce((sum, [, us]) => sum + us, 0);
    const done = figures.done_per_s * options.seconds;
    return {
      done_per_s: figures.done_per_s,
      done_per_core_s: rounded(1_000_000 / figures.cpu_us_per_task, 1),
      done_per_daemon_core_s: rounded(1_000_000 / daemonUs, 1),
      bytes_per_task: setting.isolated ? rounded((await bytes.sent()) / done, 1) : null,
    };
  } finally {
    await deployment.end();
  }
}

async function measure(options: Options, setting: Setting): Promise<Outcome> {
  const load: Record<string, LoadFigures> = {};
  for (const peers of options.only.includes('load') ? options.peers : []) {
    const figures = await loadOf(peers, options, setting);
    load[peers] = figures;
    setting.say(
      `${peers} daemons: ${figures.done_per_s}/s, ${figures.bytes_per_task} bytes a task`,
    );
  }
  const held = options.only.includes('held')
    ? await heldTasks({ ...options, phase: phaseOf(options) }, setting)
    : undefined;
  return { figures: { load, held }, targets: targetsOf(held, options) };
}

function targetsOf(held: HeldFigures | undefined, { finished, waiting }: Options): Target[] {
  const of = `${finished} finished, ${waiting} waiting`;
  return [
    atMost('live bytes per waiting task', held?.bytes_per_waiting, 2_048, 1_024),
    atMost('live bytes per finished task', held?.bytes_per_finished, 16, 0),
    atMost(`start to first submit, s; ${of}`, held?.first_submit_s, 8, 3),
  ];
}

export const scale: Bench<typeof shape> = { shape, needs: () => ({}), measure };
