/** Invitations, strangers, returns from the peer book, and starts that are refused with a sentence. */
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { expect, test } from 'vitest';
import { pickDistinct, SeededRandom } from '../../src/base/random.ts';
import { connect, openConnection } from '../../src/client/index.ts';
import { HostClock } from '../../src/host/clock.ts';
import { openStore } from '../../src/host/store.ts';
import { encodeToken } from '../../src/membership/token.ts';
import { COVEY, COVEYD } from '../../src/testnet/paths.ts';
import type { TestNetwork } from '../../src/testnet/testnet.ts';
import { decodeValue, encodeValue } from '../../src/wire/codec.ts';
import { isWireMap } from '../../src/wire/envelope.ts';
import { checkedIdentity } from '../support/checked-identity.ts';
import type { Running } from './daemons.ts';
import { TEST_MS } from './mesh.ts';
import { atEnd, daemons, upNetwork } from './setting.ts';

/** In what order all five stop, by which signals, and in what order they come back. */
const ORDERS = ['1', '2'].map((seed) => {
  const random = new SeededRandom(`stop and start ${seed}`);
  const order = (): number[] => pickDistinct(random, [1, 2, 3, 4, 5], 5);
  const mixed = ['SIGTERM', 'SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGTERM'] as const;
  return { seed, stops: order(), starts: order(), signals: pickDistinct(random, mixed, 5) };
});
const SEEDS = ORDERS.map(
  ({ seed, stops, starts }) => `seed ${seed}: ${stops.join('')}, back ${starts.join('')}`,
);
const up = (peers: number, options: { readonly join?: boolean } = {}): Promise<TestNetwork> =>
  upNetwork({ peers, ...options });

async function invite(network: TestNetwork, index: number, ttlMs = 60_000): Promise<string> {
  const answer = await network.call(index, 'access.invite', { ttl_ms: ttlMs });
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.token;
}

