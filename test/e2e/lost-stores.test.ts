/** A store that is wiped, put back from an old copy, removed, or no store any more: its daemon and the mesh mend it by themselves. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { COVEY } from '../../src/testnet/paths.ts';
import { Mesh, TEST_MS } from './mesh.ts';

const TASKS = 12;
const VICTIM = 3;
let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(3, { slots: 4 });
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

const storeDir = (): string => join(mesh.network.dataDir(VICTIM), 'store');

/** The program itself, at peer 1. */
async function covey(...words: string[]): Promise<{ stdout: string; stderr: string }> {
  const argv = [...words, '--socket', mesh.network.socket(1)];
  const child = spawn(COVEY, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
    });
  await once(child, 'close');
  return said;
}

async function status(index: number) {
  const answer = await mesh.network.call(index, 'system.status', {});
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value;
}

async function runTasks(name: string, via: number): Promise<string[]> {
  const client = await mesh.client(via);
  const ledger = mesh.ledger(name);
  const receipts = await Promise.all(
    Array.from({ length: TASKS }, () => client.submit(ledger.command('echo done'))),
  );
  const ids = receipts.map(({ id }) => id);
  for (const id of ids) await mesh.until(via, id, 'completed');
  return ids;
}

/** Every daemon holds so many tasks, each in a home of three. */
function untilWhole(held: number) {
  return mesh.network.waitFor(`all three hold ${held} tasks`, async () => {
    const counts = await Promise.all([1, 2, 3].map(async (i) => (await status(i)).tasks.held));
    return counts.every((count) => count === held);
  });
}

test(
  'a wiped store is a new one, and gets a copy of everything by itself, finished tasks too',
  async () => {
    const ids = await runTasks('wiped', 1);
    await untilWhole(TASKS);
    const before = await status(VICTIM);
    await mesh.network.kill(VICTIM);
    await rm(storeDir(), { recursive: true });
    await mesh.network.restart(VICTIM);
    const after = await status(VICTIM);
    expect(after.peer_id).toBe(before.peer_id);
    expect(after.store_id).not.toBe(before.store_id);
    await untilWhole(TASKS);
    await mesh.expectOneStartEach(VICTIM, mesh.ledger('wiped'), ids);
  },
  TEST_MS,
);

test(
  'an older copy of a store is refused, becomes another store, and nothing is lost or runs twice',
  async () => {
    const copy = join(dirname(storeDir()), 'copy');
    await mesh.network.kill(VICTIM);
    await cp(storeDir(), copy, { recursive: true });
    await mesh.network.restart(VICTIM);
    const before = await status(VICTIM);
    const ids = await runTasks('rolled-back', VICTIM);
    await untilWhole(2 * TASKS);
    await mesh.network.kill(VICTIM);
    await rm(storeDir(), { recursive: true });
    await cp(copy, storeDir(), { recursive: true });
    await rm(copy, { recursive: true });
    await mesh.network.restart(VICTIM);
    const after = await mesh.network.waitFor('the store was renewed', async () => {
      const answer = await mesh.network.call(VICTIM, 'system.status', {});
      return answer.ok && answer.value.store?.former_store_id !== undefined && answer.value;
    });
    expect(after.store).toMatchObject({
      former_store_id: before.store_id,
      renewed_because: expect.stringContaining('rolled back'),
    });
    expect(after.store_id).not.toBe(before.store_id);
    await untilWhole(2 * TASKS);
    await mesh.expectOneStartEach(VICTIM, mesh.ledger('rolled-back'), ids);
    await runTasks('goes-on', VICTIM);
  },
  TEST_MS,
);

test(
  'a file that is no store any more is set aside, and a new store begun',
  async () => {
    await untilWhole(3 * TASKS);
    await mesh.network.kill(VICTIM);
    const garbage = new Uint8Array(100_000).map((_, i) => i * 7);
    await writeFile(join(storeDir(), 'data.mdb'), garbage);
    await mesh.network.restart(VICTIM);
    await untilWhole(3 * TASKS);
    expect(await readdir(dirname(storeDir()))).toContain('store.corrupt-1');
  },
  TEST_MS,
);

test(
  'a member that is removed comes back as another store; until then an alive one is not removed',
  async () => {
    await untilWhole(3 * TASKS);
    const forget = () => covey('forget', `test${VICTIM}`);
    expect((await forget()).stderr).toContain(
      `Member test${VICTIM} cannot be removed: it is alive`,
    );
    const before = await status(VICTIM);
    await mesh.network.kill(VICTIM);
    await mesh.network.waitFor('it is removed', async () => (await forget()).stdout !== '');
    expect((await covey('members', '-q')).stdout).not.toContain(before.peer_id);
    await mesh.network.restart(VICTIM);
    const after = await mesh.network.waitFor('the store was renewed', async () => {
      const answer = await mesh.network.call(VICTIM, 'system.status', {});
      return answer.ok && answer.value.store?.former_store_id !== undefined && answer.value;
    });
    expect(after.store).toMatchObject({
      former_store_id: before.store_id,
      renewed_because: expect.stringContaining('it was removed from the mesh by test1'),
    });
    await untilWhole(3 * TASKS);
    expect((await covey('members')).stdout).toMatch(new RegExp(`test${VICTIM} +alive`));
  },
  TEST_MS,
);
