/** mDNS on loopback: what is left of it when it ends or does not work. */
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, expect, test, vi } from 'vitest';
import { LocalNames } from '../../src/host/mdns.ts';

const HOST = '127.0.0.1';
/** Below what the system gives away by itself, and another one for each process. */
const PORT = 21_000 + (process.pid % 4_000);
const A = '12D3KooWDD9LNLDp8YRahm6w8icSaYmviG9y5a1NuTASaoRFbH4X';
const B = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closing.splice(0)) await close();
});

function namesOf(peerId: string): { names: LocalNames; logged: string[] } {
  const logged: string[] = [];
  const names = new LocalNames({
    peerId,
    host: HOST,
    port: PORT,
    log: (what) => logged.push(what),
  });
  closing.push(() => names.stop());
  return { names, logged };
}

/** Holds the port for itself. */
async function occupant(): Promise<Socket> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(PORT, '0.0.0.0', resolve));
  return socket;
}

test('whoever is stopped while it begins leaves no timer', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const { names } = namesOf(A);
  const begun = names.announce([`${HOST}:1`]);
  await names.stop();
  await begun;
  expect(vi.getTimerCount()).toBe(0);
});

test('where the port was taken for a while it says so, and works afterwards', async () => {
  const other = await occupant();
  const [a, b] = [namesOf(A), namesOf(B)];
  await a.names.announce([`${HOST}:1`]);
  expect(await b.names.ask(50)).toEqual([]);
  expect([a.logged.length, b.logged.length]).toEqual([1, 1]);
  await new Promise<void>((resolve) => other.close(() => resolve()));
  // It asks when it is linked to nobody, and from then on it answers as well.
  await a.names.ask(10);
  const answer = [{ address: `${HOST}:1`, peerId: A }];
  const ask = async () => expect(await b.names.ask(100)).toEqual(answer);
  await vi.waitFor(ask, { timeout: 20_000 });
});
