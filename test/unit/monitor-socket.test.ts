/** A client of the monitor that does not read, on a real socket: the daemon goes on, others are served, and it is told what it missed. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { openConnection } from '../../src/client/connection.ts';
import { MONITOR_RATE } from '../../src/control/limits.ts';
import { ControlHost } from '../support/control-host.ts';

/** Together far more than the buffers of a socket. */
const RECORDS = 3 * MONITOR_RATE;
const PADDING = 'x'.repeat(4_000);

interface Said {
  readonly method?: string;
  readonly params?: { readonly seq?: number; readonly from?: number; readonly to?: number };
}

async function subscribe(path: string): Promise<Socket> {
  const socket = createConnection({ path });
  await once(socket, 'connect');
  const call = { jsonrpc: '2.0', id: 1, method: 'system.monitor', params: {} };
  socket.write(`${JSON.stringify(call)}\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(String(answer)).toContain('"subscription"');
  socket.pause();
  return socket;
}

test('a client of the monitor that does not read costs nobody anything, and hears of the gap', async () => {
  const host = await ControlHost.start();
  try {
    const slow = await subscribe(host.socket);
    const { tap } = host.backend.observe;
    for (let i = 0; i < RECORDS; i++) tap.log('info', 'noise', { i, padding: PADDING });
    const other = await openConnection(host.socket);
    if (!other.ok) throw new Error(other.error.message);
    expect((await other.value.call('system.status', {})).ok).toBe(true);
    other.value.close();

    const seen: [number, number][] = [];
    const lines = createInterface({ input: slow });
    const all = new Promise<void>((resolve) => {
      lines.on('line', (line) => {
        const { method, params = {} } = JSON.parse(line) as Said;
        const { seq = 0, from = seq, to = seq } = params;
        seen.push([from, to]);
        if (method === 'gap' && to === RECORDS) resolve();
      });
    });
    slow.resume();
    await all;
    slow.destroy();
    // Nothing is told twice and nothing is left out in silence.
    let next = 1;
    for (const [from, to] of seen) {
      expect(from).toBe(next);
      next = to + 1;
    }
    expect(next).toBe(RECORDS + 1);
    expect(seen.length).toBeLessThan(RECORDS);
  } finally {
    await host.stop();
  }
});
