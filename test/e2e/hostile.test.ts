/**
 * Strangers and buggy members against live daemons. After each attack the honest members see one another alive, requests
 * work, the daemons are the same processes with bounded memory, and what was refused is counted.
 */
import { readFile } from 'node:fs/promises';
import { encode } from 'cborg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Connection } from '../../src/host/libp2p-node.ts';
import type { AdmitFrame } from '../../src/membership/hello.ts';
import { encodeValue } from '../../src/wire/codec.ts';
import { framed, HostilePeer, tokenOf } from '../support/hostile-peer.ts';
import { Mesh, TEST_MS } from './mesh.ts';

const MIB = 1_048_576;
/** Of one daemon, over all of this file: buffers that are full, and what the collector has not got to. */
const GROWTH_BYTES_MAX = 256 * MIB;
const HONEST = ['test1', 'test2', 'test3'];

let mesh: Mesh;
let pids: number[];
let rssBefore: number[];
const peers: HostilePeer[] = [];

async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
}

async function hostile(host?: string): Promise<HostilePeer> {
  const peer = await HostilePeer.create(host);
  peers.push(peer);
  return peer;
}

async function invite(ttlMs = 60_000): Promise<string> {
  const answer = await mesh.network.call(1, 'access.invite', { ttl_ms: ttlMs });
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.token;
}

async function refused(index = 1): Promise<Readonly<Record<string, number>>> {
  const answer = await mesh.network.call(index, 'members.stats', {}, 20_000);
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value.refused ?? {};
}

const countOf = async (reason: string): Promise<number> => (await refused())[reason] ?? 0;

async function member(): Promise<{ peer: HostilePeer; connection: Connection }> {
  const peer = await hostile();
  return { peer, connection: await peer.join(await invite()) };
}

beforeAll(async () => {
  mesh = await Mesh.up(3, { slots: 2 });
  pids = mesh.network.indices.map((index) => mesh.network.pid(index));
  rssBefore = await Promise.all(pids.map(rssOf));
}, TEST_MS);

/** What must hold, whatever was done. */
afterEach(async () => {
  const client = await mesh.client(1);
  const { id } = await client.submit({ exec: { argv: ['echo', 'honest'] } });
  expect(await client.waitFor(id)).toMatchObject({ state: 'completed', stdout: 'honest\n' });
  for (const index of mesh.network.indices) {
    const members = (await mesh.network.members(index, 20_000)) ?? [];
    const honest = members.filter(({ name }) => HONEST.includes(name));
    expect(honest.map(({ name, status }) => [name, status]).sort()).toEqual(
      HONEST.map((name) => [name, 'alive']),
    );
    expect(mesh.network.pid(index)).toBe(pids[index - 1]);
  }
  await Promise.all(peers.splice(0).map((peer) => peer.stop()));
}, TEST_MS);

afterAll(() => mesh.end(), TEST_MS);

test(
  'a stranger with a wrong, an expired, a used or a foreign token, or with none, is refused by name',
  async () => {
    const peer = await hostile();
    const connection = await peer.dial(mesh.network.address(1));
    const token = tokenOf(await invite());
    const redeem = (secret: Uint8Array): AdmitFrame => ({ type: 'redeem', secret, name: 'x' });
    expect(await peer.answer(connection, redeem(new Uint8Array(16)))).toBe('TOKEN_USED');
    const short = tokenOf(await invite(1_000));
    await mesh.network.waitFor('it has expired', () => Date.now() > short.expiresAtMs);
    expect(await peer.answer(connection, redeem(short.secret))).toBe('TOKEN_EXPIRED');
    // At another member than its inviter it never counts.
    const elsewhere = await peer.dial(mesh.network.address(2));
    expect(await peer.answer(elsewhere, redeem(token.secret))).toBe('TOKEN_USED');
    peer.meshId = token.meshId;
    expect(await peer.answer(connection, peer.hello())).toBe('NOT_ALLOWED');
    peer.meshId = 'ff'.repeat(16);
    expect(await peer.answer(connection, peer.hello())).toBe('FOREIGN_MESH');

    // One comes in, and what it said is repeated by another.
    const used = await invite();
    const inside = await hostile();
    await inside.join(used);
    peer.meshId = token.meshId;
    expect(await peer.answer(connection, redeem(tokenOf(used).secret))).toBe('TOKEN_USED');
    expect(await peer.answer(connection, inside.hello())).toBe('NOT_ALLOWED');
    expect(await peer.answer(connection, new Uint8Array([0x5a, 0x80, 0, 0, 0]))).toBe('reset');
    expect(await refused()).toMatchObject({
      'admission: TOKEN_USED': expect.any(Number),
      'admission: TOKEN_EXPIRED': expect.any(Number),
      'admission: NOT_ALLOWED': expect.any(Number),
      'admission: FOREIGN_MESH': 1,
      'admission: not readable': 1,
    });
  },
  TEST_MS,
);

