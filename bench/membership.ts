/**
 * How soon a mesh of real daemons knows of a crash, a leave and a join, and what it costs while nothing happens; beside
 * Serf and upring, where those can be had. Real time on this host: the figures say what load they were taken at.
 *
 *   npm run bench:membership -- [--n 5,15,30] [--only covey|serf|upring] [--rounds 3] [--load-seconds 60]
 *                               [--quick] [--json]
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { COVEY_NODE } from '../src/testnet/paths.ts';
import { namespaces } from './common/namespaces.ts';
import { debian, type Fetched } from './common/packages.ts';
import { type Target, table } from './common/targets.ts';
import type { Order } from './membership/inside.ts';
import { STAND_INS, writeProgram } from './membership/upring.ts';

const INSIDE = fileURLToPath(new URL('./membership/inside.ts', import.meta.url));
const FETCH_TIMEOUT_MS = 120_000;
/** Above this a host of two cores measures its own queue of processes. */
const N_MAX = 60;
const SYSTEMS = ['covey', 'serf', 'upring'];

const run = promisify(execFile);

function usage(why: string): never {
  process.stderr.write(`${why}\nusage: npm run bench:membership -- [--n 5,15,30] `);
  process.stderr.write('[--only covey|serf|upring] [--rounds 3] [--load-seconds 60] ');
  process.stderr.write('[--quick] [--json]\n');
  process.exit(2);
}

function options() {
  const parsed = parseArgs({
    options: {
      n: { type: 'string' },
      only: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      'load-seconds': { type: 'string', default: '60' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  }).values;
  const sizes = (parsed.n ?? (parsed.quick ? '5' : '5,15,30')).split(',').map(Number);
  if (sizes.some((n) => !Number.isInteger(n) || n < 3 || n > N_MAX)) {
    usage(`--n is a list of sizes from 3 to ${N_MAX}`);
  }
  const only = parsed.only === undefined ? SYSTEMS : parsed.only.split(',');
  if (only.some((name) => !SYSTEMS.includes(name))) usage(`--only is one of ${SYSTEMS.join(', ')}`);
  const [rounds, loadSeconds] = [Number(parsed.rounds), Number(parsed['load-seconds'])];
  if (!(rounds >= 1 && rounds <= 20)) usage('--rounds is 1 to 20');
  if (!(loadSeconds >= 1 && loadSeconds <= 600)) usage('--load-seconds is 1 to 600');
  const { quick, json } = parsed;
  return { sizes, only, rounds, loadMs: 1_000 * loadSeconds, quick, json };
}

/** Without its build scripts: what they would compile gets a stand-in. */
async function fetchUpring(dir: string): Promise<Fetched> {
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, 'package.json'), '{"private":true}');
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', 'upring@0.22.0'];
    await run('npm', args, { cwd: dir, timeout: FETCH_TIMEOUT_MS });
    const modules = join(dir, 'node_modules');
    for (const found of await readdir(modules, { recursive: true })) {
      const file = Object.keys(STAND_INS).find((name) => `/${found}`.endsWith(`/${name}`));
      if (file !== undefined) await writeFile(join(modules, found), STAND_INS[file] ?? '');
    }
    await writeProgram(dir);
    return { path: dir };
  } catch (thrown) {
    const first = String(thrown).split('\n')[0] ?? '';
    return { why: `not there; npm could not install upring@0.22.0: ${first}` };
  }
}

async function perform(dir: string, ended: (kill: () => void) => void): Promise<boolean> {
  const { sizes, only, rounds, loadMs, quick, json } = options();
  const absent: Record<string, string> = {};
  const found: Record<string, string> = {};
  for (const [name, fetch] of [
    ['serf', (into: string) => debian(into, ['serf'], 'usr/bin/serf')],
    ['upring', fetchUpring],
  ] as const) {
    if (!only.includes(name)) continue;
    const fetched = await fetch(join(dir, name));
    if ('path' in fetched) found[name] = fetched.path;
    else absent[name] = fetched.why;
  }
  const wrap = await namespaces();
  if (wrap === undefined) absent.bytes_per_s = 'no network namespace: as root, with unshare and ip';
  const order: Order = {
    dir: join(dir, 'run'),
    sizes,
    covey: only.includes('covey'),
    serf: found.serf,
    upring: found.upring,
    absent,
    isolated: wrap !== undefined,
    quick,
    rounds,
    loadMs,
  };
  const [program, ...args] = [...(wrap ?? []), COVEY_NODE, INSIDE, JSON.stringify(order)];
  if (program === undefined) return false;
  const child = spawn(program, args, { detached: true, stdio: ['pipe', 'inherit', 'inherit'] });
  // It ends itself, and all it started, when its input does.
  ended(() => child.stdin.destroy());
  const code = await new Promise<number | null>((resolve) => {
    child.on('exit', resolve);
    child.on('error', () => resolve(null));
  });
  const file = join(order.dir, 'result.json');
  if (code !== 0 || !existsSync(file)) return false;
  const line = await readFile(file, 'utf8');
  const { targets } = JSON.parse(line) as { targets: readonly Target[] };
  if (!json) process.stdout.write(table(targets));
  process.stdout.write(`${line}\n`);
  return true;
}

let end = (): void => undefined;
let signalled = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    signalled = true;
    end();
  });
}
const dir = await mkdtemp(join(tmpdir(), 'cvm-'));
try {
  const done = await perform(dir, (kill) => {
    end = kill;
    if (signalled) kill();
  });
  process.exitCode = signalled ? 130 : done ? 0 : 1;
} finally {
  await rm(dir, { recursive: true, force: true });
}
