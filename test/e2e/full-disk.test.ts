/**
 * One of four daemons has its data on a disk that fills up while it runs tasks and clients submit through all: nobody
 * waits for it, what runs there ends, what it holds can be read, and it takes tasks again when there is room.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SmallDisk } from '../../src/testnet/chaos-disk.ts';
import { Mesh, TEST_MS } from './mesh.ts';

const PEERS = 4;
const FULL = 4;
const SLOTS = 2;
/** Tasks through each peer while the disk is full. */
const TASKS = 6;
/** No patience of a takeover, and no 5 s of a call that is not answered. */
const SOON_MS = 4_000;

let dir: string;
let disk: SmallDisk | undefined;
let mesh: Mesh;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-full-'));
  const mounted = await SmallDisk.mount(join(dir, 'disk'));
  // Without root a directory of the same disk, which nobody fills: the rest holds there too.
  if (mounted.ok) disk = mounted.value;
  else await mkdir(join(dir, 'disk'));
  const dataDirs = { [FULL]: join(dir, 'disk', 'data') };
  mesh = await Mesh.up(PEERS, { slots: SLOTS, dataDirs });
}, TEST_MS);

afterAll(async () => {
  await mesh.end();
  await disk?.unmount();
  await rm(dir, { recursive: true, force: true });
}, TEST_MS);

async function roomAtFull(): Promise<string | undefined> {
  const answer = await mesh.network.call(FULL, 'system.status', {});
  return answer.ok ? answer.value.store?.room : undefined;
}

/** The peers on which it ran, in the order of its attempts. */
const runners = async (id: string): Promise<string[]> =>
  (await mesh.get(1, id)).attempts.map(({ runner_name }) => runner_name ?? '');

async function runEverywhere(name: string): Promise<{ ids: string[]; slowestMs: number }> {
  const ledger = mesh.ledger(name);
  const ids: string[] = [];
  let slowestMs = 0;
  await Promise.all(
    mesh.network.indices.map(async (index) => {
      const client = await mesh.client(index);
      for (let i = 0; i < TASKS; i++) {
        const startedMs = performance.now();
        const { id } = await client.submit(ledger.command());
        expect((await client.waitFor(id)).state).toBe('completed');
        slowestMs = Math.max(slowestMs, performance.now() - startedMs);
        ids.push(id);
      }
    }),
  );
  await mesh.expectOneStartEach(1, ledger, ids);
  return { ids, slowestMs };
}

test(
  'a full disk holds up nobody, and comes back into use by itself',
  async () => {
    const gate = mesh.gate();
    const running = await mesh.occupy(1, PEERS * SLOTS - 1, gate);
    const there: string[] = [];
    for (const id of running) if ((await runners(id)).includes(`test${FULL}`)) there.push(id);
    expect(there.length).toBeGreaterThan(0);

    await disk?.fill();
    const filled = disk !== undefined;
    await mesh.network.waitFor('the others know', async () => {
      const members = await mesh.network.members(1);
      const shortage = members?.find(({ name }) => name === `test${FULL}`)?.shortage;
      return !filled || shortage === 'full';
    });
    await gate.open();
    // A result that cannot be written where it was made is brought to another store.
    for (const id of running)
      expect((await mesh.until(1, id, 'completed')).attempts).toHaveLength(1);

    const { ids, slowestMs } = await runEverywhere('full');
    expect(slowestMs).toBeLessThan(SOON_MS);
    for (const id of filled ? ids : []) expect(await runners(id)).not.toContain(`test${FULL}`);
    for (const id of [...there, ...ids]) expect((await mesh.get(FULL, id)).state).toBe('completed');

    await disk?.free();
    await mesh.network.waitFor('there is room', async () => (await roomAtFull()) === 'ample');
    const self = mesh.network.identity(FULL).storeId;
    await mesh.network.waitFor('it stores new tasks', async () => {
      const params = { type: 'none', durability: 'all' as const };
      const answer = await mesh.network.call(FULL, 'task.submit', params);
      return answer.ok && answer.value.stored_on.includes(self);
    });
    await mesh.network.waitFor('it runs tasks', async () => {
      const client = await mesh.client(FULL);
      const { id } = await client.submit(mesh.ledger('again').command());
      await client.waitFor(id);
      return (await runners(id)).includes(`test${FULL}`);
    });
  },
  TEST_MS,
);