test(
  'a stranger gets no stream, and as many as it opens are reset and counted',
  async () => {
    const peer = await hostile();
    const before = await countOf('stream: of a stranger');
    const connection = await peer.dial(mesh.network.address(1));
    for (const frameClass of ['control', 'data', 'bulk'] as const) {
      const stream = await peer.stream(connection, frameClass);
      await mesh.network.waitFor('it is reset', () => stream.status !== 'open');
    }
    expect(await countOf('stream: of a stranger')).toBe(before + 3);
    // Ten thousand, as fast as they come; what is not refused at once is reset.
    const opened = Array.from({ length: 10_000 }, () =>
      connection.newStream('/covey/data/1').then(
        () => 'opened',
        () => 'failed',
      ),
    );
    await Promise.all(opened);
    await mesh.network.waitFor('none is left', () =>
      connection.streams.every(({ status }) => status !== 'open'),
    );
  },
  TEST_MS,
);

test(
  'connections of strangers without end cost those who make them',
  async () => {
    const peer = await hostile();
    let open = 0;
    for (let round = 0; round < 20; round += 1) {
      const dials = Array.from({ length: 20 }, () => peer.dial(mesh.network.address(1)));
      for (const result of await Promise.allSettled(dials))
        if (result.status === 'fulfilled') {
          open += 1;
          result.value.abort(new Error('spam'));
        }
    }
    expect(open).toBeGreaterThan(0);
    const left = await peer.dial(mesh.network.address(2));
    // Nobody lets it in, so it is closed.
    await mesh.network.waitFor('it is closed', () => left.status !== 'open', 20_000);
    expect((await refused(2))['connection: not admitted in time']).toBeGreaterThan(0);
  },
  TEST_MS,
);

test(
  'forged records, other meshes, impossible turns and boots change nothing',
  async () => {
    const { peer, connection } = await member();
    const honest = mesh.network.identity(1);
    const turns = (await mesh.network.members(2))?.map(({ incarnation }) => incarnation) ?? [];
    const other = await hostile();
    const forged = peer.fact(peer.record({ peerId: honest.peerId, left: true, epoch: 99 }));
    other.meshId = peer.meshId;
    const stranger = other.fact(other.record());
    const foreign = peer.fact(peer.record(), 'ff'.repeat(16));
    const odd = peer.fact(peer.entryFor('é nobody'));
    const long = peer.fact(peer.entryFor('x'.repeat(500)));
    const wild = [2 ** 53, -1, 0.5, Number.NaN].map((incarnation) =>
      peer.fact(peer.record({ epoch: 2, incarnation })),
    );
    const max = Number.MAX_SAFE_INTEGER;
    const verdict = peer.fact({
      ...{ kind: 'verdict', peerId: honest.peerId, epoch: 1, incarnation: max, evidence: 'crash' },
    });
    const facts = [forged, stranger, foreign, odd, long, ...wild, verdict];
    await peer.send(connection, 'control', [0, 0, 'delta', { facts, want: [] }]);
    // Twice: what is replayed is what is known.
    await peer.send(connection, 'control', [0, 0, 'delta', { facts, want: [] }]);
    for (const epoch of [1, 2, max]) {
      const said = { epoch, incarnation: max, level: 'dead' };
      await peer.send(connection, 'control', [0, 0, 'accused', said]);
    }
    const known = { epoch: max, incarnation: max, dead: true };
    expect(await peer.answer(connection, peer.hello({ known }))).toBe('hello');
    const boot = { bootCount: 2 ** 53, seq: -1 };
    expect(await peer.answer(connection, peer.hello(boot))).toBe('reset');
    await expect
      .poll(() => refused())
      .toMatchObject({
        'a turn beyond belief': expect.any(Number),
        'fact: a record by somebody else': 2,
        'fact: a fact of another mesh': 2,
        'fact: a fact about nobody': 4,
      });
    const after = (await mesh.network.members(2))?.map(({ incarnation }) => incarnation) ?? [];
    expect(Math.max(...after)).toBeLessThan(Math.max(...turns) + 100);
  },
  TEST_MS,
);

