/**
 * The package as a stranger gets it: packed, installed into an empty folder by the host's own npm and Node (20 or
 * newer), two daemons started from it and a program that imports the client. Folders have spaces in their names.
 */
import { execFile, execFileSync } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DaemonProcess, type ReadyLine } from '../../src/testnet/daemon-process.ts';

const execFileAsync = promisify(execFile);
/** A program that hangs says which one it was. Standard input is empty: `covey run` would wait for its end. */
function run(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
) {
  const limits = { timeout: STEP_TIMEOUT_MS, killSignal: 'SIGKILL' } as const;
  const running = execFileAsync(file, args, { env, ...limits, ...options });
  running.child.stdin?.end();
  return running;
}
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const INSTALL_TIMEOUT_MS = 180_000;
const STOP_GRACE_MS = 10_000;
const STEP_TIMEOUT_MS = 90_000;
const QUIET = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

/** Without our own node_modules/.bin: what runs is the host's Node, as at a user's. */
const PATH = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((directory) => !directory.includes('node_modules'))
  .join(delimiter);
const env = { PATH, HOME: process.env.HOME ?? '/', TMPDIR: tmpdir() };
/** Of the host, which may be 20 or newer; in the titles, so that a report says what was tried. */
const HOST_NODE = execFileSync('node', ['--version'], { env, encoding: 'utf8' }).trim();
/** What comes with `npm install`, and what the programs run under, whatever the host has. */
const OWN_NODE_MAJOR = 24;
/** The exit code of the `node` that no program of ours may run. */
const STRAY_EXIT = 97;

let dir = '';
let app = '';
const daemons: DaemonProcess[] = [];
const program = (name: string): string => join(app, 'node_modules/.bin', name);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey pkg '));
  app = join(dir, 'an empty prefix');
  await mkdir(app);
  await run('npm', ['pack', '--pack-destination', dir, ...QUIET], { cwd: ROOT });
  const tarball = (await readdir(dir)).find((name) => name.endsWith('.tgz')) ?? '';
  await writeFile(join(app, 'package.json'), '{ "private": true, "type": "module" }\n');
  await run('npm', ['install', join(dir, tarball), ...QUIET], { cwd: app });
}, INSTALL_TIMEOUT_MS);

afterAll(async () => {
  for (const daemon of daemons) {
    await daemon.kill('SIGTERM');
    const timer = setTimeout(() => void daemon.kill('SIGKILL'), STOP_GRACE_MS);
    await daemon.exited;
    clearTimeout(timer);
  }
  if (dir !== '') await rm(dir, { recursive: true, force: true });
}, 60_000);

async function startDaemon(index: number): Promise<ReadyLine> {
  const data = join(dir, `data ${index}`);
  const socket = join(dir, `socket ${index}`);
  const ready = await DaemonProcess.start({
    command: [program('coveyd'), '--allow-root'],
    args: ['--data-dir', data, '--bind', `127.78.0.${index}:0`, '--socket', socket],
    env,
    logFile: join(dir, `log ${index}`),
    onSpawned: () => undefined,
    onStarted: async (daemon) => {
      daemons.push(daemon);
    },
  });
  if (!ready.ok) throw new Error(ready.error);
  return ready.value;
}

/** `covey`, talking to the daemon of that socket. */
async function covey(socket: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(program('covey'), ['--socket', socket, ...args]);
  return stdout;
}

/** A worker on one daemon, a task submitted to the other. Plain JavaScript: nothing is compiled at a user's. */
const PROGRAM = `
import { connect } from 'covey';
const [workerSocket, clientSocket] = process.argv.slice(2);
const worker = await connect({ socket: workerSocket });
await worker.work('double', async ({ n }) => ({ twice: 2 * n }));
const client = await connect({ socket: clientSocket });
const { id } = await client.submit({ type: 'double', payload: { n: 21 } });
const task = await client.waitFor(id);
console.log(process.versions.node.split('.')[0], task.state, JSON.stringify(task.result));
await client.close();
await worker.close();
`;

test(`two daemons of the installed package are a mesh, and a program uses it through the client, under Node ${HOST_NODE}`, async () => {
  const first = await startDaemon(1);
  const second = await startDaemon(2);
  expect(first.pid).toBe(daemons[0]?.ref.pid);
  const token = await covey(first.socket, 'invite');
  expect(await covey(second.socket, 'join', token.trim())).toMatch(
    /^joined mesh \S+, 2 members\n$/,
  );

  await writeFile(join(app, 'program.js'), PROGRAM);
  const args = [join(app, 'program.js'), second.socket, first.socket];
  const { stdout } = await run('node', args, { cwd: app });
  const major = HOST_NODE.slice(1, HOST_NODE.indexOf('.'));
  expect(Number(major)).toBeGreaterThanOrEqual(20);
  expect(stdout).toBe(`${major} completed {"twice":42}\n`);
  expect(await covey(second.socket, 'run', '--', 'echo', 'from a package')).toBe(
    'from a package\n',
  );
}, 120_000);

test('the programs run from other folders, through links of links, and name their version', async () => {
  const { stdout } = await run('sh', ['-c', 'cd / && CDPATH=/tmp "$0" version', program('covey')]);
  expect(stdout).toMatch(/^covey \d+\.\d+\.\d+\n$/);
  const link = join(dir, 'a link');
  await run('ln', ['-s', program('covey'), link]);
  expect((await run(link, ['version'])).stdout).toBe(stdout);
  const relative = await run('sh', ['-c', './node_modules/.bin/covey version'], { cwd: app });
  expect(relative.stdout).toBe(stdout);
});

test(`the programs run under the Node that came along, not the host's ${HOST_NODE} or another on the PATH`, async () => {
  const strays = join(dir, 'strays');
  await mkdir(strays);
  await writeFile(join(strays, 'node'), `#!/bin/sh\nexit ${STRAY_EXIT}\n`, { mode: 0o755 });
  const withStray = { ...env, PATH: [strays, PATH].join(delimiter) };
  // The stray is what `node` means there.
  await expect(run('node', ['--version'], { env: withStray })).rejects.toMatchObject({
    code: STRAY_EXIT,
  });
  const version = /^covey \d+\.\d+\.\d+\n$/;
  expect((await run(program('covey'), ['version'], { env: withStray })).stdout).toMatch(version);
  const daemon = await run(program('coveyd'), ['--version'], { env: withStray });
  expect(daemon.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const ask = ['-p', 'process.version + " " + process.execPath'];
  const { stdout } = await run(join(app, 'node_modules/covey/bin/covey-node'), ask, {
    env: withStray,
  });
  const [own = '', path = ''] = stdout.trim().split(/ (.*)/);
  expect(own).toMatch(new RegExp(`^v${OWN_NODE_MAJOR}\\.`));
  expect(path.startsWith(await realpath(join(app, 'node_modules')))).toBe(true);
});

test('the package holds declarations, presets and documents, and no sources or tests', async () => {
  const home = join(app, 'node_modules/covey');
  for (const path of [
    'dist/client/index.d.ts',
    'configs/lan.yaml',
    'configs/coveyd.service',
    'docs',
  ]) {
    await access(join(home, path));
  }
  expect((await readdir(home)).filter((name) => ['src', 'test', 'bench'].includes(name))).toEqual(
    [],
  );
});
