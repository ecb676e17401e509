/**
 * How soon a mesh of real daemons knows of a crash, a leave and a join, and what it costs while nothing happens; beside
 * Serf and upring, where those can be had. Real time on this host: the figures say what load they were taken at.
 *
 *   npm run bench:membership -- [--n 5,15,30] [--only covey|serf|upring] [--rounds 3] [--load-seconds 60]
 *                               [--quick] [--json]
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { debian, type Fetched } from './common/packages.ts';
import { runBench } from './common/program.ts';
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

const { sizes, only, rounds, loadMs, quick, json } = options();
await runBench(INSIDE, json, async (dir, isolated): Promise<Order> => {
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
  if (!isolated) absent.bytes_per_s = 'no network namespace: as root, with unshare and ip';
  return {
    dir: join(dir, 'run'),
    sizes,
    covey: only.includes('covey'),
    serf: found.serf,
    upring: found.upring,
    absent,
    isolated,
    quick,
    rounds,
    loadMs,
  };
});
