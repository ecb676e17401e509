/** Bad input over real sockets: each is answered by a named error, the daemons live, and no task is lost. */

import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONNECTIONS_MAX, OUTPUT_BYTES_MAX } from '../../src/api/limits.ts';
import { openConnection } from '../../src/client/index.ts';
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import { waitUntilGone } from '../../src/testnet/processes.ts';
import { Daemons } from './daemons.ts';
import { Mesh, processOf, TEST_MS } from './mesh.ts';

const MIB = 1_048_576;
let mesh: Mesh;
let pids: number[];
/** Tasks that were acknowledged before all of it, and run after all of it. */
let kept: string[];

beforeAll(async () => {
  mesh = await Mesh.up(3, { slots: 2 });
  const client = await mesh.client(2);
  const receipts = await Promise.all(
    Array.from({ length: 20 }, () => client.submit({ type: 'after all of it' })),
  );
  kept = receipts.map(({ id }) => id);
  pids = mesh.network.indices.map((index) => mesh.network.pid(index));
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

/** A client that sends what it likes. */
class RawClient {
  readonly socket: Socket;
  readonly #answers: AsyncIterator<string>;

  constructor(path: string) {
    this.socket = connect({ path });
    this.#answers = createInterface({ input: this.socket })[Symbol.asyncIterator]();
  }

  /** The code of the next answer, or `ok`. */
  async answer(): Promise<string> {
    const { value, done } = await this.#answers.next();
    if (done) return 'closed';
    const { error } = JSON.parse(value) as { error?: { data: { code: string } } };
    return error === undefined ? 'ok' : error.data.code;
  }

  ask(line: string | Uint8Array): Promise<string> {
    this.socket.write(line);
    this.socket.write('\n');
    return this.answer();
  }
}

const request = (method: string, params: unknown = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });

test(
  'lines that are no requests',
  async () => {
    const client = new RawClient(mesh.network.socket(1));
    const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    const submit = (params: string): string =>
      `{"jsonrpc":"2.0","id":1,"method":"task.submit","params":${params}}`;
    const cases: [string | Uint8Array, string][] = [
      ['{"jsonrpc":', 'PARSE_ERROR'],
      [new Uint8Array([0x22, 0xff, 0xfe, 0x22]), 'PARSE_ERROR'],
      ['17', 'INVALID_REQUEST'],
      [`[${Array(100_000).fill('{}').join()}]`, 'BATCH_TOO_LARGE'],
      [submit(`{"type":"t","payload":${deep(10_000)}}`), 'INVALID_REQUEST'],
      [submit('{"type":"t","payload":9007199254740993}'), 'INVALID_PARAMS'],
      [submit('{"type":"t","__proto__":{"queue":"x"}}'), 'INVALID_PARAMS'],
      [submit('{"type":"t","pripority":1}'), 'INVALID_PARAMS'],
      [request('task.sumbit'), 'METHOD_NOT_FOUND'],
      [request('task.get', { id: 'x' }), 'INVALID_PARAMS'],
      [`"${'x'.repeat(100 * MIB)}"`, 'LINE_TOO_LONG'],
    ];
    for (const [line, code] of cases) {
      expect(await client.ask(line), String(line.slice(0, 90))).toBe(code);
    }
    expect(await client.ask(request('system.status'))).toBe('ok');
    client.socket.write('{"jsonrpc":"2.0","id":1,"meth');
    client.socket.write('od":"system.status","params":{}}\n');
    expect(await client.answer()).toBe('ok');
    client.socket.destroy();
  },
  TEST_MS,
);

test(
  'three hundred clients, one that vanishes before its answer, and one that never reads',
  async () => {
    const path = mesh.network.socket(1);
    const rude = connect({ path });
    // Half a megabyte an answer, none of which is read.
    rude.write(`${request('rpc.discover')}\n`.repeat(800));
    const gone = connect({ path });
    gone.write(`${request('task.submit', { exec: { argv: ['true'] } })}\n`, () => gone.destroy());

    const opened = await Promise.all(
      Array.from({ length: 300 }, () => openConnection(path, { timeoutMs: 30_000 })),
    );
    const connections = opened.flatMap((result) => (result.ok ? [result.value] : []));
    const refused = opened.flatMap((result) => (result.ok ? [] : [result.error.code]));
    expect(new Set(refused)).toEqual(new Set(['TOO_MANY_CONNECTIONS']));
    expect(connections.length).toBeLessThanOrEqual(CONNECTIONS_MAX);
    expect(connections.length).toBeGreaterThan(CONNECTIONS_MAX - 50);
    const answers = await Promise.all(
      connections.map((connection) => connection.call('system.status', {})),
    );
    expect(answers.filter((answer) => !answer.ok)).toEqual([]);
    for (const connection of connections) connection.close();
    rude.destroy();
    await mesh.network.waitFor('there is room again', async () => (await openConnection(path)).ok);
  },
  TEST_MS,
);

test(
  'output without end fails with its name; with output: tail the end of it is the result',
  async () => {
    const client = await mesh.client(3);
    const noted = mesh.ledger('endless');
    const endless = await client.submit(noted.command('exec yes'));
    const failed = await client.waitFor(endless.id);
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'OUTPUT_TOO_LARGE' } });
    const [start] = await noted.startsOf(endless.id);
    if (start === undefined) throw new Error('it never started');
    expect(() => process.kill(start.pid, 0)).toThrow('ESRCH');

    const long = `yes | head -c ${3 * OUTPUT_BYTES_MAX}; echo; echo the end`;
    const full = await client.submit(noted.command(long));
    expect(await client.waitFor(full.id)).toMatchObject({ state: 'failed' });
    const tail = await client.submit({ ...noted.command(long), output: 'tail' });
    const task = await client.waitFor(tail.id);
    expect(task).toMatchObject({ state: 'completed', exitCode: 0, outputTruncated: true });
    expect(String(task.stdout).endsWith('y\n\nthe end\n')).toBe(true);
    expect(String(task.stdout).length).toBeLessThanOrEqual(OUTPUT_BYTES_MAX);
    const exact = await client.submit(noted.command(`head -c ${OUTPUT_BYTES_MAX} /dev/zero`));
    const whole = await client.waitFor(exact.id);
    expect(whole).toMatchObject({ state: 'completed' });
    expect(String(whole.stdout).length).toBe(OUTPUT_BYTES_MAX);

    // It may go on for ever: only its end is kept, and a cancel ends it.
    const forever = await client.submit({ ...noted.command('exec yes'), output: 'tail' });
    const running = await mesh.network.waitFor('the start', async () => {
      const [first] = await noted.startsOf(forever.id);
      return first;
    });
    const child = await processOf(running);
    await mesh.network.waitFor('it has written more than a result may hold', async () => {
      const logs = await mesh.network.call(1, 'task.logs', { id: forever.id, tail_bytes: 4 });
      return logs.ok && logs.value.truncated && logs.value.stdout === 'y\ny\n';
    });
    await client.cancel(forever.id);
    expect(await client.waitFor(forever.id)).toMatchObject({ state: 'canceled' });
    expect(await waitUntilGone([child], 1_000)).toEqual([]);
  },
  TEST_MS,
);

