/** SIGKILL of owner, runner, and all daemons at once: no acknowledged task is lost, and every surplus start is told. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { digestOf, utf8 } from '../../src/base/hash.ts';
import { pickDistinct, SeededRandom } from '../../src/base/random.ts';
import { waitUntilGone } from '../../src/testnet/processes.ts';
import { Mesh, processOf, SETTLE_MS, TEST_MS } from './mesh.ts';

const TASKS_IN_FLIGHT = 200;
const ALL = [1, 2, 3, 4, 5];
/** In what order the two that were killed come back: 0 died first. */
const RETURNS = ['1', '2'].map((seed) => {
  const order = pickDistinct(new SeededRandom(`returns ${seed}`), [0, 1], 2);
  return { seed, order, title: `seed ${seed}: back in the order ${order.join(', ')}` };
});
let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(5);
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

/** Each test begins with five living daemons. */
beforeEach(async () => {
  // Of a test that failed nothing may hold the slots of the next.
  await mesh.openGates();
  await mesh.restartAll();
}, TEST_MS);

test(
  'the owner dies after the acknowledgement, while all slots are occupied: the task completes once',
  async () => {
    const gate = mesh.gate();
    const ledger = mesh.ledger('owner');
    await mesh.occupy(3, 5, gate);
    const client = await mesh.client(3);
    const { id, storedOn } = await client.submit(ledger.command('echo done'));
    expect(storedOn.length).toBeGreaterThanOrEqual(2);
    // Its owner is known at once, its reason as soon as the owner has looked around.
    const before = await mesh.network.waitFor('it waits for a slot', async () => {
      const told = await mesh.explain(3, id);
      return told.state === 'waiting' && told.reason === 'no_free_slot' && told;
    });
    const owner = mesh.indexOf(before.owner);
    const via = mesh.another(owner);
    await mesh.network.kill(owner);
    await mesh.untilMember(via, owner, 'dead');
    await gate.open();
    const task = await mesh.until(via, id, 'completed');
    expect(task).toMatchObject({ stdout: 'done\n', losses: 0, conflicts: 0 });
    expect(await ledger.starts()).toMatchObject([{ id, attempt: 1 }]);
    await mesh.restartAll();
    expect(await ledger.starts()).toHaveLength(1);
  },
  TEST_MS,
);

test(
  'the runner dies in mid-task: the task runs again elsewhere, and its history and its log say so',
  async () => {
    const gate = mesh.gate();
    const ledger = mesh.ledger('runner');
    const client = await mesh.client(2);
    const { id } = await client.submit(
      ledger.command(`echo "attempt $COVEY_ATTEMPT"; ${gate.wait}`),
    );
    const first = await mesh.network.waitFor('the first start', async () => {
      const [start] = await ledger.starts();
      return start;
    });
    const runner = mesh.indexOf(first.peer);
    const child = await processOf(first);
    await mesh.network.kill(runner);
    expect(await waitUntilGone([child], 1_000)).toEqual([]);
    await mesh.network.waitFor('the second start', async () => (await ledger.starts()).length > 1);
    await gate.open();
    const via = mesh.another(runner);
    const task = await mesh.until(via, id, 'completed');
    const starts = await ledger.starts();
    expect(starts).toHaveLength(2);
    expect(starts[1]).toMatchObject({ id, attempt: 2 });
    expect(starts[1]?.peer).not.toBe(first.peer);
    expect(task.attempts).toMatchObject([
      { attempt: 1, outcome: 'lost', runner_name: first.peer, accepted: false },
      { attempt: 2, outcome: 'completed', accepted: true, possibly_double: false },
    ]);
    expect(task).toMatchObject({ losses: 2, failures: 0 });
    const { history } = await mesh.explain(via, id);
    expect(history.map(({ what }) => what).join('; ')).toMatch(
      new RegExp(
        `placed on ${first.peer}.*attempt 1 lost: ${first.peer} crashed.*attempt 2 placed`,
      ),
    );
  },
  TEST_MS,
);

test(
  'the log of a runner that died lies on the home stores: every peer can read its end',
  async () => {
    const ledger = mesh.ledger('tail');
    const gate = mesh.gate();
    const client = await mesh.client(1);
    // Noted as started when the runner has had the time to send a tail, which it does once a second.
    const { exec } = ledger.command(gate.wait);
    const argv = [`echo last words; sleep 2.5; ${exec.argv[0]}`];
    const { id } = await client.submit({ exec: { ...exec, argv }, lossesMax: 0 });
    const [start] = await mesh.network.waitFor('the start', async () => {
      const starts = await ledger.starts();
      return starts.length > 0 && starts;
    });
    const runner = mesh.indexOf(start?.peer);
    await mesh.network.kill(runner);
    for (const index of ALL.filter((other) => other !== runner)) {
      await mesh.until(index, id, 'failed');
      const logs = await mesh.network.call(index, 'task.logs', { id });
      expect(logs).toMatchObject({ ok: true, value: { stdout: 'last words\n', source: 'tail' } });
    }
    const failed = await mesh.get(mesh.another(runner), id);
    expect(failed).toMatchObject({ state: 'failed', reason: 'losses' });
  },
  TEST_MS,
);

