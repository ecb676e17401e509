/** The high-level client: submit, wait, retries under one id. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { type Covey, CoveyClientError, connect, type Receipt } from '../../src/client/index.ts';
import { settleReal } from '../compliance/settle.ts';
import { ControlHost } from '../support/control-host.ts';

let host: ControlHost;
let covey: Covey;

beforeEach(async () => {
  host = await ControlHost.start({
    script: ({ exec }) =>
      exec?.argv[0] === 'hang' ? undefined : { state: 'completed', exitCode: 0, stdout: 'hi\n' },
  });
  covey = await connect({ socket: host.socket, clientName: 'test' });
});

afterEach(async () => {
  await covey.close();
  await host.stop();
});

const hang = { exec: { argv: ['hang'] } };

test('submits a command and waits for it', async () => {
  const receipt = await covey.submit({ exec: { argv: ['echo', 'hi'] }, runTimeoutMs: 5_000 });
  expect(receipt).toMatchObject({ storedOn: receipt.home, standIns: [], degraded: true });
  const task = await covey.waitFor(receipt.id);
  expect(task).toMatchObject({ state: 'completed', exitCode: 0, stdout: 'hi\n' });
  expect((await covey.logs(receipt.id)).stdout).toBe('hi\n');
  expect(host.backend.tasks.get(receipt.id)?.params.run_timeout_ms).toBe(5_000);
});

test("keys of the user's own data are left as they are", async () => {
  const payload = { some_key: { innerKey: 1 } };
  const { id } = await covey.submit({ type: 't', payload, labels: { my_label: 'x' } });
  expect(await covey.get(id)).toMatchObject({ payload, labels: { my_label: 'x' } });
});

test('a submit whose answer is lost is repeated under its id, and makes one task', async () => {
  const lost = coveyError('NOT_ENOUGH_COPIES', { stored_on: 1, required: 2 });
  host.backend.submitFailures.push(lost, lost);
  const receipt = await covey.submit({ exec: { argv: ['echo'] } });
  expect(host.backend.submitted).toEqual([receipt.id, receipt.id, receipt.id]);
  expect(receipt.existing).toBe(true);
  expect(host.backend.tasks.size).toBe(1);
});

test('a submit outlives a restart of its daemon', async () => {
  await covey.submit(hang);
  await host.crash();
  const submitted = covey.submit({ exec: { argv: ['echo'] } });
  await host.restart();
  expect((await covey.waitFor((await submitted).id)).state).toBe('completed');
});

test('a refusal for good is thrown at once, with its code', async () => {
  const refused = covey.submit({ exec: { argv: ['x'] }, payload: 1 });
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_PARAMS' });
  const unknown = covey.get(host.backend.mintId());
  await expect(unknown).rejects.toBeInstanceOf(CoveyClientError);
});

test('bulk: a receipt or an error for each, and what may pass is repeated', async () => {
  host.backend.submitFailures.push(coveyError('STORE_FULL', { peer: 'fake' }));
  const tasks = Array.from({ length: 150 }, (_, n) => ({ exec: { argv: ['echo', String(n)] } }));
  const receipts = await covey.submitBulk([...tasks, { exec: { argv: [] } }]);
  const last = receipts.pop();
  expect(last).toMatchObject({ code: 'INVALID_PARAMS' });
  const ids = (receipts as Receipt[]).map(({ id }) => id);
  expect(new Set(ids).size).toBe(150);
  expect(host.backend.submitted.filter((id) => id === ids[0])).toHaveLength(2);
  const { done, pending } = await covey.wait(ids, { timeoutMs: 10_000 });
  expect([done.length, pending]).toEqual([150, []]);
});

test('a wait that runs out of time says what is pending', async () => {
  const [one, two] = [await covey.submit({ exec: { argv: ['echo'] } }), await covey.submit(hang)];
  await covey.waitFor(one.id);
  const { done, pending } = await covey.wait([one.id, two.id], { timeoutMs: 30 });
  expect([done.map(({ id }) => id), pending]).toEqual([[one.id], [two.id]]);
});

test('hundreds of separate waits are few calls, and survive a restart', async () => {
  const receipts = await covey.submitBulk(Array.from({ length: 300 }, () => hang));
  const ids = (receipts as Receipt[]).map(({ id }) => id);
  const waiting = ids.map((id) => covey.waitFor(id));
  await settleReal(() => host.backend.waits > 0);
  expect(host.backend.waits).toBeLessThan(20);
  await host.crash();
  await host.restart();
  for (const id of ids) host.backend.finish(id, { state: 'completed', exitCode: 0 });
  expect(new Set((await Promise.all(waiting)).map(({ id }) => id)).size).toBe(300);
});

test('cancel and retry', async () => {
  const { id } = await covey.submit(hang);
  expect(await covey.cancel(id, 'not needed')).toEqual({ id, state: 'canceled' });
  const again = await covey.retry(id);
  expect((await covey.get(again.id)).retryOf).toBe(id);
  await expect(covey.retry(again.id)).rejects.toMatchObject({ code: 'TASK_NOT_FINAL' });
});

test('no daemon: connect fails at once', async () => {
  const failed = connect({ socket: `${host.directory}/none.sock` });
  await expect(failed).rejects.toMatchObject({ code: 'DISCONNECTED', data: { errno: 'ENOENT' } });
});
