/** The test network with a stand-in for the daemon: processes, addresses, faults, and what is left at the end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configSchema } from '../../src/api/config.ts';
import { testnetSocket } from '../../src/testnet/locate.ts';
import { TESTNET_PRESET } from '../../src/testnet/paths.ts';
import { type ProcessRef, refOf, runStateOf, waitUntilGone } from '../../src/testnet/processes.ts';
import { readState } from '../../src/testnet/state.ts';
import { askHub, endHub, networkStatus, startHub } from '../../src/testnet/supervise.ts';
import { TestNetwork, type TestNetworkOptions } from '../../src/testnet/testnet.ts';
import { endWithUs } from '../support/end-with-us.ts';
import { covey } from './cli-harness.ts';

const FAKE: [string, string] = [
  process.execPath,
  new URL('./fake-coveyd.ts', import.meta.url).pathname,
];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function up(options: Partial<TestNetworkOptions> = {}): Promise<TestNetwork> {
  const dir = options.dir ?? join(await scratch(), 'net');
  endWithUs({ network: dir });
  const network = await TestNetwork.up({ peers: 3, coveyd: FAKE, ...options, dir });
  cleanups.push(() => network.down());
  return network;
}

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'covey-test-'));
  endWithUs({ files: dir });
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Waits until a peer sees the others so: on a loaded host a greeting may come too late to be taken for one. */
const untilView = (network: TestNetwork, index: number, wanted: Record<string, string>) =>
  network.waitFor(`peer ${index} sees ${JSON.stringify(wanted)}`, async () =>
    isDeepStrictEqual(await view(network, index), wanted),
  );

/** How one peer sees the others. */
async function view(network: TestNetwork, index: number): Promise<Record<string, string>> {
  const members = (await network.members(index)) ?? [];
  return Object.fromEntries(members.map((member) => [member.name, member.status]));
}

test('three peers see each other; after down no process and no file is left', async () => {
  const network = await up();
  await untilView(network, 2, { test1: 'alive', test2: 'alive', test3: 'alive' });
  const pids = network.indices.map((index) => network.pid(index));
  const refs = await Promise.all(pids.map(refOf));
  await network.down();
  expect(await exists(network.dir)).toBe(false);
  for (const ref of refs) expect(ref && (await runStateOf(ref))).toBe('dead');
});

test('a killed peer is refused at once, and is back after a restart', async () => {
  const network = await up();
  await network.kill(2);
  await network.waitFor('peer 1 sees it', async () => (await view(network, 1)).test2 === 'dead');
  expect(() => network.pid(2)).toThrow('does not run');
  await network.restart(2);
  await untilView(network, 1, { test1: 'alive', test2: 'alive', test3: 'alive' });
});

test('a stopped peer is silent, and goes on when continued', async () => {
  const network = await up();
  await network.stop(3);
  expect((await network.status())[2]).toMatchObject({ state: 'stopped', members: null });
  await untilView(network, 1, { test1: 'alive', test2: 'alive', test3: 'dead' });
  await network.cont(3);
  await network.waitFor('it greets', async () => (await view(network, 1)).test3 === 'alive');
});

test('a partition stops the bytes between its groups alone', async () => {
  const network = await up();
  network.partition([[1], [2, 3]]);
  await untilView(network, 1, { test1: 'alive', test2: 'dead', test3: 'dead' });
  await untilView(network, 3, { test1: 'dead', test2: 'alive', test3: 'alive' });
  network.heal();
  await untilView(network, 1, { test1: 'alive', test2: 'alive', test3: 'alive' });
  expect(() => network.partition([[1], [4]])).toThrow('there is no peer 4');
  expect(() => network.partition([[1], [1]])).toThrow('one group only');
});

test('a daemon that cannot start is told with its log, and nothing is left', async () => {
  const dir = join(await scratch(), 'net');
  await expect(up({ dir, env: { FAKE_FAILS: 'test2' } })).rejects.toThrow(
    /peer 2: the daemon ended \(exit code 1\); its log ends with\s+the disk is upside down/,
  );
  expect(await exists(dir)).toBe(false);
});

test('a directory that was there stays, and a long path gets a short directory for its sockets', async () => {
  const dir = join(await scratch(), 'x'.repeat(90));
  const network = await up({ dir: join(dir, 'a'), peers: 1 });
  expect(Buffer.byteLength(network.socket(1))).toBeLessThanOrEqual(107);
  expect(await testnetSocket(network.dir, 1)).toEqual({ ok: true, value: network.socket(1) });
  expect(await testnetSocket(network.dir, 2)).toMatchObject({ ok: false });
  await network.down();
  expect(await exists(network.socket(1))).toBe(false);
  expect(await readdir(dir)).toEqual([]);
});