async function covey(args: readonly string[], stdin?: string) {
  const child = spawn(COVEY, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(stdin ?? '');
  const code = new Promise((resolve) => child.on('exit', resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, out, err };
}

/** Waits until that daemon is in this mesh and sees so many alive. */
async function untilMesh(daemon: Running, mesh: unknown, members: number): Promise<void> {
  const opened = await openConnection(String(daemon.ready.socket));
  if (!opened.ok) throw new Error(opened.error.message);
  for (;;) {
    const status = await opened.value.call('system.status', {});
    const view = await opened.value.call('members.list', {});
    if (!status.ok || !view.ok) throw new Error('the daemon does not answer');
    const alive = view.value.members.filter((member) => member.status === 'alive').length;
    if (status.value.mesh_id === mesh && alive === members) break;
    await delay(50); // the test's own time limit ends this
  }
  opened.value.close();
}

test(
  'covey invite here, covey join there: one mesh, told apart from used, expired, foreign and broken tokens',
  async () => {
    const network = await up(4, { join: false });
    const at = (index: number): string[] => ['--socket', network.socket(index)];
    const printed = await covey(['invite', ...at(1)]);
    expect(printed).toMatchObject({ code: 0, out: expect.stringMatching(/^covey1-\S+\n$/) });
    const token = printed.out.trim();
    expect(await covey(['join', '-', ...at(2)], `${token}\n`)).toMatchObject({ code: 0, err: '' });
    await network.waitFor('both see two', async () => {
      const views = await Promise.all([network.members(1), network.members(2)]);
      return views.every((view) => view?.filter(({ status }) => status === 'alive').length === 2);
    });

    const join = async (index: number, tried: string) => {
      const answer = await network.call(index, 'mesh.join', { token: tried }, 20_000);
      return answer.ok ? 'joined' : answer.error.code;
    };
    expect(await join(3, token)).toBe('TOKEN_USED');
    expect(await join(2, token)).toBe('joined');
    expect(await join(3, token.slice(0, -4))).toBe('TOKEN_INVALID');
    expect(await join(3, 'covey1-????')).toBe('TOKEN_INVALID');
    expect(await join(3, '\u{1F980}')).toBe('TOKEN_INVALID');
    const short = await invite(network, 1, 1_000);
    const expiresAt = Date.now() + 1_000;
    await network.waitFor('the token has expired', () => Date.now() > expiresAt + 50);
    expect(await join(3, short)).toBe('TOKEN_EXPIRED');
    // Whoever is in stays in, whatever has become of a token.
    expect(await join(2, short)).toBe('joined');
    // A member of one mesh takes no token of another.
    expect(await join(2, await invite(network, 4))).toBe('FOREIGN_MESH');
    // Issued by nobody: well formed, with a secret of its own.
    const forged = encodeToken({
      meshId: 'f'.repeat(32),
      inviter: network.identity(1).peerId,
      addresses: [network.address(1)],
      secret: new Uint8Array(16),
      expiresAtMs: Date.now() + 60_000,
    });
    expect(await join(3, forged)).toMatch(/^(TOKEN_USED|JOIN_FAILED)$/);
    const listed = await network.call(1, 'access.list', {});
    expect(listed.ok && listed.value.entries).toHaveLength(2);
    const gone = await invite(network, 4);
    await network.kill(4);
    const unreachable = await covey(['join', gone, ...at(3)]);
    expect(unreachable).toMatchObject({ code: 75, out: '' });
    expect(unreachable.err).toContain(`could not be reached: ${network.address(4)}`);
    expect(await network.members(3)).toHaveLength(1);
    expect(await join(3, await invite(network, 2))).toBe('joined');
  },
  TEST_MS,
);

test(
  'coveyd --join and COVEY_JOIN: a member from the start on, again after a restart, and nobody else',
  async () => {
    const made = await daemons();
    const first = await made.start('first');
    const opened = await openConnection(String(first.ready.socket));
    if (!opened.ok) throw new Error(opened.error.message);
    atEnd(async () => opened.value.close());
    const tokenOf = async (): Promise<string> => {
      const invited = await opened.value.call('access.invite', {});
      if (!invited.ok) throw new Error(invited.error.message);
      return invited.value.token;
    };
    const [token, other] = [await tokenOf(), await tokenOf()];
    const mesh = first.ready.mesh_id;

    const second = await made.start('second', ['--join', token]);
    // It is ready before it joins: the line names the mesh of one that it gives up.
    expect(second.ready.mesh_id).not.toBe(mesh);
    await untilMesh(second, mesh, 2);
    await made.start('third', [], { COVEY_JOIN: other }).then((third) => untilMesh(third, mesh, 3));

    // The unit file still holds the token: no error, the same member.
    await second.kill('SIGTERM');
    const again = await made.start('second', ['--join', token]);
    expect(again.ready).toMatchObject({ mesh_id: mesh, peer_id: second.ready.peer_id });
    await untilMesh(again, mesh, 3);
    const ended = await again.kill('SIGTERM');
    expect(ended.stderr).toMatch(/joined/);
    expect(ended.stderr).not.toMatch(/could not be joined/);

    // Another peer with a used token says so in its log, and works on as a mesh of one.
    const late = await made.start('late', ['--join', token]);
    await untilMesh(late, late.ready.mesh_id, 1);
    const alone = await openConnection(String(late.ready.socket));
    if (!alone.ok) throw new Error(alone.error.message);
    expect(await alone.value.call('task.submit', { exec: { argv: ['true'] } })).toMatchObject({
      ok: true,
      value: { degraded: true },
    });
    alone.value.close();
    await late.logged('TOKEN_USED');
    const { stderr } = await late.kill('SIGTERM');
    expect(stderr).toMatch(/could not be joined.*TOKEN_USED/);
    const listed = await opened.value.call('access.list', {});
    expect(listed.ok && listed.value.entries).toHaveLength(3);
  },
  TEST_MS,
);

test(
  'a lone host that joins keeps its records: what it finished and what waits there',
  async () => {
    const network = await up(3, { join: false });
    await network.join(2);
    const submit = async (params: { readonly type: string } | ReturnType<typeof echo>) => {
      const receipt = await network.call(3, 'task.submit', params);
      if (!receipt.ok) throw new Error(receipt.error.message);
      return receipt.value.id;
    };
    const echo = (word: string) => ({ exec: { argv: ['echo', word] } });
    const finished = await submit(echo('alone'));
    const done = await network.call(
      3,
      'task.wait',
      { ids: [finished], timeout_ms: 20_000 },
      25_000,
    );
    expect(done).toMatchObject({ ok: true, value: { pending: [] } });
    const waiting = await submit({ type: 'later' });

    await network.join(3);
    await network.waitForAllAlive();
    for (const index of network.indices) {
      await network.waitFor(`peer ${index} finds both`, async () => {
        const tasks = await Promise.all(
          [finished, waiting].map((id) => network.call(index, 'task.get', { id }, 20_000)),
        );
        const found = tasks.map((task) => (task.ok ? [task.value.state, task.value.stdout] : []));
        return isDeepStrictEqual(found, [
          ['completed', 'alone\n'],
          ['waiting', undefined],
        ]);
      });
    }
    // And it is served from anywhere: a worker of another member takes it.
    const worker = await connect({ socket: network.socket(1) });
    atEnd(() => worker.close());
    await worker.work('later', async () => 'served');
    const served = await network.call(
      2,
      'task.wait',
      { ids: [waiting], timeout_ms: 30_000 },
      35_000,
    );
    expect(served).toMatchObject({ value: { done: [{ state: 'completed', result: 'served' }] } });
  },
  TEST_MS,
);

test(
  'a stranger gets nothing but admit, and a frame over the limit costs its sender the connection',
  async () => {
    const network = await up(2);
    const node = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [tls()],
      streamMuxers: [yamux()],
    });
    atEnd(async () => node.stop());
    const [host, port] = network.address(1).split(':');
    const address = multiaddr(`/ip4/${host}/tcp/${port}`);
    const connection = await node.dial(address);
    for (const frameClass of ['control', 'data', 'bulk']) {
      // Reset while it is opened, or at once after that, without a byte.
      const bytes: Uint8Array[] = [];
      const stream = await connection
        .newStream(`/covey/${frameClass}/1`)
        .catch((thrown: unknown) => String(thrown));
      if (typeof stream === 'string') continue;
      stream.addEventListener('message', ({ data }) => bytes.push(data.subarray()));
      await network.waitFor('the stream is reset', () => stream.status !== 'open');
      expect(bytes).toEqual([]);
    }
    const admit = await connection.newStream('/covey/admit/1');
    // It says that it has 1 GiB.
    admit.send(new Uint8Array([0x80, 0x80, 0x80, 0x80, 0x04, 1, 2, 3]));
    await network.waitFor('the stream is reset', () => admit.status !== 'open');
    expect(await network.members(1)).toHaveLength(2);
    const receipt = await network.call(1, 'task.submit', { exec: { argv: ['true'] } });
    expect(receipt).toMatchObject({ ok: true, value: { required: 2, degraded: false } });
  },
  TEST_MS,
);

