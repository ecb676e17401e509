/** What only the simulated network can do: partitions, crashes, flipped bits, the same run twice. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { SimNetworkHub } from '../../src/sim/network-hub.ts';
import { TestPeer } from './network-bench.ts';

function makeWorld(seed = 'faults') {
  const clock = new SimClock();
  const trace: string[] = [];
  const hub = new SimNetworkHub({
    clock,
    random: new SeededRandom(seed),
    trace: (event, ...args) =>
      trace.push(`${clock.nowMs()} ${event} ${args.map(String).join(' ')}`),
  });
  const start = async (name: string, port = 0): Promise<TestPeer> => {
    const identity = createSimIdentity(name);
    const peer = new TestPeer(identity, hub.createNetwork(identity));
    const result = await peer.network.start(peer, { host: '10.0.0.1', port });
    if (!result.ok) throw new Error(result.detail);
    peer.address = `10.0.0.1:${result.port}`;
    return peer;
  };
  const linked = async (): Promise<[TestPeer, TestPeer]> => {
    const [a, b] = [await start('a'), await start('b')];
    a.network.admit(b.peerId);
    b.network.admit(a.peerId);
    void a.network.dial(b.peerId, b.address, 1_000);
    await clock.runUntil(() => a.openedLinks.length > 0, 1_000);
    return [a, b];
  };
  return { clock, hub, trace, start, linked };
}

const bytesOf = (...values: number[]) => new Uint8Array(values);
const firstBytes = (peer: TestPeer) => peer.frames.map(({ bytes }) => bytes[0]);

test('a partition holds frames back, closes nothing, and the heal delivers them in order', async () => {
  const { clock, hub, linked } = makeWorld();
  const [a, b] = await linked();
  a.network.send(b.peerId, 'data', bytesOf(1));
  hub.partition([[a.peerId], [b.peerId]]);
  for (let i = 2; i <= 9; i++) a.network.send(b.peerId, 'data', bytesOf(i));
  await clock.runFor(60_000);
  expect([b.frames.length, a.closedPeers.length, b.closedPeers.length]).toEqual([0, 0, 0]);
  hub.heal();
  a.network.send(b.peerId, 'data', bytesOf(10));
  await clock.runUntil(() => b.frames.length === 10, 1_000);
  expect(firstBytes(b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('dials and probes over a partition time out; one that waits for the heal succeeds', async () => {
  const { clock, hub, start } = makeWorld();
  const [a, b] = [await start('a'), await start('b')];
  hub.partition([[a.peerId], [b.peerId]]);
  const results: unknown[] = [];
  void a.network.dial(b.peerId, b.address, 1_000).then((result) => results.push(result));
  void a.network.probe(b.address, 1_000).then((result) => results.push(result));
  await clock.runFor(2_000);
  expect(results).toEqual([expect.objectContaining({ code: 'timeout' }), 'timeout']);
  void a.network.dial(b.peerId, b.address, 10_000).then((result) => results.push(result));
  await clock.runFor(2_000);
  hub.heal();
  await clock.runFor(100);
  expect(results[2]).toEqual({ ok: true, peerId: b.peerId, isNew: true });
  expect(b.openedLinks).toHaveLength(1);
});

test('a crash ends its links, refuses at its address, and calls no handler of it again', async () => {
  const { clock, hub, linked, start } = makeWorld();
  const [a, b] = await linked();
  for (let i = 0; i < 10; i++) a.network.send(b.peerId, 'data', bytesOf(i));
  hub.crash(b.peerId);
  await clock.runUntil(() => a.closedPeers.length === 1, 1_000);
  let result: unknown;
  void a.network.dial(b.peerId, b.address, 1_000).then((dialed) => {
    result = dialed;
  });
  await clock.runFor(20_000);
  expect(result).toMatchObject({ code: 'refused' });
  expect([b.frames.length, b.closedPeers.length]).toEqual([0, 0]);
  const again = await start('b', Number(b.address.split(':')[1]));
  void a.network.dial(b.peerId, b.address, 1_000);
  await clock.runUntil(() => again.openedLinks.length === 1, 1_000);
});

test('a crash behind a partition is silence, until the heal', async () => {
  const { clock, hub, linked } = makeWorld();
  const [a, b] = await linked();
  hub.partition([[a.peerId], [b.peerId]]);
  hub.crash(b.peerId);
  await clock.runFor(30_000);
  expect(a.closedPeers).toEqual([]);
  hub.heal();
  await clock.runFor(100);
  expect(a.closedPeers).toEqual([b.peerId]);
});

test('a dialler that crashes in the middle of a dial leaves no link behind', async () => {
  const { clock, hub, start } = makeWorld();
  const [a, b] = [await start('a'), await start('b')];
  void a.network.dial(b.peerId, b.address, 1_000);
  await clock.runUntil(() => b.openedLinks.length === 1, 1_000);
  hub.crash(a.peerId);
  await clock.runUntil(() => b.closedPeers.length === 1, 1_000);
  expect([a.openedLinks.length, b.network.links().length]).toEqual([0, 0]);
});

test('a full buffer says so while the partition lasts', async () => {
  const { clock, hub, linked } = makeWorld();
  const [a, b] = await linked();
  hub.partition([[a.peerId], [b.peerId]]);
  const results = Array.from({ length: 5 }, () =>
    a.network.send(b.peerId, 'bulk', new Uint8Array(4 * 1_048_576)),
  );
  expect(results).toEqual(['sent', 'sent', 'sent', 'sent', 'full']);
  hub.heal();
  await clock.runUntil(() => b.frames.length === 4, 1_000);
  expect(a.network.send(b.peerId, 'bulk', bytesOf(1))).toBe('sent');
});

async function run(seed: string, corrupt: boolean): Promise<string[]> {
  const { clock, hub, linked, trace } = makeWorld(seed);
  const [a, b] = await linked();
  b.onFrame = ({ from, bytes }) => {
    b.network.send(from, 'control', bytes);
  };
  if (corrupt)
    hub.corruptNext((from, _to, frameClass) => from === a.peerId && frameClass === 'data');
  for (let i = 0; i < 5; i++) a.network.send(b.peerId, 'data', bytesOf(i, 0, 0));
  a.network.publish(bytesOf(1));
  await clock.runFor(100);
  hub.crash(b.peerId);
  await clock.runFor(100);
  return trace;
}

test('a seed gives the same trace twice, another seed or one flipped bit another', async () => {
  const first = await run('seed 1', false);
  expect(first.length).toBeGreaterThan(20);
  expect(await run('seed 1', false)).toEqual(first);
  expect(await run('seed 2', false)).not.toEqual(first);
  const corrupted = await run('seed 1', true);
  expect(corrupted).not.toEqual(first);
  const delivered = (lines: string[]) => lines.filter((line) => line.includes('network.frame'));
  expect(delivered(corrupted)).toHaveLength(delivered(first).length);
});

test('what a peer receives is not the memory of its sender', async () => {
  const { clock, linked } = makeWorld();
  const [a, b] = await linked();
  const bytes = bytesOf(1, 2, 3);
  a.network.send(b.peerId, 'data', bytes);
  bytes.fill(9);
  await clock.runUntil(() => b.frames.length === 1, 1_000);
  expect(b.frames[0]?.bytes).toEqual(bytesOf(1, 2, 3));
});
