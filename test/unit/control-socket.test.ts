/** The control server on a real Unix socket, against clients that mean no good. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CONNECTIONS_MAX } from '../../src/api/limits.ts';
import { settleReal } from '../compliance/settle.ts';
import { ControlHost } from '../support/control-host.ts';
import { line } from '../support/control-memory.ts';

let host: ControlHost;
const sockets: Socket[] = [];

beforeEach(async () => {
  host = await ControlHost.start();
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await host.stop();
});

interface RawClient {
  readonly socket: Socket;
  text(): string;
  lines(): number;
}

async function connected(): Promise<RawClient> {
  const socket = createConnection({ path: host.socket });
  sockets.push(socket);
  // A reset is one of the things that may happen to these clients.
  socket.on('error', () => undefined);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  await once(socket, 'connect');
  return { socket, text: () => text, lines: () => text.split('\n').length - 1 };
}

const status = line(1, 'system.status');

async function daemonAnswers(client: RawClient): Promise<void> {
  const before = client.lines();
  client.socket.write(status);
  await settleReal(() => client.lines() > before);
  expect(client.text().split('\n')[before]).toContain('"pid"');
}

test('a line of 100 MB is refused once, skipped, and the connection stays', async () => {
  const client = await connected();
  const piece = Buffer.alloc(1_000_000, 0x61);
  for (let i = 0; i < 100; i++) {
    if (!client.socket.write(piece)) await once(client.socket, 'drain');
  }
  client.socket.write('\n');
  await settleReal(() => client.lines() === 1);
  expect(client.text()).toContain('LINE_TOO_LONG');
  await daemonAnswers(client);
});

test('300 clients at once: the first 256 are served, the others are told and closed', async () => {
  const clients = await Promise.all(Array.from({ length: 300 }, connected));
  const refused = () => clients.filter(({ text }) => text().includes('TOO_MANY_CONNECTIONS'));
  await settleReal(() => refused().length === 300 - CONNECTIONS_MAX);
  await settleReal(() => refused().every(({ socket }) => socket.closed));
  const served = clients.filter((client) => !refused().includes(client));
  await Promise.all(served.map(daemonAnswers));
});

test('clients that vanish in the middle of everything leave nothing behind', async () => {
  const ids = [host.backend.mintId()];
  const wait = line(1, 'task.wait', { ids, timeout_ms: 600_000 });
  for (let i = 0; i < 300; i++) {
    const { socket } = await connected();
    socket.write(`${wait}${status}{"jsonrpc":`);
    socket.destroy();
  }
  await daemonAnswers(await connected());
  expect(host.log.lines).toEqual([]);
});

test('clients that vanish while they wait give their places back, without a word written', async () => {
  const ids = [host.backend.mintId()];
  for (let i = 0; i < CONNECTIONS_MAX + 20; i++) {
    const { socket } = await connected();
    socket.write(line(1, 'task.wait', { ids, timeout_ms: 600_000 }));
    await settleReal(() => host.backend.waits === i + 1);
    socket.destroy();
  }
  await daemonAnswers(await connected());
});

test('a client that says that no more comes gets its answers, then the end', async () => {
  const client = await connected();
  client.socket.write(line(0, 'task.submit', { type: 'none' }));
  await settleReal(() => client.lines() === 1);
  const { id } = (JSON.parse(client.text()) as { result: { id: string } }).result;
  client.socket.end(line(1, 'task.wait', { ids: [id], timeout_ms: 600_000 }));
  await settleReal(() => host.backend.waits === 1);
  host.backend.finish(id, { state: 'completed', exitCode: 0 });
  await settleReal(() => client.socket.closed);
  expect(client.text()).toContain('"state":"completed"');
});

test('a client that never reads is not read either; its neighbours are served', async () => {
  const { id } = await largeTask();
  const deaf = await connected();
  deaf.socket.pause();
  const get = line(1, 'task.get', { id });
  let sent = 0;
  // Its requests end up in the kernel, and its writes stop being taken.
  while (deaf.socket.write(get.repeat(200)) && sent < 1_000) {
    sent += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sent).toBeLessThan(1_000);
  await daemonAnswers(await connected());
  deaf.socket.resume();
  await settleReal(() => deaf.lines() > 0);
});

async function largeTask(): Promise<{ id: string }> {
  const client = await connected();
  const payload = 'x'.repeat(100_000);
  client.socket.write(line('large', 'task.submit', { type: 'none', payload }));
  await settleReal(() => client.lines() === 1);
  const receipt: unknown = JSON.parse(client.text());
  return (receipt as { result: { id: string } }).result;
}
