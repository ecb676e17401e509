/** The client's connection against a real server on a Unix socket. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CONTROL_VERSION } from '../../src/api/methods.ts';
import { openConnection } from '../../src/client/connection.ts';
import type { Connection } from '../../src/client/types.ts';
import { settleReal } from '../compliance/settle.ts';
import { ControlHost } from '../support/control-host.ts';

let host: ControlHost;
const open: Connection[] = [];

beforeEach(async () => {
  host = await ControlHost.start({
    script: ({ exec }) =>
      exec?.argv[0] === 'hang' ? undefined : { state: 'completed', exitCode: 0, stdout: 'hi\n' },
  });
});

afterEach(async () => {
  for (const connection of open.splice(0)) connection.close();
  await host.stop();
});

async function connected(): Promise<Connection> {
  const connection = await openConnection(host.socket, { clientName: 'test' });
  if (!connection.ok) throw new Error(connection.error.message);
  open.push(connection.value);
  return connection.value;
}

test('submits a command, waits for it, and reads its output', async () => {
  const connection = await connected();
  const receipt = await connection.call('task.submit', { exec: { argv: ['echo', 'hi'] } });
  expect(receipt).toMatchObject({ ok: true, value: { existing: false, required: 1 } });
  const ids = receipt.ok ? [receipt.value.id] : [];
  const waited = await connection.call('task.wait', { ids, timeout_ms: 5_000 });
  expect(waited).toMatchObject({
    ok: true,
    value: { done: [{ state: 'completed', exit_code: 0, stdout: 'hi\n' }], pending: [] },
  });
});

test('answers come in any order, thousands may be under way', async () => {
  const connection = await connected();
  const hanging = await connection.call('task.submit', { exec: { argv: ['hang'] } });
  const ids = hanging.ok ? [hanging.value.id] : [];
  const slow = connection.call('task.wait', { ids, timeout_ms: 60_000 });
  const calls = Array.from({ length: 3_000 }, () => connection.call('ids.reserve', { n: 1 }));
  const answers = await Promise.all(calls);
  const minted = new Set(answers.flatMap((answer) => (answer.ok ? answer.value.ids : [])));
  expect(minted.size).toBe(3_000);
  host.backend.finish(ids[0] ?? '', { state: 'failed', exitCode: 3 });
  expect(await slow).toMatchObject({ ok: true, value: { done: [{ exit_code: 3 }] } });
});

test('a refusal carries code, sentence and help', async () => {
  const connection = await connected();
  const id = host.backend.mintId();
  expect(await connection.call('task.get', { id })).toEqual({
    ok: false,
    error: {
      code: 'NOT_FOUND',
      message: `Task ${id} is not known to any peer that answered.`,
      retryable: true,
      help: expect.stringContaining('out of reach'),
      data: {
        code: 'NOT_FOUND',
        retryable: true,
        what: `Task ${id}`,
        help: expect.stringContaining('out of reach'),
      },
    },
  });
});

test('the answer to a subscription is heard before its first event', async () => {
  const connection = await connected();
  await connection.call('task.submit', { exec: { argv: ['x'] } });
  const heard: string[] = [];
  connection.on('event', ({ subscription, type }) => heard.push(`${subscription} ${type}`));
  const after = { boot: 'boot-1', seq: 0 };
  const answer = await connection.call('events.subscribe', { topics: ['task'], after });
  heard.push('answered');
  await settleReal(() => heard.length >= 3);
  const name = answer.ok ? answer.value.subscription : '';
  expect(heard.slice(0, 3)).toEqual(['answered', `${name} waiting`, `${name} active`]);
});

test('the end of the daemon ends every call, and `closed` resolves', async () => {
  const connection = await connected();
  const hanging = await connection.call('task.submit', { exec: { argv: ['hang'] } });
  const ids = hanging.ok ? [hanging.value.id] : [];
  const waiting = connection.call('task.wait', { ids, timeout_ms: 60_000 });
  const served = await connection.call('members.list', {});
  expect(served.ok).toBe(true);
  await host.crash();
  expect(await waiting).toMatchObject({ ok: false, error: { code: 'DISCONNECTED' } });
  await connection.closed;
  const after = await connection.call('members.list', {});
  expect(after).toMatchObject({ ok: false, error: { code: 'DISCONNECTED', retryable: true } });
});

test('a call that is not answered in time says so, the others go on', async () => {
  const connection = await connected();
  const hanging = await connection.call('task.submit', { exec: { argv: ['hang'] } });
  const ids = hanging.ok ? [hanging.value.id] : [];
  const call = connection.call('task.wait', { ids, timeout_ms: 60_000 }, { timeoutMs: 20 });
  expect(await call).toMatchObject({ ok: false, error: { code: 'CLIENT_TIMEOUT' } });
  expect((await connection.call('members.list', {})).ok).toBe(true);
});

test('what cannot travel is refused here', async () => {
  const connection = await connected();
  const long = await connection.call('task.submit', { type: 't', payload: 'x'.repeat(5_000_000) });
  expect(long).toMatchObject({ ok: false, error: { code: 'PAYLOAD_TOO_LARGE' } });
  const odd = await connection.call('task.submit', { type: 't', payload: 1n });
  expect(odd).toMatchObject({ ok: false, error: { code: 'INVALID_PARAMS' } });
});

test('no daemon: the error names the socket, the reason and the remedy', async () => {
  const missing = await openConnection(`${host.directory}/none.sock`);
  expect(missing).toMatchObject({
    ok: false,
    error: {
      code: 'DISCONNECTED',
      data: { errno: 'ENOENT' },
      help: expect.stringContaining('coveyd'),
    },
  });
});

test('speaks the version that the daemon speaks', async () => {
  const connection = await connected();
  const hello = { client: 'test', versions: [CONTROL_VERSION] };
  const answer = await connection.call('system.hello', hello);
  expect(answer).toMatchObject({ ok: true, value: { version: CONTROL_VERSION } });
});
