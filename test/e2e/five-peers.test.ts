/**
 * On five daemons, where no peer holds everything: one id for one dedupe key, events of tasks that lie elsewhere, and
 * what a task may lose with its runners before it fails.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { NotificationParams } from '../../src/api/methods.ts';
import { COVEY, COVEY_NODE } from '../../src/testnet/paths.ts';
import { type Ledger, Mesh, SETTLE_MS, TEST_MS } from './mesh.ts';

const CLIENT = new URL('../../src/client/index.ts', import.meta.url).href;
let mesh: Mesh;
const children: ChildProcess[] = [];

beforeAll(async () => {
  mesh = await Mesh.up(5);
}, TEST_MS);
afterEach(async () => {
  await mesh.openGates();
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}, TEST_MS);
afterAll(() => mesh.end(), TEST_MS);

/** Starts a program and collects what it prints. */
function program(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const said = { text: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.text += text;
  });
  return { child, said, exited: once(child, 'exit') };
}

const startOf = (ledger: Ledger, id: string, attempt: number) =>
  mesh.network.waitFor(
    `attempt ${attempt} of ${id} starts`,
    async () => (await ledger.startsOf(id)).find((start) => start.attempt === attempt),
    SETTLE_MS,
  );

test(
  'one dedupe key from five peers at once is one task, which runs once',
  async () => {
    const ledger = mesh.ledger('dedupe');
    const task = { ...ledger.command('echo once'), dedupe_key: 'nightly' };
    const answers = await Promise.all(
      mesh.network.indices.map((index) => mesh.network.call(index, 'task.submit', task, 20_000)),
    );
    const receipts = answers.map((answer) => {
      if (!answer.ok) throw new Error(answer.error.message);
      return answer.value;
    });
    const id = receipts[0]?.id ?? '';
    expect(receipts.map((receipt) => receipt.id)).toEqual(Array(5).fill(id));
    expect(receipts.filter((receipt) => !receipt.existing)).toHaveLength(1);
    // In another queue the same word is another key.
    const other = await mesh.network.call(1, 'task.submit', { ...task, queue: 'other' }, 20_000);
    if (!other.ok) throw new Error(other.error.message);
    const client = await mesh.client(4);
    const { done } = await client.wait([id, other.value.id]);
    expect(done.map(({ state }) => state)).toEqual(['completed', 'completed']);
    await mesh.expectOneStartEach(2, ledger, [id, other.value.id]);
  },
  TEST_MS,
);

test(
  'events of chosen ids: every change where the task lies, its end everywhere, and of no other task',
  async () => {
    const client = await mesh.client(1);
    const { id } = await client.submit({ type: 'watched' });
    const { home } = await mesh.explain(1, id);
    const holder = mesh.indexOf(home[0]);
    const stranger = mesh.another(...home.map((name) => mesh.indexOf(name)));
    const heardAt = async (index: number) => {
      const connection = await mesh.connection(index);
      const heard: NotificationParams<'event'>[] = [];
      connection.on('event', (event) => heard.push(event));
      const topics = ['task' as const];
      const subscribed = await connection.call('events.subscribe', { topics, ids: [id] });
      if (!subscribed.ok) throw new Error(subscribed.error.message);
      return heard;
    };
    const [near, far] = [await heardAt(holder), await heardAt(stranger)];
    const worker = await (await mesh.client(2)).work('watched', () => 'seen');
    const other = await client.submit({ type: 'watched' });
    await client.wait([id, other.id]);
    await mesh.network.waitFor('both hear of the end', () =>
      [near, far].every((heard) => heard.some(({ type }) => type === 'completed')),
    );
    await worker.stop();
    expect(near.map(({ type }) => type)).toEqual(['active', 'completed']);
    expect(far.at(-1)).toMatchObject({ topic: 'task', type: 'completed', id });
    for (const event of [...near, ...far]) expect(event.id).toBe(id);
  },
  TEST_MS,
);