test(
  `five that all stopped find each other from their peer books, in whatever order (${SEEDS.join('; ')})`,
  async () => {
    const network = await up(5);
    for (const { stops, starts, signals } of ORDERS) {
      const submitted = await network.call(2, 'task.submit', { exec: { argv: ['echo', 'kept'] } });
      if (!submitted.ok) throw new Error(submitted.error.message);
      const { id } = submitted.value;
      for (const [at, index] of stops.entries()) await network.kill(index, signals[at]);
      for (const index of starts) await network.restart(index);
      await network.waitForAllAlive();
      const done = await network.call(5, 'task.wait', { ids: [id], timeout_ms: 20_000 }, 25_000);
      expect(done).toMatchObject({ ok: true, value: { done: [{ state: 'completed' }] } });
    }
  },
  TEST_MS,
);

test(
  'no argument but where: a mesh of one with a ready line; port 0 is chosen once and kept',
  async () => {
    const made = await daemons();
    const bind = ['--bind', '127.0.0.1:0'];
    const first = await made.start('one', bind);
    const { ready } = first;
    expect(ready).toEqual({
      event: 'ready',
      pid: first.pid,
      peer_id: expect.stringMatching(/^12D3KooW/),
      store_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      mesh_id: expect.any(String),
      addresses: [expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/)],
      socket: join(made.dir, 'one.sock'),
    });
    const opened = await openConnection(String(ready.socket));
    if (!opened.ok) throw new Error(opened.error.message);
    // It listens on loopback alone: a token would lead other hosts nowhere.
    const far = encodeToken({
      meshId: 'f'.repeat(32),
      inviter: String(ready.peer_id),
      addresses: ['192.0.2.1:26839'],
      secret: new Uint8Array(16),
      expiresAtMs: Date.now() + 60_000,
    });
    const alone = { error: { code: 'LOOPBACK_ONLY', help: expect.stringContaining('--bind') } };
    expect(await opened.value.call('mesh.join', { token: far })).toMatchObject(alone);
    expect(await opened.value.call('access.invite', {})).toMatchObject(alone);
    opened.value.close();
    const ended = await first.kill('SIGTERM');
    expect({ code: ended.code, lines: ended.stdout.split('\n').length }).toEqual({
      code: 0,
      lines: 2,
    });
    const second = await made.start('one', bind);
    const { pid: _one, ...same } = ready;
    const { pid: _two, ...again } = second.ready;
    expect(again).toEqual(same);
  },
  TEST_MS,
);

