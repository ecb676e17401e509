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
import type { Order } from './membership/inside.ts';
import type { Target } from './membership/targets.ts';
import { STAND_INS, writeProgram } from './membership/upring.ts';

const INSIDE = fileURLToPath(new URL('./membership/inside.ts', import.meta.url));
const FETCH_TIMEOUT_MS = 120_000;
/** Above this a host of two cores measures its own queue of processes. */
const N_MAX = 60;
const SYSTEMS = ['covey', 'serf', 'upring'];

const run = promisify(execFile);
type Fetched = { readonly path: string } | { readonly why: string };

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

/** Debian's package, unpacked and not installed. */
async function fetchSerf(dir: string): Promise<Fetched> {
  const how = 'apt-get update && apt-get download serf && dpkg -x serf_*.deb DIR';
  try {
    await mkdir(dir, { recursive: true });
    await run('apt-get', ['download', 'serf'], { cwd: dir, timeout: FETCH_TIMEOUT_MS });
    const deb = (await readdir(dir)).find((name) => name.endsWith('.deb'));
    if (deb === undefined) return { why: `not there; on Debian: ${how}` };
    await run('dpkg', ['-x', deb, 'root'], { cwd: dir });
    return { path: join(dir, 'root/usr/bin/serf') };
  } catch {
    return { why: `not there; on Debian: ${how}` };
  }
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

/** Its own network: no other traffic on the loopback device. Its own pids: whatever happens, all of it ends. */
async function namespaces(): Promise<[string, ...string[]] | undefined> {
  const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const flags = [...user, '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  try {
    await run('unshare', [...flags, 'ip', 'link', 'set', 'lo', 'up']);
    return ['unshare', ...flags, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
  } catch {
    return undefined; // not allowed here: bytes are those of the daemons' own counters, and nothing is cut
  }
}

function table(targets: readonly Target[]): string {
  const rows = targets.map(({ what, value, must, aim, met }) => {
    const shown = value === null ? '-' : String(Number(value.toFixed(3)));
    const bound = must === Number.MAX_SAFE_INTEGER ? '-' : String(must);
    return `${what.padEnd(50)}${shown.padStart(10)}${bound.padStart(8)}${String(aim).padStart(8)}  ${met}`;
  });
  const head = `${''.padEnd(50)}${'value'.padStart(10)}${'must'.padStart(8)}${'aim'.padStart(8)}`;
  return `${[head, ...rows].join('\n')}\n`;
}

async function perform(dir: string, ended: (kill: () => void) => void): Promise<boolean> {
  const { sizes, only, rounds, loadMs, quick, json } = options();
  const absent: Record<string, string> = {};
  const found: Record<string, string> = {};
  for (const [name, fetch] of [
    ['serf', fetchSerf],
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
