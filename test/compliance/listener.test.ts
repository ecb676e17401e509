/** Listener: the compliance suite on both twins, then the socket file. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { HostListener } from '../../src/host/listener.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimListener } from '../../src/sim/listener.ts';
import { type ClientEnd, type ListenerTwin, listenerCompliance, seeing } from './listener.ts';
import { settleReal } from './settle.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makePath(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'covey-listener-'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'run', 'covey.sock');
}

function connectReal(path: string, sockets: Socket[]): Promise<ClientEnd | undefined> {
  const { seen, handlers } = seeing();
  const socket = connect(path);
  sockets.push(socket);
  socket.on('data', (chunk) => handlers.data(chunk));
  socket.on('close', () => handlers.ended());
  const stream = {
    write: (bytes: Uint8Array) => socket.write(bytes),
    bufferedBytes: () => socket.writableLength,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
  return new Promise((resolve) => {
    socket.on('connect', () => resolve({ stream, seen }));
    socket.on('error', () => resolve(undefined));
  });
}

const ignoring = () => seeing().handlers;

async function makeReal(): Promise<ListenerTwin> {
  const path = await makePath();
  const listener = new HostListener(path);
  const sockets: Socket[] = [];
  return {
    listener,
    connect: () => connectReal(path, sockets),
    settle: settleReal,
    close: async () => {
      await listener.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('the real listener', () => {
  listenerCompliance(makeReal);

  test('its socket and directory are private, and go when it closes', async () => {
    const path = await makePath();
    const listener = new HostListener(path);
    expect(await listener.open(ignoring)).toEqual({ ok: true, path });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
    await listener.close();
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  test('a live path is in use; what a killed process left is taken over', async () => {
    const path = await makePath();
    const first = new HostListener(path);
    await first.open(ignoring);
    expect(await new HostListener(path).open(ignoring)).toMatchObject({ code: 'in_use' });
    await first.close();
    const program =
      `require('node:net').createServer()` +
      `.listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(await new HostListener(path).open(ignoring)).toMatchObject({ code: 'in_use' });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    expect((await stat(path)).isSocket()).toBe(true);
    const second = new HostListener(path);
    expect(await second.open(ignoring)).toEqual({ ok: true, path });
    await second.close();
  });

  test('paths that cannot be: too long, a file of another kind, no directory', async () => {
    const path = await makePath();
    const long = join(dirname(path), 'x'.repeat(108));
    const tooLong = await new HostListener(long).open(ignoring);
    expect(tooLong).toMatchObject({ ok: false, code: 'failed' });
    expect(tooLong.ok || tooLong.detail).toContain('107');
    const file = join(dirname(dirname(path)), 'file');
    await writeFile(file, 'precious');
    expect(await new HostListener(file).open(ignoring)).toMatchObject({ code: 'failed' });
    expect((await stat(file)).size).toBe(8);
    const below = await new HostListener(join(file, 'covey.sock')).open(ignoring);
    expect(below).toMatchObject({ ok: false, code: 'failed' });
  });
});

describe('the simulated listener', () => {
  listenerCompliance(async () => {
    const clock = new SimClock();
    const listener = new SimListener({
      clock,
      random: new SeededRandom('listener'),
      path: '/run/covey/covey.sock',
    });
    return {
      listener,
      connect: async () => {
        const { seen, handlers } = seeing();
        const stream = listener.connect(handlers);
        return stream && { stream, seen };
      },
      settle: async (condition) => {
        if (!(await clock.runUntil(condition, 10_000))) throw new Error('it did not come to hold');
      },
      close: () => listener.close(),
    };
  });
});