/** The real client in a process of its own; its handler answers only when it is told to stop. */
async function startWorker(index: number) {
  const script = `
    import { connect } from ${JSON.stringify(CLIENT)};
    const covey = await connect({ socket: ${JSON.stringify(mesh.network.socket(index))} });
    await covey.work('patient', async (_, { attempt, signal }) => {
      console.log('started', attempt);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      console.log('aborted', signal.reason.message);
      return 'too late';
    });
    console.log('ready');`;
  const { said } = program(COVEY_NODE, ['--input-type=module', '-e', script]);
  await mesh.network.waitFor('the worker is ready', () => said.text.includes('ready'));
  return said;
}

test(
  'runners that are killed: on_lost fail and losses_max end the task, and a stale handler is aborted',
  async () => {
    const ledger = mesh.ledger('losses');
    const gate = mesh.gate();
    const client = await mesh.client(1);
    const submit = async (options: { onLost?: 'fail'; lossesMax?: number }): Promise<string> =>
      (await client.submit({ ...ledger.command(gate.wait), ...options })).id;
    const killRunners = async (...peers: readonly string[]): Promise<number> => {
      const killed = peers.map((name) => mesh.indexOf(name));
      await Promise.all(killed.map((index) => mesh.network.kill(index)));
      return mesh.another(...killed);
    };

    // A daemon's death while it runs the task counts two.
    const never = await submit({ onLost: 'fail', lossesMax: 9 });
    const twice = await submit({ lossesMax: 2 });
    const first = [await startOf(ledger, never, 1), await startOf(ledger, twice, 1)];
    let via = await killRunners(...first.map(({ peer }) => peer));
    const failed = await mesh.until(via, never, 'failed');
    expect(failed).toMatchObject({ reason: 'losses', losses: 2, failures: 0 });
    expect(failed.attempts).toMatchObject([{ outcome: 'lost', accepted: false }]);
    const { peer } = await startOf(ledger, twice, 2);
    await mesh.restartAll();

    // The second host that the other task takes with it has a worker too, and runs a third task that may lose nothing.
    const index = mesh.indexOf(peer);
    const once = await submit({ lossesMax: 1 });
    const third = await startOf(ledger, once, 1);
    const said = await startWorker(index);
    const stale = await client.submit({ type: 'patient' });
    await mesh.network.waitFor('its handler runs', () => said.text.includes('started 1'));
    via = await killRunners(peer, third.peer);
    const heir = await (await mesh.client(via)).work('patient', () => 'inherited');
    for (const [id, losses] of [[twice, 4] as const, [once, 2] as const]) {
      expect(await mesh.until(via, id, 'failed')).toMatchObject({ reason: 'losses', losses });
    }
    expect(await mesh.until(via, stale.id, 'completed')).toMatchObject({ result: 'inherited' });
    // Nobody could tell it so far.
    expect(said.text).not.toContain('aborted');
    await mesh.restartAll();
    await mesh.network.waitFor('it hears that it is stale', () => said.text.includes('aborted'));
    await heir.stop();
    await expectOrphan(via, stale.id);
    for (const [id, starts] of [[never, 1] as const, [twice, 2] as const, [once, 1] as const]) {
      expect(await ledger.startsOf(id)).toHaveLength(starts);
      for (const at of mesh.network.indices) {
        expect(await mesh.get(at, id)).toMatchObject({ state: 'failed', reason: 'losses' });
      }
    }
  },
  TEST_MS,
);

/** `covey get --json` shows the late answer beside the accepted one. */
async function expectOrphan(via: number, id: string): Promise<void> {
  const shown = await mesh.network.waitFor(
    'the late answer has come',
    async () => {
      const get = program(COVEY, ['get', '--socket', mesh.network.socket(via), '--json', id]);
      expect((await get.exited)[0]).toBe(0);
      const task = JSON.parse(get.said.text) as { orphans: readonly unknown[] };
      return task.orphans.length > 0 && task;
    },
    SETTLE_MS,
  );
  expect(shown).toMatchObject({
    state: 'completed',
    result: 'inherited',
    conflicts: 0,
    attempts: [{ outcome: 'lost' }, { outcome: 'completed', accepted: true }],
    orphans: [{ attempt: 1, outcome: 'completed' }],
  });
}
