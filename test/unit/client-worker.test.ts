/** Workers: tasks in, results out, across connections that end and daemons that die. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Covey, connect, PermanentError, type Worker } from '../../src/client/index.ts';
import { settleReal } from '../compliance/settle.ts';
import { ControlHost } from '../support/control-host.ts';
import { FAKE_LEASE_MS } from '../support/fake-workers.ts';

let host: ControlHost;
let covey: Covey;
const workers: Worker[] = [];

beforeEach(async () => {
  host = await ControlHost.start();
  covey = await connect({ socket: host.socket });
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop({ timeoutMs: 0 })));
  await covey.close();
  await host.stop();
});

/** A promise to be resolved from outside: what handlers of these tests wait for. */
function gate<T = void>(): { readonly passed: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => undefined;
  const passed = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

test('a handler gets the payload and gives the result', async () => {
  workers.push(
    await covey.work('double', async (payload: { n: number }) => ({ n: payload.n * 2 })),
  );
  const { id } = await covey.submit({ type: 'double', payload: { n: 21 } });
  expect(await covey.waitFor(id)).toMatchObject({ state: 'completed', result: { n: 42 } });
});

test('several types, each as many at once as it may', async () => {
  const seen = { now: 0, most: 0 };
  const released = gate();
  const slow = async (): Promise<void> => {
    seen.now += 1;
    seen.most = Math.max(seen.most, seen.now);
    await released.passed;
    seen.now -= 1;
  };
  workers.push(await covey.work({ slow, quick: () => 'ok' }, { concurrency: 3 }));
  const ids = await Promise.all(
    Array.from({ length: 8 }, async () => (await covey.submit({ type: 'slow' })).id),
  );
  const quick = await covey.submit({ type: 'quick' });
  expect((await covey.waitFor(quick.id)).result).toBe('ok');
  await settleReal(() => seen.now === 3);
  released.open();
  expect((await covey.wait(ids)).done).toHaveLength(8);
  expect(seen.most).toBe(3);
});

test('an error fails the attempt and the next follows; a PermanentError is the last word', async () => {
  const attempts: number[] = [];
  workers.push(
    await covey.work('flaky', (permanent: boolean, { attempt }) => {
      attempts.push(attempt);
      if (permanent) throw new PermanentError('bad input');
      if (attempt < 3) throw new Error('not yet');
      return attempt;
    }),
  );
  const flaky = await covey.submit({ type: 'flaky', payload: false, attempts: 5 });
  expect(await covey.waitFor(flaky.id)).toMatchObject({ state: 'completed', result: 3 });
  const bad = await covey.submit({ type: 'flaky', payload: true, attempts: 5 });
  expect(await covey.waitFor(bad.id)).toMatchObject({
    state: 'failed',
    error: { message: 'bad input' },
  });
  expect(attempts).toEqual([1, 2, 3, 1]);
});

test('progress is seen, and a cancel aborts the signal', async () => {
  const aborted = gate<unknown>();
  workers.push(
    await covey.work('long', async (_payload, { signal, progress }) => {
      for (let percent = 0; percent <= 50; percent++) progress({ percent });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      aborted.open(signal.reason);
      throw new Error('canceled');
    }),
  );
  const { id } = await covey.submit({ type: 'long' });
  await settleReal(() => JSON.stringify(host.backend.tasks.get(id)?.progress) === '{"percent":50}');
  await covey.cancel(id, 'enough');
  expect(await aborted.passed).toMatchObject({ message: 'enough' });
  expect((await covey.waitFor(id)).state).toBe('canceled');
});

test('leases are renewed while a handler runs', async () => {
  const released = gate();
  workers.push(await covey.work('slow', () => released.passed));
  const { id } = await covey.submit({ type: 'slow' });
  await settleReal(() => host.backend.workers.renewals >= 3);
  expect(host.backend.tasks.get(id)?.state).toBe('active');
  expect(FAKE_LEASE_MS).toBeLessThan(1_000);
  released.open();
  await covey.waitFor(id);
});

test('a daemon restarts: the handler goes on, and its result is taken', async () => {
  const released = gate<string>();
  let starts = 0;
  workers.push(
    await covey.work('slow', () => {
      starts += 1;
      return released.passed;
    }),
  );
  const { id } = await covey.submit({ type: 'slow' });
  await settleReal(() => starts === 1);
  host.backend.workers.stopping(30_000);
  await host.crash();
  await host.restart();
  await settleReal(() => host.backend.workers.count === 1);
  released.open('kept');
  expect(await covey.waitFor(id)).toMatchObject({ state: 'completed', result: 'kept', attempt: 1 });
  expect(starts).toBe(1);
});

test('a result that came while the daemon was away is kept until it can be delivered', async () => {
  const released = gate();
  const started = gate();
  const finished = gate();
  workers.push(
    await covey.work('slow', async () => {
      started.open();
      await released.passed;
      finished.open();
      return 'late';
    }),
  );
  const { id } = await covey.submit({ type: 'slow' });
  await started.passed;
  await host.crash();
  released.open();
  await finished.passed;
  await host.restart();
  expect(await covey.waitFor(id)).toMatchObject({ result: 'late', attempt: 1 });
});

test('stale after a restart: the signal fires, the late answer is an orphan result', async () => {
  const aborted = gate();
  const released = gate();
  workers.push(
    await covey.work('slow', async (_payload, { signal }) => {
      signal.addEventListener('abort', () => aborted.open());
      await released.passed;
      return 'too late';
    }),
  );
  const { id } = await covey.submit({ type: 'slow' });
  await settleReal(() => host.backend.tasks.get(id)?.state === 'active');
  await host.crash();
  host.backend.workers.resumeAsStale = true;
  await host.restart();
  await aborted.passed;
  released.open();
  await settleReal(() => host.backend.tasks.get(id)?.orphans.length === 1);
  expect(host.backend.tasks.get(id)?.state).toBe('active');
});

test('stop waits for what runs, and takes nothing more', async () => {
  const released = gate();
  let starts = 0;
  const worker = await covey.work('slow', () => {
    starts += 1;
    return released.passed;
  });
  const first = await covey.submit({ type: 'slow' });
  await settleReal(() => starts === 1);
  const second = await covey.submit({ type: 'slow' });
  const stopped = worker.stop();
  await settleReal(() => host.backend.workers.unregistered === 1);
  released.open();
  await stopped;
  expect((await covey.get(first.id)).state).toBe('completed');
  expect((await covey.get(second.id)).state).toBe('waiting');
  expect(starts).toBe(1);
});

test('stop while the daemon is away still delivers when it is back', async () => {
  const released = gate();
  const started = gate();
  const worker = await covey.work('slow', async () => {
    started.open();
    await released.passed;
    return 'done';
  });
  const { id } = await covey.submit({ type: 'slow' });
  await started.passed;
  await host.crash();
  const stopped = worker.stop();
  released.open();
  await host.restart();
  await stopped;
  expect(await covey.get(id)).toMatchObject({ state: 'completed', result: 'done' });
});

test('a result that cannot be sent fails the attempt for good', async () => {
  workers.push(await covey.work('odd', () => 1n));
  const { id } = await covey.submit({ type: 'odd', attempts: 3 });
  const task = await covey.waitFor(id);
  expect(task).toMatchObject({ state: 'failed', attempt: 1 });
  expect(task.error?.message).toContain('BigInt');
});
