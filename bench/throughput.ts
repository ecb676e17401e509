/**
 * Durable tasks a second: submit, run nothing, and the submitter knows the result; 100 bytes each way. Covey beside BullMQ
 * on Redis and NATS JetStream, in one run on one host.
 *
 *   npm run bench -- throughput [--seconds 10] [--only covey,bullmq,nats] [--in-flight 1,64,256,1000] [--bulk 500]
 *                               [--runs 3] [--peers 3] [--profile FILE]
 *
 * `--profile`: the .cpuprofile of the first daemon during its last phase.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../src/testnet/paths.ts';
import type { Bench, Outcome, Setting } from './common/bench.ts';
import { firstLine, type Launched, parseJson } from './common/launch.ts';
import type { Shape, Values } from './common/options.ts';
import { debian, npm } from './common/packages.ts';
import { type CpuProfile, functionTimes } from './common/profile.ts';
import { Profiler } from './common/profiler.ts';
import { medianOfRuns, rounded } from './common/statistics.ts';
import { DEPLOY, type Deployment, type Tuning } from './throughput/deploy.ts';
import type { PhaseFigures, PhaseOrder } from './throughput/load.ts';
import { best, type RunFigures, ratiosOf, targetsOf } from './throughput/report.ts';
import type { Phase, SystemName, Where } from './throughput/system.ts';

const SYSTEMS = ['covey', 'bullmq', 'nats'] as const satisfies readonly SystemName[];
const LOAD = fileURLToPath(new URL('./throughput/load.ts', import.meta.url));
const WORKER = fileURLToPath(new URL('./throughput/worker.ts', import.meta.url));
/** Blocks of a bulk phase that are on their way at once. */
const BULKS = 4;
/** Code is compiled and connections are warm by then. */
const WARM_MS = 1_500;
const TUNE_MS = 2_000;
const FUNCTIONS_SHOWN = 40;

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

class Programs {
  readonly #setting: Setting;
  readonly #log: string;

  constructor(setting: Setting, dir: string) {
    this.#setting = setting;
    this.#log = join(dir, 'programs.log');
  }

  async start(program: string, where: Where): Promise<Launched> {
    const launched = await this.#setting.owned.launch(
      [COVEY_NODE, program, JSON.stringify(where)],
      { logFile: this.#log },
    );
    await firstLine(launched, where.system, (line) =>
      parseJson(line)?.event === 'ready' ? true : undefined,
    );
    return launched;
  }

  workers(deployment: Deployment, tuning: Tuning): Promise<Launched[]> {
    return Promise.all(
      Array.from({ length: tuning.workers }, (_, index) =>
        this.start(WORKER, deployment.worker(index, tuning)),
      ),
    );
  }
}

async function endAll(programs: readonly Launched[]): Promise<void> {
  for (const { child } of programs) child.stdin?.end();
  await Promise.all(programs.map(({ exited }) => exited));
}

/** One phase in the submitting program; `around` what is done when its window opens and when it closes. */
async function perform(
  client: Launched,
  order: PhaseOrder,
  around: { readonly open: () => void; readonly close: () => void },
): Promise<PhaseFigures> {
  const { promise, resolve, reject } = Promise.withResolvers<PhaseFigures>();
  client.onLine((line) => {
    const said = parseJson(line);
    if (said?.event === 'open') around.open();
    if (said?.event === 'close') around.close();
    if (said?.event === 'figures') resolve(said.figures as PhaseFigures);
  });
  void client.exited.then(() => reject(new Error('the submitting program has ended')));
  client.tell(order);
  const figures = await promise;
  client.forgetLines();
  return figures;
}

const NOTHING = { open: () => undefined, close: () => undefined };

/** Of several tunings the one with the most tasks done, in bulk. */
async function tuned(
  deployment: Deployment,
  client: Launched,
  programs: Programs,
  [phase]: readonly Phase[],
): Promise<{ tuning: Tuning; tried: readonly object[] }> {
  const [only, ...more] = deployment.tunings;
  if (only === undefined || phase === undefined) throw new Error('nothing to tune');
  if (more.length === 0) return { tuning: only, tried: [] };
  const tried: { tuning: Tuning; done_per_s: number }[] = [];
  for (const tuning of deployment.tunings) {
    const workers = await programs.workers(deployment, tuning);
    const ms = Math.min(TUNE_MS, phase.ms);
    const order = { phase: { ...phase, name: 'tuning', ms, warmMs: ms / 2 }, pids: {} };
    const { done_per_s } = await perform(client, order, NOTHING);
    tried.push({ tuning, done_per_s });
    await endAll(workers);
  }
  tried.sort((a, b) => b.done_per_s - a.done_per_s);
  return { tuning: tried[0]?.tuning ?? only, tried };
}

async function measureSystem(
  system: SystemName,
  run: number,
  options: Options,
  setting: Setting,
): Promise<RunFigures> {
  const phases = phasesOf(options);
  const dir = join(setting.dir, `${system[0]}${run}`);
  const inspected = options.profile !== undefined;
  const deployment = await DEPLOY[system]({ ...setting, dir, peers: options.peers, inspected });
  const programs = new Programs(setting, setting.dir);
  try {
    const client = await programs.start(LOAD, deployment.client);
    const { tuning, tried } = await tuned(deployment, client, programs, [...phases].reverse());
    const workers = await programs.workers(deployment, tuning);
    const pids: Record<string, number> = { ...deployment.pids };
    for (const [i, { pid }] of workers.entries()) pids[`worker-${i + 1}`] = pid;
    const measured: Record<string, PhaseFigures> = {};
    for (const phase of phases) {
      const profiled = phase === phases.at(-1) ? deployment.inspector : undefined;
      const profile = profiled === undefined ? undefined : new ProfileOfWindow(profiled);
      const figures = await perform(client, { phase, pids }, profile ?? NOTHING);
      measured[phase.name] = figures;
      if (profile !== undefined) await profile.write(options.profile ?? '', setting.say);
      const { done_per_s, cpu_us_per_task } = figures;
      setting.say(`run ${run}, ${system}, ${phase.name}: ${done_per_s}/s, ${cpu_us_per_task} µs`);
    }
    await endAll([...workers, client]);
    const settings = { ...deployment.settings, workers: tuning.workers, each: tuning.each, tried };
    return { settings, phases: measured, best_done_per_s: best(measured) };
  } finally {
    await deployment.end();
  }
}

/** From the opening of the window to its end. */
class ProfileOfWindow {
  readonly #url: string;
  #profiler: Promise<Profiler> | undefined;
  #profile: Promise<unknown> | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  readonly open = (): void => {
    this.#profiler = Profiler.start(this.#url);
  };

  readonly close = (): void => {
    this.#profile = this.#profiler?.then((profiler) => profiler.stop());
  };

  async write(file: string, say: (text: string) => void): Promise<void> {
    const profile = (await this.#profile) as CpuProfile;
    await writeFile(file, JSON.stringify(profile));
    for (const { at, selfMs, inclusiveMs } of functionTimes(profile).slice(0, FUNCTIONS_SHOWN)) {
      say(`${rounded(selfMs, 0)} ms, ${rounded(inclusiveMs, 0)} ms with calls: ${at}`);
    }
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
  needs: ({ only }) => ({
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

const REDIS = 'usr/bin/redis-server';