test.each(RETURNS)(
  'the owner dies right after the client was told of the completion: nothing runs again ($title)',
  async ({ seed, order }) => {
    const ledger = mesh.ledger(`told-${seed}`);
    const ids: string[] = [];
    const killed: number[] = [];
    for (let round = 0; round < 2; round++) {
      const sits = mesh.another(...killed);
      const client = await mesh.client(sits);
      const { id } = await client.submit(ledger.command('sleep 0.3; echo result'));
      const owner = mesh.indexOf((await mesh.explain(sits, id)).owner);
      const via = mesh.another(owner, ...killed);
      const waiter = via === sits ? client : await mesh.client(via);
      const told = await waiter.waitFor(id);
      await mesh.network.kill(owner);
      expect(told).toMatchObject({ state: 'completed', stdout: 'result\n' });
      ids.push(id);
      killed.push(owner);
    }
    // The first comes back alone among those that died, whichever it is.
    for (const position of order) {
      const index = killed[position] ?? 0;
      await mesh.network.restart(index);
      for (const id of ids) {
        await mesh.until(index, id, 'completed');
      }
    }
    await mesh.network.waitForAllAlive();
    for (const id of ids) {
      for (const index of ALL) {
        expect(await mesh.get(index, id)).toMatchObject({ state: 'completed', conflicts: 0 });
      }
      expect(await ledger.startsOf(id)).toHaveLength(1);
    }
  },
  TEST_MS,
);

test(
  'all daemons die with 200 tasks in flight and come back: none lost, one result, every start told',
  async () => {
    const ledger = mesh.ledger('all');
    const clients = await Promise.all([1, 3, 5].map((index) => mesh.client(index)));
    const receipts = (
      await Promise.all(
        clients.map((client, part) =>
          client.submitBulk(
            Array.from({ length: Math.floor((TASKS_IN_FLIGHT + part) / clients.length) }, () =>
              ledger.command('sleep 0.1; echo $COVEY_TASK_ID'),
            ),
          ),
        ),
      )
    ).flat();
    const ids = receipts.map((receipt) => {
      if (receipt instanceof Error) throw receipt;
      return receipt.id;
    });
    expect(ids).toHaveLength(TASKS_IN_FLIGHT);
    await mesh.network.waitFor('some are done', async () => (await ledger.starts()).length >= 20);
    await Promise.all(ALL.map((index) => mesh.network.kill(index)));
    await Promise.all([4, 2, 5, 1, 3].map((index) => mesh.network.restart(index)));
    const client = await mesh.client(2);
    const { done, pending } = await client.wait(ids, { timeoutMs: SETTLE_MS });
    expect(pending).toEqual([]);
    expect(done.filter((task) => task.state !== 'completed')).toEqual([]);

    const starts = await ledger.starts();
    const accepted = await Promise.all(
      ALL.map(async (index) => {
        const connection = await mesh.connection(index);
        const seen = new Map<string, string>();
        for (const id of ids) {
          const answer = await connection.call('task.get', { id });
          if (!answer.ok) throw new Error(`${id} at peer ${index}: ${answer.error.message}`);
          const { attempts, stdout, state } = answer.value;
          expect({ state, stdout }).toEqual({ state: 'completed', stdout: `${id}\n` });
          const winners = attempts.filter((attempt) => attempt.accepted);
          expect(winners).toHaveLength(1);
          const numbers = attempts.map((attempt) => attempt.attempt);
          for (const start of starts.filter((item) => item.id === id)) {
            expect(numbers).toContain(start.attempt);
          }
          seen.set(id, `${winners[0]?.run_id} ${digestOf(utf8(String(stdout)))}`);
        }
        return seen;
      }),
    );
    for (const seen of accepted) expect(seen).toEqual(accepted[0]);
    for (const id of ids) {
      const mine = starts.filter((start) => start.id === id);
      // Each start is an attempt of its own: none ran twice under one number.
      expect(new Set(mine.map((start) => start.attempt)).size).toBe(mine.length);
    }
  },
  TEST_MS,
);
