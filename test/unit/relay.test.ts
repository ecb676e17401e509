/** The relay of the test network: what passes, what a cut stops, and what a redial sees when the daemon is dead. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { freePort } from '../../src/testnet/ports.ts';
import { Relay } from '../../src/testnet/relay.ts';

const HOST = '127.77.200.1';
const OTHER = '127.77.200.2';
const THIRD = '127.77.200.3';
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server in the daemon's place; it answers what `serve` does with each connection. */
class Target {
  readonly port: number;
  readonly sockets: Socket[] = [];
  #server: Server | undefined;
  readonly #serve: (socket: Socket) => void;

  constructor(port: number, serve: (socket: Socket) => void) {
    this.port = port;
    this.#serve = serve;
  }

  async start(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.push(socket);
      socket.on('error', () => socket.destroy());
      this.#serve(socket);
    });
    server.listen(this.port, HOST);
    await once(server, 'listening');
    this.#server = server;
  }

  /** As a killed process: its listener and connections end together. */
  die(how: 'end' | 'reset'): void {
    this.#server?.close();
    for (const socket of this.sockets.splice(0)) {
      if (how === 'reset') socket.resetAndDestroy();
      else socket.destroy();
    }
  }
}

const echo = (socket: Socket) => socket.pipe(socket);

async function network(serve: (socket: Socket) => void) {
  const [targetPort, relayPort] = [await freePort(HOST), await freePort(HOST)];
  const cuts = new Set<string>();
  const target = new Target(targetPort, serve);
  await target.start();
  const relay = new Relay({
    listen: { host: HOST, port: relayPort },
    target: { host: HOST, port: targetPort },
    isCut: (source) => cuts.has(source),
  });
  cleanups.push(
    () => target.die('reset'),
    () => relay.close(),
  );
  relay.check();
  await relay.whenListening(true);
  const dial = (from: string): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = connect({
        host: HOST,
        port: relayPort,
        localAddress: from,
        allowHalfOpen: true,
      });
      cleanups.push(() => {
        socket.destroy();
      });
      socket.once('connect', () => resolve(socket));
      socket.once('error', reject);
    });
  const setCut = (source: string, cut: boolean) => {
    if (cut) cuts.add(source);
    else cuts.delete(source);
    relay.applyCuts();
  };
  return { target, relay, dial, setCut };
}

/** Everything that a socket has received, growing. */
function received(socket: Socket): {
  text: () => string;
  until: (length: number) => Promise<void>;
} {
  const chunks: Buffer[] = [];
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    socket.emit('counted');
  });
  return {
    text: () => Buffer.concat(chunks).toString(),
    until: async (length) => {
      while (bytes < length) await once(socket, 'counted');
    },
  };
}

const codeOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;

test('bytes pass both ways, and the daemon sees the address of the host that dialled', async () => {
  const sources: (string | undefined)[] = [];
  const { dial } = await network((socket) => {
    sources.push(socket.remoteAddress);
    echo(socket);
  });
  const socket = await dial(OTHER);
  const answer = received(socket);
  socket.write('hello');
  await answer.until(5);
  expect(answer.text()).toBe('hello');
  expect(sources).toContain(OTHER);
});

test('a half-close passes, and the other direction goes on', async () => {
  const { dial } = await network((socket) => {
    socket.on('end', () => {
      socket.write('still here');
      socket.end();
    });
    socket.resume();
  });
  const socket = await dial(OTHER);
  const answer = received(socket);
  socket.end('last words');
  await once(socket, 'end');
  expect(answer.text()).toBe('still here');
});

test('a reset stays a reset, in both directions', async () => {
  const { target, dial } = await network(echo);
  const socket = await dial(OTHER);
  const answer = received(socket);
  socket.write('x');
  await answer.until(1);
  target.sockets.at(-1)?.resetAndDestroy();
  const [error] = await once(socket, 'error');
  expect(codeOf(error)).toBe('ECONNRESET');

  const second = await dial(OTHER);
  const secondAnswer = received(second);
  second.write('y');
  await secondAnswer.until(1);
  const served = target.sockets.at(-1);
  if (!served) throw new Error('the target has no connection');
  const broken = once(served, 'error');
  second.resetAndDestroy();
  expect(codeOf((await broken)[0])).toBe('ECONNRESET');
});

