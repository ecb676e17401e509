/** One system at one size: rounds of a fleet each, and the medians of what they showed. */
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { COVEY_NODE } from '../../src/testnet/paths.ts';
import { firstLine, type Owned, parseJson } from '../common/launch.ts';
import { cpuSeconds, loadAverage, loopbackBytes, residentMiB } from '../common/proc.ts';
import type { Backend } from './backend.ts';
import { Fleet } from './fleet.ts';

/** All links stand by then, probes of addresses and gossip's meshes are done. */
const SETTLE_MS = 5_000;
const QUICK_SETTLE_MS = 500;
/** After a join of all, until traffic is that of an idle mesh. */
const IDLE_AFTER_MS = 10_000;
const PAUSE_MS = 5_000;
const PAUSE_AFTERWARDS_MS = 10_000;
const LOADS = [2, 8] as const;
const BARE_NODE = fileURLToPath(new URL('./bare-node.ts', import.meta.url));

export interface Plan {
  readonly rounds: number;
  readonly idleMs: number;
  readonly loadMs: number;
  /** The silences, loads and pauses: each takes longer than everything else together. */
  readonly slow: boolean;
  readonly canCut: boolean;
  /** The loopback device is ours alone. */
  readonly ownLoopback: boolean;
}

export interface Measuring {
  readonly owned: Owned;
  readonly dir: string;
  readonly plan: Plan;
  readonly say: (text: string) => void;
}

export type Figures = Readonly<Record<string, number | null>>;
type Samples = Record<string, (number | undefined)[]>;

interface Idle {
  readonly cpuPct: number;
  readonly bytes: number | undefined;
  readonly frameBytes: number | undefined;
}

const add = (samples: Samples, name: string, value: number | undefined): void => {
  samples[name] = [...(samples[name] ?? []), value];
};

