/**
 * Durable tasks a second: submit, run nothing, and the submitter knows the result; 100 bytes each way. Covey beside BullMQ
 * on Redis and NATS JetStream, in one run on one host.
 *
 *   npm run bench -- throughput [--seconds 10] [--only covey,bullmq,nats] [--in-flight 1,64,256,1000] [--bulk 500]
 *                               [--runs 3] [--peers 3] [--profile FILE]
 *
 * `--profile`: of the first daemon in the last phase, where its time goes; if FILE ends with .heapprofile, what it
 * allocates; with .calls, how often each function is called for one task.
 */
import { join } from 'node:path';
import type { Bench, Needs, Outcome, Setting } from './common/bench.ts';
import type { Shape, Values } from './common/options.ts';
import { debian, npm } from './common/packages.ts';
import { medianOfRuns } from './common/statistics.ts';
import { DEPLOY } from './throughput/deploy.ts';
import type { PhaseFigures } from './throughput/load.ts';
import { Crew } from './throughput/measure.ts';
import { ProfileOfWindow } from './throughput/profile-of-window.ts';
import { best, type RunFigures, ratiosOf, targetsOf } from './throughput/report.ts';
import type { Phase, SystemName } from './throughput/system.ts';

const SYSTEMS = ['covey', 'bullmq', 'nats'] as const satisfies readonly SystemName[];
/** Blocks of a bulk phase that are on their way at once. */
const BULKS = 4;
/** Code is compiled and connections are warm by then. */
const WARM_MS = 3_000;
const REDIS = 'usr/bin/redis-server';

const shape = {
  seconds: { kind: 'number', default: 10, min: 1, max: 600 },
  only: { kind: 'names', default: SYSTEMS, of: SYSTEMS },
  'in-flight': { kind: 'numbers', default: [1, 64, 256, 1_000], min: 1, max: 100_000 },
  bulk: { kind: 'numbers', default: [500], min: 0, max: 1_000 },
  runs: { kind: 'number', default: 3, min: 1, max: 20 },
  peers: { kind: 'number', default: 3, min: 1, max: 9 },
  profile: { kind: 'text' },
} satisfies Shape;

type Options = Values<typeof shape>;

/** `--bulk 0`: no bulk phase. */
function phasesOf(options: Options): Phase[] {
  const ms = 1_000 * options.seconds;
  const warmMs = Math.min(WARM_MS, ms);
  const single = options['in-flight'].map((inFlight) => ({
    name: `in_flight_${inFlight}`,
    inFlight,
    bulk: undefined,
    warmMs,
    ms,
  }));
  const bulks = options.bulk.filter((size) => size > 0);
  const inBulk = bulks.map((size) => ({
    name: `bulk_${size}`,
    inFlight: BULKS * size,
    bulk: size,
    warmMs,
    ms,
  }));
  return [...single, ...inBulk];
}

async function measureSystem(
  system: SystemName,
  run: number,
  options: Options,
  setting: Setting,
): Promise<RunFigures> {
  const phases = phasesOf(options);
  const last = phases.at(-1);
  if (last === undefined) throw new Error('no phase');
  const dir = join(setting.dir, `${system[0]}${run}`);
  const inspected = options.profile !== undefined;
  const deployment = await DEPLOY[system]({ ...setting, dir, peers: options.peers, inspected });
  try {
    const crew = await Crew.of(deployment, setting, last);
    const measured: Record<string, PhaseFigures> = {};
    for (const phase of phases) {
      const profiled = phase === last ? deployment.inspector : undefined;
      const profile =
        profiled === undefined ? undefined : new ProfileOfWindow(profiled, options.profile ?? '');
      const figures = await crew.measure(phase, profile);
      measured[phase.name] = figures;
      const done = figures.done_per_s * options.seconds;
      for (const line of (await profile?.written(done)) ?? []) setting.say(line);
      const { done_per_s, cpu_us_per_task } = figures;
      setting.say(`run ${run}, ${system}, ${phase.name}: ${done_per_s}/s, ${cpu_us_per_task} µs`);
    }
    await crew.end();
    return { settings: crew.settings, phases: measured, best_done_per_s: best(measured) };
  } finally {
    await deployment.end();
  }
}

async function measure(options: Options, setting: Setting): Promise<Outcome> {
  const needed: Readonly<Record<SystemName, readonly string[]>> = {
    covey: [],
    bullmq: ['redis', 'bullmq'],
    nats: ['nats-server', 'nats'],
  };
  const systems = SYSTEMS.filter(
    (name) => options.only.includes(name) && needed[name].every((one) => one in setting.found),
  );
  const runs: Record<string, RunFigures>[] = [];
  for (let run = 1; run <= options.runs; run += 1) {
    const figures: Record<string, RunFigures> = {};
    for (const system of systems) {
      figures[system] = await measureSystem(system, run, options, setting);
    }
    runs.push(figures);
  }
  const medians = medianOfRuns(runs) as Record<string, RunFigures>;
  const ratios = medianOfRuns(runs.map(ratiosOf)) as ReturnType<typeof ratiosOf>;
  return {
    figures: { ...medians, ...ratios, best_of_runs: runs.map((one) => bestOf(one)) },
    targets: targetsOf(medians, ratios),
  };
}

const bestOf = (run: Readonly<Record<string, RunFigures>>): Record<string, number> =>
  Object.fromEntries(Object.entries(run).map(([name, one]) => [name, one.best_done_per_s]));

export const throughput: Bench<typeof shape> = {
  shape,
  needs: ({ only }): Needs => ({
    ...(only.includes('bullmq')
      ? {
          redis: (into) =>
            debian(into, ['redis-server', 'redis-tools', 'liblzf1', 'libjemalloc2'], REDIS),
          bullmq: (into) => npm(into, ['bullmq@6.7.0', 'ioredis@6.0.0']),
        }
      : {}),
    ...(only.includes('nats')
      ? {
          'nats-server': (into) => debian(into, ['nats-server'], 'usr/sbin/nats-server'),
          nats: (into) => npm(into, ['nats@2.29.3']),
        }
      : {}),
  }),
  measure,
};