test(
  'a buggy member: huge and unreadable frames, unknown kinds, facts without end',
  async () => {
    const { peer, connection } = await member();
    await peer.send(connection, 'data', framed(encode([0, 0, 'news', { at: Number.NaN }])));
    await peer.send(connection, 'data', framed(new Uint8Array(7 * MIB).fill(0x80)));
    await peer.send(connection, 'data', [7, 0, 'x', {}]);
    await peer.send(connection, 'data', [0, 0, 'no.such', {}]);
    await peer.send(connection, 'control', [0, 0, 'no.such', {}]);
    await peer.send(connection, 'control', [
      0,
      0,
      'delta',
      { facts: Array(100_000).fill(0), want: [] },
    ]);
    const future = peer.fact({ ...peer.entryFor('future'), admittedAtMs: 2 ** 50 });
    await peer.send(connection, 'control', [0, 0, 'delta', { facts: [future], want: [] }]);
    // The longest record there may be, asked for again and again in one message: the answer must fit into a frame.
    const labels = Object.fromEntries(
      Array.from({ length: 45 }, (_, i) => [`l${i}`, 'x'.repeat(500)]),
    );
    const large = peer.fact(peer.record({ epoch: 5, labels }));
    await peer.send(connection, 'control', [0, 0, 'delta', { facts: [large], want: [] }]);
    const want = Array(20_000).fill(`record/${peer.peerId}`);
    await peer.send(connection, 'control', [0, 0, 'delta', { facts: [], want }]);
    // Ids that are no keys, in messages and requests.
    const id = 'ü'.repeat(3_000);
    await peer.send(connection, 'data', [0, 0, 'run.tail', { id, run_id: 'x' }]);
    await peer.send(connection, 'data', [0, 0, 'task.watch', { ids: [id, 7] }]);
    await peer.send(connection, 'data', [1, 1, 'task.read', { ids: [id], blobs: true }]);
    await peer.send(connection, 'bulk', [1, 2, 'rec.ask', { ids: [id], blobs: true }]);
    for (let request = 3; request < 20_000; request += 1)
      await peer.send(connection, 'data', [1, request, 'no.such', {}]);
    await expect
      .poll(() => refused(), { timeout: 20_000 })
      .toMatchObject({
        'frame: not readable': 3,
        'frame: unknown type': 1,
        'control: not readable': 2,
        'request: unknown type': expect.any(Number),
      });
    // A length of 2^31: the connection is cut.
    await peer.send(connection, 'bulk', new Uint8Array([0x80, 0x80, 0x80, 0x80, 0x08, 1]));
    await mesh.network.waitFor('it is cut off', () => connection.status !== 'open');
    expect(await countOf('frame: too long')).toBe(1);
  },
  TEST_MS,
);

test(
  'a member that reads nothing of what it asks for',
  async () => {
    const { peer, connection } = await member();
    for (let i = 0; i < 2_000; i += 1)
      await peer.send(connection, 'control', [0, 0, 'digest', { lines: [] }]);
    for (let i = 0; i < 2_000; i += 1)
      await peer.send(connection, 'bulk', [1, i, 'task.scan', { limit: 1_000 }]);
  },
  TEST_MS,
);

test(
  'news without end: of a stranger none is taken, of a member as much as its allowance',
  async () => {
    const flood = async (peer: HostilePeer): Promise<void> => {
      const garbage = (i: number) =>
        encodeValue([0, 0, 'news', { facts: Array(40).fill(['x', new Uint8Array(300), i]) }]);
      for (let i = 0; i < 500; i += 1) await peer.publish(garbage(i));
    };
    const stranger = await hostile('127.77.9.8');
    stranger.subscribe();
    await stranger.dial(mesh.network.address(1));
    await flood(stranger);
    const { peer, connection } = await member();
    peer.subscribe();
    await expect
      .poll(() => peer.node.services.gossip.getSubscribers('covey/news/1').length, {
        timeout: 20_000,
      })
      .toBeGreaterThan(0);
    await flood(peer);
    await expect
      .poll(() => countOf('news: too much of one peer'), { timeout: 20_000 })
      .toBeGreaterThan(0);
    expect(connection.status).toBe('open');
  },
  TEST_MS,
);

test('after all of it, memory has a bound', async () => {
  const rss = await Promise.all(pids.map(rssOf));
  const grown = rss.map((bytes, i) => bytes - (rssBefore[i] ?? 0));
  expect(Math.max(...grown)).toBeLessThan(GROWTH_BYTES_MAX);
});