/** One that was not seen in time counts as longer than any other. */
function median(values: readonly (number | undefined)[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.map((one) => one ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(middle) ? middle : null;
}

const rounded = (value: number | null, digits: number): number | null =>
  value === null ? null : Number(value.toFixed(digits));

export async function measure(backend: Backend, n: number, to: Measuring): Promise<Figures> {
  const { say } = to;
  const plan = { ...to.plan, canCut: to.plan.canCut && backend.dialsFromItsAddress };
  const samples: Samples = {};
  for (let round = 1; round <= plan.rounds; round++) {
    const fleet = new Fleet(backend, to.owned, `${to.dir}/${backend.name}-${n}-${round}`);
    try {
      const together = await fleet.up(n);
      add(samples, 'join_all_ms', together.sinceLastMs);
      add(samples, 'join_all_since_first_ready_ms', together.sinceFirstMs);
      if (round === 1) await idleRound(fleet, samples, to);
      await strikes(fleet, samples, plan);
      add(samples, 'false_dead_joining', fleet.wrongDeaths());
      if (plan.slow && round === plan.rounds) await slowness(fleet, samples, to);
    } finally {
      await fleet.down();
    }
    const load = await loadAverage();
    add(samples, 'load_average', load);
    say(`${backend.name} n=${n} round ${round}: ${JSON.stringify(lastOf(samples))}`);
  }
  return figuresOf(samples);
}

const lastOf = (samples: Samples): Record<string, number | null> =>
  Object.fromEntries(
    Object.entries(samples).map(([name, values]) => [name, rounded(values.at(-1) ?? null, 2)]),
  );

const WHOLE = /_ms$|^bytes_|^frame_/;
const figuresOf = (samples: Samples): Figures =>
  Object.fromEntries(
    Object.entries(samples).map(([name, values]) => [
      name,
      rounded(median(values), WHOLE.test(name) ? 0 : 3),
    ]),
  );

/** Each strike takes one away, and one more joins. */
async function strikes(fleet: Fleet, samples: Samples, plan: Plan): Promise<void> {
  const settleMs = plan.slow ? SETTLE_MS : QUICK_SETTLE_MS;
  const rejoin = async (): Promise<void> => {
    add(samples, 'join_one_ms', await fleet.joinOne());
    await delay(settleMs);
  };
  await delay(settleMs);
  const killed = await fleet.kill();
  add(samples, 'first_dead_ms', killed?.firstMs);
  add(samples, 'all_dead_ms', killed?.allMs);
  await rejoin();
  add(samples, 'leave_all_ms', (await fleet.leave())?.allMs);
  await rejoin();
  if (!plan.slow) return;
  add(samples, 'silent_dead_ms', (await fleet.freeze())?.allMs);
  await rejoin();
  if (!plan.canCut) return;
  add(samples, 'cut_dead_ms', (await fleet.cutOff())?.allMs);
  await rejoin();
}

async function slowness(fleet: Fleet, samples: Samples, to: Measuring): Promise<void> {
  const { plan, say } = to;
  add(samples, 'false_dead_paused', await fleet.pause(PAUSE_MS, PAUSE_AFTERWARDS_MS));
  let sum = 0;
  for (const times of LOADS) {
    const wrong = await fleet.wrongDeathsDuring(() => busy(times, to));
    say(`both cores busy ${times} times over: ${wrong} wrong verdicts`);
    add(samples, `false_dead_busy_${times}x`, wrong);
    sum += wrong;
  }
  add(samples, 'false_dead', sum);
  add(samples, 'false_dead_seconds', (plan.loadMs * LOADS.length) / 1_000);
}

/** So many programs for each core that never wait. */
async function busy(times: number, { owned, plan, dir }: Measuring): Promise<void> {
  const count = times * availableParallelism();
  const burners = await Promise.all(
    Array.from({ length: count }, () =>
      owned.launch(['sh', '-c', 'while :; do :; done'], { logFile: `${dir}/busy.log` }),
    ),
  );
  await delay(plan.loadMs);
  for (const { child } of burners) child.kill('SIGKILL');
  await Promise.all(burners.map(({ exited }) => exited));
  await delay(SETTLE_MS);
}

async function idleRound(fleet: Fleet, samples: Samples, to: Measuring): Promise<void> {
  const { plan } = to;
  await delay(plan.slow ? IDLE_AFTER_MS : QUICK_SETTLE_MS);
  const idle = await idleOf(fleet, plan);
  add(samples, 'idle_cpu_pct', idle.cpuPct);
  if (idle.bytes !== undefined) add(samples, 'bytes_per_s', idle.bytes);
  if (idle.frameBytes !== undefined) add(samples, 'frame_bytes_per_s', idle.frameBytes);
  const rss = await Promise.all(fleet.nodes.map(({ launched }) => residentMiB(launched.pid)));
  add(samples, 'rss_mib', median(rss) ?? undefined);
}

async function idleOf(fleet: Fleet, plan: Plan): Promise<Idle> {
  const read = async () => {
    const counted = await Promise.all(fleet.nodes.map((node) => node.countedBytes?.()));
    const cpu = await Promise.all(fleet.nodes.map(({ launched }) => cpuSeconds(launched.pid)));
    const bytes = plan.ownLoopback ? await loopbackBytes() : undefined;
    const known = counted.filter((one) => one !== undefined);
    const frames = known.length === counted.length ? sumOf(known) : undefined;
    return { atMs: performance.now(), cpu: sumOf(cpu), bytes, frames };
  };
  const before = await read();
  await delay(plan.idleMs);
  const after = await read();
  const share = (fleet.nodes.length * (after.atMs - before.atMs)) / 1_000;
  const rate = (a: number | undefined, b: number | undefined): number | undefined =>
    a === undefined || b === undefined ? undefined : (b - a) / share;
  return {
    cpuPct: (100 * (after.cpu - before.cpu)) / share,
    bytes: rate(before.bytes, after.bytes),
    frameBytes: rate(before.frames, after.frames),
  };
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0);

/** Resident memory of a libp2p node that has nothing of Covey, as long after its start as an idle daemon has. */
export async function bareResidentMiB({ owned, dir, plan }: Measuring): Promise<number> {
  const bare = await owned.launch([COVEY_NODE, BARE_NODE], { logFile: `${dir}/bare.log` });
  await firstLine(bare, 'the bare node', (line) =>
    parseJson(line)?.event === 'ready' ? true : undefined,
  );
  await delay(plan.slow ? IDLE_AFTER_MS : QUICK_SETTLE_MS);
  const mib = await residentMiB(bare.pid);
  bare.child.kill('SIGKILL');
  await bare.exited;
  return Number(mib.toFixed(1));
}
