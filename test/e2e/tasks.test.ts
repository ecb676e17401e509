/** What a task can be told to do, through real daemons: order, time, retries, cancels, workers and their deaths. */
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WORKER_RENEW_MS } from '../../src/executors/worker.ts';
import { waitUntilGone } from '../../src/testnet/processes.ts';
import { Mesh, processOf, TEST_MS } from './mesh.ts';

const CLIENT = new URL('../../src/client/index.ts', import.meta.url).href;
/** A busy host ends one attempt and starts the next well within it. */
const TOTAL_MS = 4_000;
let mesh: Mesh;

beforeAll(async () => {
  mesh = await Mesh.up(3);
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

test(
  'on one host: the smaller priority first, then the older',
  async () => {
    const one = await Mesh.up(1);
    try {
      const gate = one.gate();
      const ledger = one.ledger('order');
      await one.occupy(1, 1, gate);
      const client = await one.client(1);
      const ids: string[] = [];
      for (const priority of [7, 0, 7, 3, 0]) {
        ids.push((await client.submit({ ...ledger.command(), priority })).id);
      }
      await gate.open();
      await client.wait(ids);
      const order = (await ledger.starts()).map(({ id }) => ids.indexOf(id));
      expect(order).toEqual([1, 4, 3, 0, 2]);
    } finally {
      await one.end();
    }
  },
  TEST_MS,
);

test(
  'delay, backoff and retry_of',
  async () => {
    const client = await mesh.client(1);
    const ledger = mesh.ledger('times');
    const later = await client.submit({ type: 'nobody', delayMs: 3_600_000 });
    expect(await mesh.get(2, later.id)).toMatchObject({ state: 'delayed', reason: 'run_at' });
    await client.cancel(later.id);
    const delayed = await client.submit({ ...ledger.command(), delayMs: 600 });
    const onTime = await client.waitFor(delayed.id);
    const [placed] = onTime.attempts;
    const lag = Date.parse(placed?.placedAt ?? '') - Date.parse(onTime.submittedAt);
    expect(lag).toBeGreaterThanOrEqual(600);

    const { id } = await client.submit({
      ...ledger.command('echo try $COVEY_ATTEMPT; test $COVEY_ATTEMPT = 3'),
      attempts: 3,
      backoff: { type: 'exponential', delayMs: 100 },
    });
    const tried = await client.waitFor(id);
    expect(tried).toMatchObject({ state: 'completed', stdout: 'try 3\n', failures: 2, losses: 0 });
    const outcomes = tried.attempts.map(({ outcome, exitCode }) => [outcome, exitCode]);
    expect(outcomes).toEqual([
      ['failed', 1],
      ['failed', 1],
      ['completed', 0],
    ]);
    const times = tried.attempts.map(({ placedAt, endedAt }) => ({
      from: Date.parse(placedAt),
      to: Date.parse(endedAt ?? ''),
    }));
    // 100 and 200 ms with a jitter of a quarter.
    expect((times[1]?.from ?? 0) - (times[0]?.to ?? 0)).toBeGreaterThanOrEqual(74);
    expect((times[2]?.from ?? 0) - (times[1]?.to ?? 0)).toBeGreaterThanOrEqual(149);

    const bad = await client.submit(ledger.command('echo no >&2; exit 9'));
    const failed = await client.waitFor(bad.id);
    expect(failed).toMatchObject({ state: 'failed', reason: 'exit', exitCode: 9, stderr: 'no\n' });
    const again = await (await mesh.client(3)).retry(bad.id);
    expect(again.id).not.toBe(bad.id);
    const retried = await client.waitFor(again.id);
    expect(retried).toMatchObject({ state: 'failed', exitCode: 9, retryOf: bad.id });
    expect(await ledger.startsOf(bad.id)).toHaveLength(1);
    expect(await ledger.startsOf(again.id)).toHaveLength(1);
  },
  TEST_MS,
);

test(
  'queue, run and total timeouts: what waits never starts, what runs ends with its processes',
  async () => {
    const client = await mesh.client(2);
    const ledger = mesh.ledger('timeouts');
    const gate = mesh.gate();
    const blockers = await mesh.occupy(2, 3, gate);
    const late = await client.submit({ ...ledger.command(), queueTimeoutMs: 300 });
    expect(await client.waitFor(late.id)).toMatchObject({
      state: 'expired',
      reason: 'queue_timeout',
      attempts: [],
    });
    await gate.open();
    await client.wait(blockers);
    const slow = await client.submit({ ...ledger.command('sleep 60'), runTimeoutMs: 1_000 });
    // Four attempts are left when its whole time is up: none of them is made.
    const whole = await client.submit({
      ...ledger.command('test $COVEY_ATTEMPT = 1 || sleep 60; exit 1'),
      attempts: 6,
      totalTimeoutMs: TOTAL_MS,
    });
    for (const { id } of [slow, whole]) {
      expect(await client.waitFor(id)).toMatchObject({ state: 'failed', reason: 'timeout' });
      const last = (await ledger.startsOf(id)).at(-1);
      if (last === undefined) throw new Error('it never started');
      expect(() => process.kill(last.pid, 0)).toThrow('ESRCH');
    }
    const { attempts, submittedAt, finishedAt } = await client.get(whole.id);
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['failed', 'timeout']);
    expect(Date.parse(finishedAt ?? '') - Date.parse(submittedAt)).toBeGreaterThanOrEqual(TOTAL_MS);
    expect(await ledger.startsOf(whole.id)).toHaveLength(2);
    expect(await ledger.startsOf(late.id)).toEqual([]);
  },
  TEST_MS,
);

test(
  'cancel from any peer: what waits never starts, what runs ends with its children',
  async () => {
    const client = await mesh.client(1);
    const ledger = mesh.ledger('cancels');
    const gate = mesh.gate();
    // A child of the shell that ignores TERM: the group is killed as one.
    const active = await client.submit(ledger.command("trap '' TERM; sleep 300 & wait"));
    const [start] = await mesh.network.waitFor('the start', async () => {
      const starts = await ledger.startsOf(active.id);
      return starts.length > 0 && starts;
    });
    if (start === undefined) throw new Error('it never started');
    const shell = await processOf(start);
    const blockers = await mesh.occupy(1, 2, gate);
    const waiting = await client.submit(ledger.command());
    for (const [via, { id }] of [[2, waiting] as const, [3, active] as const]) {
      await (await mesh.client(via)).cancel(id, 'not needed');
      const task = await client.waitFor(id);
      expect(task).toMatchObject({ state: 'canceled', cancelRequested: 'not needed' });
    }
    expect(await waitUntilGone([shell], 1_000)).toEqual([]);
    await gate.open();
    const { done } = await client.wait(blockers);
    expect(done.map(({ state }) => state)).toEqual(['completed', 'completed']);
    expect(await ledger.startsOf(waiting.id)).toEqual([]);
    // A final task stays as it is.
    expect(await client.cancel(blockers[0] ?? '')).toMatchObject({ state: 'completed' });
  },
  TEST_MS,
);

test(
  'a worker task: progress is seen at every peer, and a cancel from another one aborts the handler',
  async () => {
    const worker = await mesh.client(1);
    const aborted: unknown[] = [];
    const running = await worker.work('long', async (payload, { signal, progress }) => {
      progress({ seen: payload });
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      aborted.push(signal.reason);
      throw new Error('stopped early');
    });
    const client = await mesh.client(2);
    const { id } = await client.submit({ type: 'long', payload: { of: 'seven' } });
    for (const index of mesh.network.indices) {
      await mesh.network.waitFor(`peer ${index} sees the progress`, async () => {
        const { progress } = await mesh.get(index, id);
        return JSON.stringify(progress) === '{"seen":{"of":"seven"}}';
      });
    }
    await (await mesh.client(3)).cancel(id);
    expect(await client.waitFor(id)).toMatchObject({ state: 'canceled' });
    expect(aborted).toHaveLength(1);
    await running.stop();
    // Nobody is left for the type: the task waits, and says for what.
    const nobody = await client.submit({ type: 'long' });
    await mesh.network.waitFor('it says no_worker', async () => {
      const { state, reason } = await mesh.get(3, nobody.id);
      return state === 'waiting' && reason === 'no_worker';
    });
    await client.cancel(nobody.id);
    await client.waitFor(nobody.id);
  },
  TEST_MS,
);

test(
  'a worker program that is killed: its attempts restart at once elsewhere',
  async () => {
    const script = `
      import { connect } from ${JSON.stringify(CLIENT)};
      const covey = await connect({ socket: ${JSON.stringify(mesh.network.socket(1))} });
      await covey.work('mortal', (_, { attempt }) => {
        console.log('started', attempt);
        return new Promise(() => setInterval(() => {}, 1_000));
      });
      console.log('ready');`;
    const program = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    program.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    try {
      await mesh.network.waitFor('it is ready', () => said.includes('ready'));
      const client = await mesh.client(2);
      const { id } = await client.submit({ type: 'mortal' });
      await mesh.network.waitFor('its handler runs', () => said.includes('started 1'));
      const heir = await mesh.client(3);
      const attempts: number[] = [];
      await heir.work('mortal', (_payload, { attempt }) => {
        attempts.push(attempt);
        return 'inherited';
      });
      const killedAt = performance.now();
      program.kill('SIGKILL');
      const task = await client.waitFor(id);
      // Not at the end of its lease, which is three times as long.
      expect(performance.now() - killedAt).toBeLessThan(WORKER_RENEW_MS);
      expect(attempts).toEqual([2]);
      expect(task).toMatchObject({
        state: 'completed',
        result: 'inherited',
        losses: 1,
        failures: 0,
      });
      expect(task.attempts).toMatchObject([
        { outcome: 'lost', runnerName: 'test1' },
        { outcome: 'completed', runnerName: 'test3', possiblyDouble: false },
      ]);
    } finally {
      program.kill('SIGKILL');
    }
  },
  TEST_MS,
);

test(
  'a directory that no host has: the task waits, says so of every peer, and runs when it is made',
  async () => {
    const client = await mesh.client(1);
    const cwd = join(mesh.dir, 'later');
    const { id } = await client.submit({ exec: { argv: ['pwd'], cwd } });
    await mesh.network.waitFor('every peer has refused', async () => {
      const { because, reason } = await mesh.explain(2, id);
      const codes = because.map(({ code }) => code);
      return reason === 'no_eligible_peer' && codes.join() === Array(3).fill('no_such_cwd').join();
    });
    await mkdir(cwd);
    expect(await client.waitFor(id)).toMatchObject({ state: 'completed', stdout: `${cwd}\n` });
  },
  TEST_MS,
);

test(
  'the same id again is the same task, through whatever peer; with another body it is refused',
  async () => {
    const ledger = mesh.ledger('same');
    const reserved = await mesh.network.call(1, 'ids.reserve', { n: 1 });
    if (!reserved.ok) throw new Error(reserved.error.message);
    const [id] = reserved.value.ids;
    if (id === undefined) throw new Error('no id');
    const task = { id, ...ledger.command('echo once') };
    const receipts = await Promise.all(
      [1, 2, 3, 1].map((index) => mesh.network.call(index, 'task.submit', task)),
    );
    expect(receipts.map((receipt) => receipt.ok && receipt.value.id)).toEqual(Array(4).fill(id));
    const client = await mesh.client(2);
    expect(await client.waitFor(id)).toMatchObject({ state: 'completed', stdout: 'once\n' });
    const again = await mesh.network.call(3, 'task.submit', task);
    expect(again).toMatchObject({ ok: true, value: { existing: true } });
    const other = await mesh.network.call(3, 'task.submit', { id, exec: { argv: ['true'] } });
    expect(other).toMatchObject({ ok: false, error: { code: 'ID_CONFLICT' } });
    expect(await ledger.starts()).toHaveLength(1);
  },
  TEST_MS,
);