test.each(['end', 'reset'] as const)(
  'after its daemon died (%s) a redial is refused, and served again when it is back',
  async (how) => {
    const { target, relay, dial } = await network(echo);
    const socket = await dial(OTHER);
    const answer = received(socket);
    socket.write('x');
    await answer.until(1);
    const ended = new Promise((resolve) => {
      socket.once('end', () => resolve('end'));
      socket.once('error', () => resolve('reset'));
    });
    target.die(how);
    expect(await ended).toBe(how);
    await relay.whenListening(false);
    const refusal = await dial(OTHER).then(() => undefined, codeOf);
    expect(refusal).toBe('ECONNREFUSED');

    await target.start();
    await relay.whenListening(true);
    const again = await dial(OTHER);
    const answers = received(again);
    again.write('back');
    await answers.until(4);
    expect(answers.text()).toBe('back');
  },
);

test('a cut stops the bytes of its pair alone, in both directions, and heal loses none', async () => {
  const { target, dial, setCut } = await network(echo);
  const socket = await dial(OTHER);
  const answer = received(socket);
  socket.write('before ');
  await answer.until(7);
  const served = target.sockets.at(-1);
  setCut(OTHER, true);
  socket.write('during ');
  served?.write('from the daemon ');

  // The other pair still talks: when its answer is there, the cut one would have had time to pass too.
  const bystander = await dial(THIRD);
  const heard = received(bystander);
  bystander.write('z'.repeat(100_000));
  await heard.until(100_000);
  expect(answer.text()).toBe('before ');
  expect(socket.destroyed).toBe(false);

  setCut(OTHER, false);
  await answer.until('before during from the daemon '.length);
  expect(answer.text()).toContain('during ');
  expect(answer.text()).toContain('from the daemon ');
});

test('a connection made during a cut is silent until it heals; an end waits, too', async () => {
  const { dial, setCut } = await network(echo);
  setCut(OTHER, true);
  const socket = await dial(OTHER);
  const answer = received(socket);
  socket.end('patience');
  const bystander = await dial(THIRD);
  const heard = received(bystander);
  bystander.write('z');
  await heard.until(1);
  expect(answer.text()).toBe('');
  const ended = once(socket, 'end');
  setCut(OTHER, false);
  await ended;
  expect(answer.text()).toBe('patience');
});

test.each(['end', 'reset'] as const)(
  'the daemon dies (%s) during a cut: silence until heal, then the same',
  async (how) => {
    const { target, relay, dial, setCut } = await network(echo);
    const socket = await dial(OTHER);
    const answer = received(socket);
    socket.write('x');
    await answer.until(1);
    setCut(OTHER, true);
    let heard = '';
    const end = new Promise<void>((resolve) => {
      const note = (what: string) => {
        heard ||= what;
        resolve();
      };
      socket.once('end', () => note('end'));
      socket.once('error', () => note('reset'));
    });
    target.die(how);
    await relay.whenListening(false);
    // Another host has heard of it by now.
    await expect(dial(THIRD)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(heard).toBe('');
    setCut(OTHER, false);
    await end;
    expect(heard).toBe(how);
  },
);

test('a reader that does not read holds the writer back, and loses nothing', async () => {
  const bytes = 64 * 1_024 * 1_024;
  const { target, dial } = await network((socket) => {
    if (socket.remoteAddress === THIRD) echo(socket);
    else socket.pause();
  });
  const socket = await dial(OTHER);
  socket.end(Buffer.alloc(bytes, 7));
  // By the time another pair has moved 8 MB through the relay, an unbounded one would have taken all of it.
  const bystander = await dial(THIRD);
  const heard = received(bystander);
  bystander.write(Buffer.alloc(8 * 1_024 * 1_024, 7));
  await heard.until(8 * 1_024 * 1_024);
  expect(socket.writableFinished).toBe(false);
  const served = target.sockets.find((candidate) => candidate.remoteAddress === OTHER);
  if (!served) throw new Error('the target has no connection');
  let count = 0;
  served.on('data', (chunk: Buffer) => {
    count += chunk.length;
  });
  served.resume();
  await once(served, 'end');
  expect(count).toBe(bytes);
});
