/**
 * Membership at size, in virtual time: the services that ship, without tasks, on simulated links. How soon all know of a
 * crash, a join and a leave; frames and bytes of each peer, idle and under churn; how soon the halves of a partition
 * agree; false verdicts with one starved peer, local health on and off, and with lost packets. What comes by gossip
 * is modelled: its twin hands news on to six peers at random, where gossipsub has a mesh of six.
 *
 *   npm run bench:membership-sim -- [--n 10,100,1000] [--only know,traffic,partition,starved,loss] [--hours 24]
 *                                   [--seeds 1] [--json] [--draw FILE,…]
 *
 * `--draw` makes the pictures of docs/ from lines that earlier runs printed with `--json`.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { churning, idle, knowing, lossy, partition, starved } from './membership-sim/measures.ts';
import { BenchMesh } from './membership-sim/mesh.ts';
import { type Curve, drawn, type Picture } from './membership-sim/picture.ts';

const PARTS = ['know', 'traffic', 'partition', 'starved', 'loss'] as const;
const ROUND_MS = 2_000;
const STARVED_N = 32;
const STARVED_MS = 300_000;
const LOSS_N = 5;
const LOSS = 0.05;
const PICTURES = new URL('../docs/pictures/', import.meta.url);

function options() {
  const { values } = parseArgs({
    options: {
      n: { type: 'string', default: '10,100,1000' },
      only: { type: 'string', default: PARTS.join(',') },
      hours: { type: 'string', default: '24' },
      seeds: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      draw: { type: 'string' },
    },
  });
  return {
    sizes: values.n.split(',').map(Number),
    parts: new Set(values.only.split(',')),
    hours: Number(values.hours),
    seeds: Array.from({ length: Number(values.seeds) }, (_, i) => `bench ${i}`),
    json: values.json,
    draw: values.draw?.split(','),
  };
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Larger meshes take longer than the time they model: they are watched for less of it. */
const watchedMs = (n: number) => (n >= 300 ? 10_000 : n >= 100 ? 60_000 : 600_000);
const churnedMs = (n: number) => (n >= 300 ? 24_000 : n >= 100 ? 300_000 : 3_600_000);
const apartMs = (n: number) => (n >= 300 ? 60_000 : n >= 100 ? 600_000 : 3_600_000);

async function ofSize(n: number, seed: string, parts: ReadonlySet<string>) {
  const result: Record<string, unknown> = { n, seed };
  const mesh = new BenchMesh({ seed, n });
  await mesh.gather();
  say(`${n}: all have come together`);
  if (parts.has('traffic')) {
    result.idle = await idle(mesh, watchedMs(n));
    say(`${n}: idle ${JSON.stringify(result.idle)}`);
  }
  if (parts.has('know')) {
    result.know = await knowing(mesh, n >= 300 ? 1 : 3);
    say(`${n}: known`);
  }
  if (parts.has('traffic')) {
    result.churn = await churning(mesh, churnedMs(n));
    say(`${n}: churn ${JSON.stringify(result.churn)}`);
  }
  if (parts.has('partition')) {
    const whole = parts.has('know') || parts.has('traffic') ? new BenchMesh({ seed, n }) : mesh;
    if (whole !== mesh) await whole.gather();
    result.partition = await partition(whole, apartMs(n), ROUND_MS);
    say(`${n}: partition ${JSON.stringify(result.partition)}`);
  }
  return result;
}

interface Line {
  readonly sizes?: readonly {
    readonly n: number;
    readonly idle?: { readonly bytes_per_s: number };
    readonly churn?: { readonly bytes_per_s: number };
    readonly know?: Readonly<Record<'crash' | 'leave' | 'join', { readonly all_ms: number }>> & {
      readonly crash_each_ms: readonly number[];
    };
  }[];
}

async function draw(files: readonly string[]): Promise<void> {
  const lines = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  const sizes = lines
    .flatMap((text) => (JSON.parse(text) as Line).sizes ?? [])
    .sort((a, b) => a.n - b.n);
  const known = (what: 'crash' | 'leave' | 'join'): Curve => ({
    name: what,
    points: sizes.flatMap(({ n, know }) => (know ? [[n, know[what].all_ms] as const] : [])),
  });
  const bytes = (what: 'idle' | 'churn', name: string): Curve => ({
    name,
    points: sizes.flatMap(({ n, [what]: rate }) => (rate ? [[n, rate.bytes_per_s] as const] : [])),
  });
  const each = sizes.flatMap(({ n, know }) => {
    if (!know) return [];
    const points = know.crash_each_ms.map((ms, i) => {
      return [ms, (100 * (i + 1)) / know.crash_each_ms.length] as const;
    });
    return [{ name: `N = ${n}`, points }];
  });
  const peers = { label: 'members', isLog: true };
  const pictures: Record<string, Picture> = {
    'all-know': {
      title: 'Until all know (modelled gossip, links of 0.2 to 2 ms)',
      x: peers,
      y: { label: 'ms', isLog: true },
      curves: [known('crash'), known('leave'), known('join')],
    },
    'crash-spreads': {
      title: 'A crash: who knows of it when (modelled gossip)',
      x: { label: 'ms since the kill', isLog: false },
      y: { label: 'per cent of the members', isLog: false },
      curves: each,
    },
    bytes: {
      title: 'Bytes that each peer sends in a second (frames)',
      x: peers,
      y: { label: 'bytes per second', isLog: true },
      curves: [bytes('idle', 'idle'), bytes('churn', '1 % churn a minute')],
    },
  };
  await mkdir(PICTURES, { recursive: true });
  for (const [name, picture] of Object.entries(pictures))
    await writeFile(new URL(`${name}.svg`, PICTURES), drawn(picture));
}

async function measure({ sizes, parts, hours, seeds, json }: ReturnType<typeof options>) {
  const result: Record<string, unknown> = {};
  const ofMeshes: unknown[] = [];
  if (['know', 'traffic', 'partition'].some((part) => parts.has(part)))
    for (const n of sizes) for (const seed of seeds) ofMeshes.push(await ofSize(n, seed, parts));
  if (ofMeshes.length > 0) result.sizes = ofMeshes;
  if (parts.has('starved')) {
    const runs: unknown[] = [];
    for (const seed of seeds) {
      const on = await starved(seed, STARVED_N, STARVED_MS, true);
      const off = await starved(seed, STARVED_N, STARVED_MS, false);
      runs.push({ seed, local_health_on: on, local_health_off: off });
      say(`starved ${JSON.stringify(runs.at(-1))}`);
    }
    result.starved = { n: STARVED_N, seconds: STARVED_MS / 1_000, runs };
  }
  if (parts.has('loss')) result.loss = await lossy('loss', LOSS_N, LOSS, hours);
  process.stdout.write(`${json ? JSON.stringify(result) : JSON.stringify(result, null, 2)}\n`);
}

const chosen = options();
if (chosen.draw) await draw(chosen.draw);
else await measure(chosen);
