/** The callback by which a program hears that its daemon went away and came back. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ConnectionEvent, connect } from '../../src/client/index.ts';
import { ControlHost } from '../support/control-host.ts';

let host: ControlHost;
beforeEach(async () => {
  host = await ControlHost.start();
});
afterEach(async () => {
  await host.stop();
});

test('a client and its worker tell that the connection was lost and restored; close tells nothing', async () => {
  const events: ConnectionEvent[] = [];
  const covey = await connect({ socket: host.socket, onConnection: (event) => events.push(event) });
  await covey.work('nothing', () => undefined);
  expect(events).toEqual([]);
  const told = (of: ConnectionEvent['of'], state: ConnectionEvent['state']) =>
    vi.waitUntil(() => events.some((event) => event.of === of && event.state === state), {
      timeout: 20_000,
    });
  await host.crash();
  await told('client', 'lost');
  await told('worker', 'lost');
  await host.restart();
  await told('worker', 'restored');
  await covey.submit({ exec: { argv: ['true'] } });
  await told('client', 'restored');
  await covey.close();
  expect(events).toHaveLength(4);
  expect(new Set(events.map(({ socket }) => socket))).toEqual(new Set([host.socket]));
});