test('configs/testnet.yaml is a configuration, and each daemon dials from its own address', async () => {
  configSchema.parse(parse(await readFile(TESTNET_PRESET, 'utf8')));
  const network = await up({ peers: 2, config: { heartbeat_interval: '100ms' } });
  const own = parse(await readFile(join(network.dataDir(2), 'config.yaml'), 'utf8'));
  const { dial_from, heartbeat_interval } = configSchema.parse(own);
  expect({ dial_from, heartbeat_interval }).toEqual({
    dial_from: network.address(2).replace(/:.*/, ''),
    heartbeat_interval: 100,
  });
});

test('SIGTERM of the program that holds a network ends the network first', async () => {
  const dir = join(await scratch(), 'net');
  const source = `
    import { TestNetwork } from ${JSON.stringify(new URL('../../src/testnet/testnet.ts', import.meta.url).href)};
    const options = { peers: 2, dir: ${JSON.stringify(dir)}, coveyd: ${JSON.stringify(FAKE)} };
    const network = await TestNetwork.up(options);
    console.log(network.pid(1), network.pid(2));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  const refs = await Promise.all(String(line).trim().split(' ').map(Number).map(refOf));
  child.kill('SIGTERM');
  expect(await exit).toEqual([null, 'SIGTERM']);
  for (const ref of refs) expect(ref && (await runStateOf(ref))).toBe('dead');
  expect(await exists(dir)).toBe(false);
});

test('a supervisor keeps the network; any process can ask it, and down ends all', async () => {
  const dir = join(await scratch(), 'net');
  endWithUs({ network: dir });
  const started = await startHub({ dir, peers: 2, coveyd: FAKE });
  cleanups.push(() => endHub(dir));
  expect(started.ok).toBe(true);
  expect(await startHub({ dir, peers: 2, coveyd: FAKE })).toMatchObject({
    ok: false,
    error: expect.stringContaining(`covey testnet down --dir ${dir}`),
  });
  expect(await askHub(dir, { method: 'kill', params: { index: 2 } })).toMatchObject({ ok: true });
  const status = await networkStatus(dir);
  expect(status).toMatchObject({
    ok: true,
    value: { supervised: true, peers: [{ state: 'running' }, { state: 'dead', pid: null }] },
  });
  expect(await askHub(dir, { method: 'stop', params: { index: 2 } })).toMatchObject({
    ok: false,
    error: 'peer 2 does not run',
  });
  expect(await askHub(dir, { method: 'restart', params: { index: 2 } })).toMatchObject({
    ok: true,
  });
  const refs = await processesOf(dir);
  expect(refs).toHaveLength(3);
  expect(await endHub(dir)).toMatchObject({ ok: true });
  expect(await waitUntilGone(refs, 0)).toEqual([]);
  expect(await exists(dir)).toBe(false);
});

test('down works after a crash of the supervisor', async () => {
  const dir = join(await scratch(), 'net');
  endWithUs({ network: dir });
  const started = await startHub({ dir, peers: 2, coveyd: FAKE });
  cleanups.push(() => endHub(dir));
  if (!started.ok) throw new Error(started.error);
  const refs = await processesOf(dir);
  process.kill(started.value.owner.pid, 'SIGKILL');
  await waitUntilGone([started.value.owner], 5_000);
  expect(await networkStatus(dir)).toMatchObject({
    ok: true,
    value: {
      supervised: false,
      // The daemons go on, and say what they see; the relays between them are gone.
      peers: [
        { state: 'running', members: { test1: 'alive', test2: expect.any(String) } },
        { state: 'running', members: { test1: expect.any(String), test2: 'alive' } },
      ],
    },
  });
  expect(await askHub(dir, { method: 'heal', params: {} })).toMatchObject({
    ok: false,
    error: expect.stringContaining('the supervisor is gone'),
  });
  const told = await covey(['testnet', 'status', '--dir', dir]);
  expect(told.stderr).toContain(`covey testnet down --dir ${dir}`);
  expect(told.stdout).toMatch(/ 1 alive, 1 dead /);
  expect(await endHub(dir)).toMatchObject({ ok: true });
  expect(await waitUntilGone(refs, 0)).toEqual([]);
  expect(await exists(dir)).toBe(false);
});

/** The supervisor and its daemons, from the record. */
async function processesOf(dir: string): Promise<ProcessRef[]> {
  const state = await readState(dir);
  if (!state.ok || !state.value) throw new Error('there is no record');
  const daemons = state.value.peers.map((peer) => peer.process);
  return [state.value.owner, ...daemons].filter((ref) => ref !== undefined);
}