test(
  'a result over the limit, a command that does not exist, one that cannot be executed, input over the limit',
  async () => {
    const client = await mesh.client(1);
    const worker = await client.work('large', () => 'x'.repeat(2 * MIB));
    const large = await client.submit({ type: 'large' });
    expect(await client.waitFor(large.id)).toMatchObject({
      state: 'failed',
      error: { message: expect.stringMatching(/PAYLOAD_TOO_LARGE|limit|bytes/) },
    });
    await worker.stop();
    const none = await client.submit({ exec: { argv: ['/no/such/command'] } });
    expect(await client.waitFor(none.id)).toMatchObject({ state: 'failed', exitCode: 127 });
    const plain = join(mesh.dir, 'plain');
    await writeFile(plain, 'not a program', { mode: 0o644 });
    const denied = await client.submit({ exec: { argv: [plain] } });
    expect(await client.waitFor(denied.id)).toMatchObject({ state: 'failed', exitCode: 126 });
    const stdin = 'x'.repeat(MIB + 1);
    const input = client.submit({ exec: { argv: ['cat'], stdin } });
    await expect(input).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const payload = client.submit({ type: 'large', payload: stdin });
    await expect(payload).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  },
  TEST_MS,
);

test(
  'a member that sends frames over the limit loses its connection, and nothing else happens',
  async () => {
    await mesh.network.kill(3, 'SIGTERM');
    const key = await loadOrCreateIdentity(join(mesh.network.dataDir(3), 'identity', 'key'));
    if (!key.ok) throw new Error(key.error);
    const node = await createLibp2p({
      privateKey: key.value.privateKey,
      transports: [tcp()],
      connectionEncrypters: [tls()],
      streamMuxers: [yamux()],
    });
    try {
      const [host, port] = mesh.network.address(1).split(':');
      for (const frameClass of ['data', 'control', 'bulk']) {
        const connection = await node.dial(multiaddr(`/ip4/${host}/tcp/${port}`));
        const stream = await connection.newStream(`/covey/${frameClass}/1`);
        // A frame of two bytes that mean nothing, then one that says it has 128 MiB.
        stream.send(new Uint8Array([2, 8, 9, 0x80, 0x80, 0x80, 0x40, 1, 2, 3]));
        await mesh.network.waitFor('it is cut off', () => stream.status !== 'open');
        await connection.close();
      }
    } finally {
      await node.stop();
    }
    await mesh.network.restart(3);
    await mesh.network.waitForAllAlive();
  },
  TEST_MS,
);

test(
  'unknown configuration keys are refused with the nearest known one',
  async () => {
    const daemons = await Daemons.create();
    try {
      const config = join(daemons.dir, 'config.yaml');
      await writeFile(config, 'shutdown_timout: 5s\n');
      const ended = await daemons.run(['--config', config, '--data-dir', join(daemons.dir, 'd')]);
      expect(ended).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringMatching(/^coveyd: .*shutdown_timout.*shutdown_timeout/),
      });
    } finally {
      await daemons.end();
    }
  },
  TEST_MS,
);

test(
  'after all of it: the same daemons, and every task that was acknowledged before',
  async () => {
    for (const index of [1, 2]) expect(mesh.network.pid(index)).toBe(pids[index - 1]);
    const client = await mesh.client(2);
    await client.work('after all of it', () => 'here', { concurrency: 20 });
    const { done, pending } = await client.wait(kept, { timeoutMs: 30_000 });
    expect(pending).toEqual([]);
    expect(done.map(({ state }) => state)).toEqual(kept.map(() => 'completed'));
  },
  TEST_MS,
);