test(
  'a port, data directory or socket in use, a newer store, root: exit 1 and a sentence',
  async () => {
    const made = await daemons();
    const first = await made.start('first');
    const dirOf = (name: string): string => join(made.dir, name);
    const refusal = async (args: readonly string[], command?: readonly string[]) => {
      const { code, stdout, stderr } = await made.run(['--allow-root', ...args], command);
      expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({
        code: 1,
        stdout: '',
        lines: 1,
      });
      return stderr;
    };
    const [address] = first.ready.addresses as string[];
    const busyDir = ['--data-dir', dirOf('first'), '--bind', '127.77.1.2:0'];
    const socket = String(first.ready.socket);
    const [port, dir, control] = await Promise.all([
      refusal(['--data-dir', dirOf('second'), '--bind', String(address)]),
      refusal(busyDir),
      refusal(['--data-dir', dirOf('third'), '--bind', '127.77.1.2:0', '--socket', socket]),
    ]);
    expect(port).toMatch(/^coveyd: .*in use.*--bind/);
    expect(dir).toMatch(/^coveyd: .*first.*in use/);
    expect(control).toMatch(/^coveyd: .*socket.*in use/);
    // The first one still answers: nobody took its socket away.
    const opened = await openConnection(socket);
    expect(opened.ok).toBe(true);
    if (opened.ok) opened.value.close();

    await first.kill('SIGTERM');
    const store = await openStore({
      directory: join(dirOf('first'), 'store'),
      clock: new HostClock(),
    });
    if (!store.ok) throw new Error(store.error.detail);
    const meta = decodeValue(store.value.get('m/store') ?? new Uint8Array(0));
    if (!meta.ok || !isWireMap(meta.value)) throw new Error('no identity of the store');
    const newer = checkedIdentity({ ...meta.value, schema_version: 1_000 });
    await store.value.append([{ put: 'm/store', value: encodeValue(newer) }]);
    await store.value.close();
    expect(await refusal(busyDir)).toMatch(/^coveyd: .*(newer|1000)/);

    const asRoot = process.getuid?.() === 0 ? [COVEYD] : ['unshare', '-r', COVEYD];
    const bare = await made.run(['--data-dir', dirOf('root'), '--bind', '127.77.1.3:0'], asRoot);
    expect(bare).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^coveyd: .*root.*--allow-root/),
    });
    await rm(dirOf('first'), { recursive: true });
  },
  TEST_MS,
);
