/** The test network with real daemons, through its library and through `covey testnet`. */
import { execFile } from 'node:child_process';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual, promisify } from 'node:util';
import { expect, test } from 'vitest';
import { COVEY } from '../../src/testnet/paths.ts';
import { type ProcessRef, refOf, waitUntilGone } from '../../src/testnet/processes.ts';
import { callDaemon } from '../../src/testnet/rpc.ts';
import { endHub } from '../../src/testnet/supervise.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import { endWithUs } from '../support/end-with-us.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, upNetwork } from './setting.ts';

const execFileAsync = promisify(execFile);
/** Of partitions and stops it is their length that is waited for. */
const up = (peers: number): Promise<TestNetwork> =>
  upNetwork({ peers, config: { silence_patience: '3s' } });

/** How peer `index` lists the others, by name. */
async function view(network: TestNetwork, index: number): Promise<Record<string, string>> {
  const members = (await network.members(index)) ?? [];
  return Object.fromEntries(members.map((member) => [member.name, member.status]));
}

const until = (network: TestNetwork, index: number, wanted: Record<string, string>) =>
  network.waitFor(`peer ${index} sees ${JSON.stringify(wanted)}`, async () => {
    const seen = await view(network, index);
    return Object.entries(wanted).every(([name, status]) => seen[name] === status);
  });

test(
  'five daemons are one mesh; a killed one is dead to all, and alive again after a restart',
  async () => {
    const network = await up(5);
    expect(Object.values(await view(network, 3))).toEqual(Array(5).fill('alive'));
    await network.kill(5);
    for (const index of [1, 2, 3, 4]) await until(network, index, { test5: 'dead' });
    await network.restart(5);
    await network.waitForAllAlive();
  },
  TEST_MS,
);

test(
  'without relays the daemons dial each other, find a restarted one again, and cannot be cut',
  async () => {
    const network = await upNetwork({ peers: 2, relays: false, preset: false });
    const own = (await network.members(1))?.map(({ addresses }) => addresses);
    expect(own).toContainEqual([network.address(2)]);
    await network.restart(2, { graceful: false });
    await network.waitForAllAlive();
    expect(() => network.partition([[1], [2]])).toThrow('there are no relays to cut');
  },
  TEST_MS,
);

test(
  'after a partition each side lists the other dead, and heal makes one mesh again',
  async () => {
    const network = await up(4);
    network.partition([
      [1, 2],
      [3, 4],
    ]);
    await until(network, 1, { test2: 'alive', test3: 'dead', test4: 'dead' });
    await until(network, 4, { test1: 'dead', test2: 'dead', test3: 'alive' });
    network.heal();
    await network.waitForAllAlive();
  },
  TEST_MS,
);

test(
  'a stopped daemon is dead to the others, and comes back when it goes on',
  async () => {
    const network = await up(3);
    await network.stop(2);
    await until(network, 1, { test2: 'dead' });
    await until(network, 3, { test2: 'dead' });
    await network.cont(2);
    await network.waitForAllAlive();
  },
  TEST_MS,
);

test(
  'covey testnet: up, status, --peer, env, kill, restart, stop, cont, partition, heal, down',
  async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'covey-e2e-'));
    const dir = join(scratch, 'net');
    endWithUs({ network: dir });
    endWithUs({ files: scratch });
    atEnd(async () => {
      await endHub(dir);
      await rm(scratch, { recursive: true, force: true });
    });
    const covey = async (...words: string[]) =>
      (await execFileAsync(COVEY, words, { timeout: TEST_MS })).stdout;
    const json = async (...words: string[]) =>
      JSON.parse(await covey('testnet', ...words, '--dir', dir, '--json'));

    const started: { readonly peers: readonly { readonly pid: number }[] } = await json(
      'up',
      '-n',
      '3',
    );
    const refs = await Promise.all(started.peers.map((peer) => refOf(peer.pid)));
    expect(refs.filter((ref) => ref !== undefined)).toHaveLength(3);
    await expect(covey('testnet', 'up', '--dir', dir)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('covey testnet down'),
    });
    expect(await json('status')).toMatchObject({
      supervised: true,
      peers: Array(3).fill({ state: 'running', members: { test1: 'alive', test2: 'alive' } }),
    });
    const members = JSON.parse(await covey('members', '--json', '--peer', `testnet:${dir}:2`));
    expect(members.members).toHaveLength(3);
    expect(await covey('testnet', 'env', '2', '--dir', dir)).toBe(
      `export COVEY_SOCKET='${join(dir, 'peer2', 'covey.sock')}'\n`,
    );
    await json('kill', '3');
    expect((await json('status')).peers[2]).toMatchObject({ state: 'dead', pid: null });
    await json('restart', '3');
    expect((await json('status')).peers[2]).toMatchObject({ state: 'running' });
    await json('stop', '2');
    expect((await json('status')).peers[1]).toMatchObject({ state: 'stopped', members: null });
    await json('cont', '2');
    // The sockets are asked, not the program: it takes a second to start. The test's time limit ends a wait in vain.
    const untilSeen = async (index: number, wanted: Record<string, string>): Promise<void> => {
      const socket = join(dir, `peer${index}`, 'covey.sock');
      for (;;) {
        const answer = await callDaemon(socket, 'members.list', {});
        const members = answer.ok ? answer.value.members : [];
        const seen = Object.fromEntries(members.map((one) => [one.name, one.status]));
        if (isDeepStrictEqual(seen, wanted)) return;
        await delay(25);
      }
    };
    const whole = { test1: 'alive', test2: 'alive', test3: 'alive' };
    for (const index of [1, 2, 3]) await untilSeen(index, whole);
    await json('partition', '1,2/3');
    await untilSeen(2, { ...whole, test3: 'dead' });
    await untilSeen(3, { ...whole, test1: 'dead', test2: 'dead' });
    await json('heal');
    for (const index of [1, 2, 3]) await untilSeen(index, whole);
    await expect(json('partition', '1,2')).rejects.toMatchObject({ code: 2 });
    await expect(json('stop', '4')).rejects.toMatchObject({ code: 1 });
    await json('down');
    const alive: ProcessRef[] = refs.filter((ref) => ref !== undefined);
    expect(await waitUntilGone(alive, 0)).toEqual([]);
    await expect(access(dir)).rejects.toThrow('ENOENT');
  },
  TEST_MS,
);
