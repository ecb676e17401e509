/**
 * What an attack costs the honest: three daemons on loopback, task creations at a constant rate through the first of them,
 * and one process that attacks it: as a stranger, or as a member gone mad. Beside each attack, in the same run, a process
 * that only burns as much CPU as the attacker used. Says p50 and p99 of both, their ratio, the growth of the memory, who
 * was evicted, and what was refused.
 *
 *   npm run bench:hostile -- [--seconds 10] [--only NAME] [--json]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openConnection } from '../src/client/index.ts';
import { TestNetwork } from '../src/testnet/testnet.ts';

const ATTACKER = fileURLToPath(new URL('./hostile-attacker.ts', import.meta.url));
const ATTACKS = [
  'connections',
  'hellos',
  'streams',
  'news',
  'requests',
  'writes',
  'facts',
  'digests',
  'frames',
  'small-frames',
] as const;
const RATE_PER_SECOND = 50;
const PEERS = 3;
const MIB = 1_048_576;
/** Between two phases: what is queued is worked off. */
const SETTLE_MS = 3_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const attacks = ATTACKS.filter((name) => values.only === undefined || values.only === name);

async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
}

/** Seconds of CPU that a process has used. */
async function cpuOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const quantile = (sorted: readonly number[], q: number): number =>
  Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 10) / 10;

interface Load {
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly failed: number;
}

/** Creations at a constant rate, whatever the answers do: an open loop, so that waiting is not left out. */
async function honest(network: TestNetwork): Promise<Load> {
  const opened = await openConnection(network.socket(1));
  if (!opened.ok) throw new Error(opened.error.message);
  const tookMs: number[] = [];
  let failed = 0;
  const calls: Promise<void>[] = [];
  const startMs = performance.now();
  for (let i = 0; i < seconds * RATE_PER_SECOND; i += 1) {
    const dueMs = startMs + (i * 1_000) / RATE_PER_SECOND;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    const call = opened.value.call('task.submit', { type: 'never', delay_ms: 3_600_000 });
    calls.push(
      call.then((answer) => {
        tookMs.push(performance.now() - dueMs);
        if (!answer.ok) failed += 1;
      }),
    );
  }
  await Promise.all(calls);
  opened.value.close();
  tookMs.sort((a, b) => a - b);
  return { p50_ms: quantile(tookMs, 0.5), p99_ms: quantile(tookMs, 0.99), failed };
}

async function token(network: TestNetwork): Promise<string> {
  const answer = await network.call(1, 'access.invite', {});
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.token;
}

async function withChild<T>(
  args: readonly string[],
  run: (child: ChildProcess) => Promise<T>,
): Promise<{ value: T; cpuShare: number; said: string }> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', ATTACKER, ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const { stdout, pid } = child;
  if (!stdout || pid === undefined) throw new Error('the attacker did not start');
  const exited = once(child, 'exit');
  // Whatever ends this process must not leave an attacker behind.
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  await once(stdout, 'data');
  const [before, startMs] = [await cpuOf(pid), performance.now()];
  const value = await run(child);
  const cpuShare = ((await cpuOf(pid)) - before) / ((performance.now() - startMs) / 1_000);
  child.kill('SIGTERM');
  const said = await text(stdout);
  await exited;
  process.off('exit', end);
  return { value, cpuShare, said: said.trim() };
}

const lastOf = (said: string): Record<string, number> => {
  const line = said.split('\n').at(-1) ?? '';
  return line.startsWith('{') ? (JSON.parse(line) as Record<string, number>) : {};
};

async function measure(network: TestNetwork, attack: string) {
  const pid = network.pid(1);
  const rssBefore = await rssOf(pid);
  const daemonBefore = await cpuOf(pid);
  const args = [attack, network.address(1), await token(network)];
  const hostile = await withChild(args, () => honest(network));
  const daemonShare = ((await cpuOf(pid)) - daemonBefore) / seconds;
  const rssAfter = await rssOf(pid);
  await delay(SETTLE_MS);
  const views = await Promise.all(network.indices.map((index) => network.members(index, 20_000)));
  const names = network.indices.map((index) => network.identity(index).name);
  const evicted = views.flatMap((members) =>
    (members ?? []).filter(({ name, status }) => names.includes(name) && status !== 'alive'),
  ).length;
  const burner = await withChild(['burn', String(hostile.cpuShare)], () => honest(network));
  await delay(SETTLE_MS);
  return {
    attack,
    attacker_cpu: Math.round(hostile.cpuShare * 100) / 100,
    daemon_cpu: Math.round(daemonShare * 100) / 100,
    ...lastOf(hostile.said),
    hostile: hostile.value,
    burner: burner.value,
    p99_ratio: Math.round((hostile.value.p99_ms / burner.value.p99_ms) * 100) / 100,
    rss_growth_mib: Math.round((rssAfter - rssBefore) / MIB),
    evicted,
  };
}

const network = await TestNetwork.up({ peers: PEERS, slots: 1 });
try {
  // The first creations meet code that was never run.
  await honest(network);
  const calm = await honest(network);
  if (!values.json) process.stdout.write(`calm: p50 ${calm.p50_ms} ms, p99 ${calm.p99_ms} ms\n`);
  const results: Awaited<ReturnType<typeof measure>>[] = [];
  for (const attack of attacks) {
    const result = await measure(network, attack);
    results.push(result);
    if (!values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  }
  const stats = await network.call(1, 'members.stats', {}, 20_000);
  const refused = stats.ok ? stats.value.refused : {};
  const report = { peers: PEERS, seconds, rate_per_s: RATE_PER_SECOND, calm, results, refused };
  process.stdout.write(
    values.json ? `${JSON.stringify(report)}\n` : `${JSON.stringify(refused)}\n`,
  );
} finally {
  await network.down({ graceMs: 0 });
}
