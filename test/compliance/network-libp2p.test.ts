/** What only the real network can show: killed processes, hostile bytes, libp2p's own protocols. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import { createLibp2pNetwork } from '../../src/host/libp2p-network.ts';
import { TestPeer } from './network-bench.ts';
import { addressOf, bareNode, startPeer } from './network-nodes.ts';
import { type RealWorld, realWorld } from './network-worlds.ts';

let world: RealWorld;
const children: ChildProcess[] = [];
const cleanUps: (() => unknown)[] = [];

// Before each, not after the last one: it has a directory.
beforeEach(() => {
  world = realWorld();
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  await world.dispose();
});

interface ChildPeer {
  readonly process: ChildProcess;
  readonly peerId: string;
  readonly address: string;
}

async function startChild(friend: string): Promise<ChildPeer> {
  const script = join(import.meta.dirname, 'network-child.ts');
  const child = spawn(process.execPath, [script, join(await world.directory, 'child'), friend], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { peerId, port } = JSON.parse(line.toString()) as { peerId: string; port: number };
  return { process: child, peerId, address: `127.0.0.1:${port}` };
}

/** A member in another process, with a link and streams in both directions. */
async function linkedChild(a: TestPeer): Promise<ChildPeer> {
  const child = await startChild(a.peerId);
  a.network.admit(child.peerId);
  expect(await a.network.dial(child.peerId, child.address, 5_000)).toMatchObject({ ok: true });
  a.network.send(child.peerId, 'control', new Uint8Array([1]));
  await world.settle(() => a.frames.length === 1);
  return child;
}

test('a killed process is noticed in milliseconds, and its address refuses', async () => {
  const a = await startPeer(world, 'a');
  const child = await linkedChild(a);
  const killedMs = performance.now();
  child.process.kill('SIGKILL');
  await world.settle(() => a.closedPeers.length === 1);
  expect(performance.now() - killedMs).toBeLessThan(1_000);
  // Its sockets end one after another, and the listener may be the last of them.
  await world.settle(() => child.process.signalCode === 'SIGKILL');
  expect(await a.network.dial(child.peerId, child.address, 2_000)).toMatchObject({
    ok: false,
    code: 'refused',
  });
  expect(await a.network.probe(child.address, 2_000)).toBe('refused');
  expect(a.network.send(child.peerId, 'control', new Uint8Array([1]))).toBe('gone');
});

test('a frozen process costs a bounded queue, and everything arrives when it goes on', async () => {
  const a = await startPeer(world, 'a');
  const child = await linkedChild(a);
  child.process.kill('SIGSTOP');
  const frame = new Uint8Array(262_144).fill(5);
  let sent = 0;
  await world.settle(() => {
    const result = a.network.send(child.peerId, 'bulk', frame);
    if (result === 'sent') sent++;
    return result === 'full';
  });
  expect(a.network.links()).toHaveLength(1);
  child.process.kill('SIGCONT');
  await world.settle(() => a.frames.length === 1 + sent);
  expect(a.frames.slice(1).every(({ bytes }) => bytes.length === frame.length)).toBe(true);
});

test('a frozen process that is killed is noticed at once, with megabytes on their way to it', async () => {
  const a = await startPeer(world, 'a');
  const child = await linkedChild(a);
  child.process.kill('SIGSTOP');
  await world.settle(
    () => a.network.send(child.peerId, 'bulk', new Uint8Array(262_144)) === 'full',
  );
  const killedMs = performance.now();
  child.process.kill('SIGKILL');
  await world.settle(() => a.closedPeers.length === 1);
  expect(performance.now() - killedMs).toBeLessThan(1_000);
});

test('neither disconnect nor stop waits for a frozen process', async () => {
  const a = await startPeer(world, 'a');
  const child = await linkedChild(a);
  child.process.kill('SIGSTOP');
  a.network.send(child.peerId, 'bulk', new Uint8Array(8_000_000));
  const startedMs = performance.now();
  await a.network.disconnect(child.peerId);
  await world.settle(() => a.closedPeers.length === 1);
  await a.network.stop();
  expect(performance.now() - startedMs).toBeLessThan(10_000);
});

test('connections are made from the given local address, and names are resolved', async () => {
  const a = await startPeer(world, 'a');
  const loaded = await loadOrCreateIdentity(join(await world.directory, 'b'));
  if (!loaded.ok) throw new Error(loaded.error);
  const { identity, privateKey } = loaded.value;
  const network = await createLibp2pNetwork({ privateKey, dialFrom: '127.0.0.2' });
  cleanUps.push(() => network.stop());
  await network.start(new TestPeer(identity, network), { host: '127.0.0.2', port: 0 });
  expect(await network.dial(a.peerId, a.address, 5_000)).toMatchObject({ ok: true });
  await world.settle(() => a.openedLinks.length === 1);
  expect(a.openedLinks[0]?.address).toMatch(/^127\.0\.0\.2:\d+$/);
  const child = await startChild('nobody');
  const port = child.address.split(':')[1];
  expect(await a.network.probe(`localhost:${port}`, 2_000)).toBe('accepted');
  expect(await a.network.dial(child.peerId, `localhost:${port}`, 5_000)).toMatchObject({
    ok: true,
  });
  child.process.kill('SIGKILL');
  await world.settle(() => a.closedPeers.includes(child.peerId));
  // Its sockets end one after another, and the listener may be the last of them.
  await world.settle(() => child.process.signalCode === 'SIGKILL');
  expect(await a.network.dial(child.peerId, `localhost:${port}`, 5_000)).toMatchObject({
    code: 'refused',
  });
});

test('an address that is none is unreachable', async () => {
  const a = await startPeer(world, 'a');
  for (const address of ['', 'nowhere', '127.0.0.1', '127.0.0.1:99999', '[127.0.0.1]:1', 'a b:1']) {
    expect(await a.network.dial(a.peerId, address, 500), address).toMatchObject({
      code: 'unreachable',
    });
    expect(await a.network.probe(address, 500), address).toBe('unreachable');
  }
});

test('a stopped network leaves nothing open: the process exits by itself', async () => {
  const a = await startPeer(world, 'a');
  const child = await linkedChild(a);
  const exited = once(child.process, 'exit');
  child.process.stdin?.end();
  expect(await exited).toEqual([0, null]);
  await world.settle(() => a.closedPeers.length === 1);
});

async function rawSocket(address: string): Promise<Socket> {
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => socket.destroy());
  cleanUps.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

test('bytes that are not libp2p, and connections that are reset, harm nobody', async () => {
  const [a, b] = [await startPeer(world, 'a'), await startPeer(world, 'b')];
  for (const garbage of [
    'GET / HTTP/1.1\r\n\r\n',
    '\x13/multistream/1.0.0\n\x07/tls/1.0.0\n',
    '',
  ]) {
    const socket = await rawSocket(a.address);
    socket.write(garbage);
    socket.write(new Uint8Array(5_000).fill(0xff));
    const reset = await rawSocket(a.address);
    reset.write(garbage);
    reset.resetAndDestroy();
  }
  a.network.admit(b.peerId);
  b.network.admit(a.peerId);
  expect(await b.network.dial(a.peerId, a.address, 5_000)).toMatchObject({ ok: true });
  b.network.send(a.peerId, 'data', new Uint8Array([1]));
  await world.settle(() => a.frames.length === 1);
  expect(a.openedLinks.map(({ peerId }) => peerId)).toEqual([b.peerId]);
});

test('a stranger is refused identify, gossip and every class', async () => {
  const a = await startPeer(world, 'a');
  const node = await bareNode(cleanUps);
  const connection = await node.dial(addressOf(a));
  for (const protocol of [
    '/ipfs/id/1.0.0',
    '/meshsub/1.1.0',
    '/covey/control/1',
    '/covey/data/1',
    '/covey/bulk/1',
  ]) {
    // Reset while it is opened, or at once after that.
    const outcome = await connection.newStream(protocol).then(
      async (stream) => {
        let bytes = 0;
        stream.addEventListener('message', ({ data }) => {
          bytes += data.byteLength;
        });
        await world.settle(() => stream.status !== 'open');
        return `${stream.status} after ${bytes} bytes`;
      },
      (error: unknown) => String(error),
    );
    expect(outcome, protocol).toMatch(/reset after 0 bytes|StreamResetError|has been reset/);
  }
  a.network.admit(node.peerId.toString());
  const stream = await connection.newStream('/ipfs/id/1.0.0');
  let answered = 0;
  stream.addEventListener('message', ({ data }) => {
    answered += data.byteLength;
  });
  await world.settle(() => answered > 0);
});

test('a frame length over the limit closes the connection of its sender', async () => {
  const a = await startPeer(world, 'a');
  const node = await bareNode(cleanUps);
  a.network.admit(node.peerId.toString());
  const connection = await node.dial(addressOf(a));
  const stream = await connection.newStream('/covey/data/1');
  // A good frame of two bytes, then one that says it has 128 MiB.
  stream.send(new Uint8Array([2, 8, 9, 0x80, 0x80, 0x80, 0x40, 1, 2, 3]));
  await world.settle(() => a.closedPeers.length === 1);
  expect(a.frames.map(({ bytes }) => bytes)).toEqual([new Uint8Array([8, 9])]);
  expect(world.log.map(({ message }) => message)).toContain('a peer broke the protocol');
});

test('an admission request over the limit is reset, and the link stays', async () => {
  const a = await startPeer(world, 'a');
  const node = await bareNode(cleanUps);
  const connection = await node.dial(addressOf(a));
  const stream = await connection.newStream('/covey/admit/1');
  stream.send(new Uint8Array([0x81, 0x80, 0x04, 1, 2, 3]));
  await world.settle(() => stream.status !== 'open');
  expect(a.requests).toEqual([]);
  expect(connection.status).toBe('open');
});

test('frames go on over the second connection when the first one ends', async () => {
  const a = await startPeer(world, 'a');
  const node = await bareNode(cleanUps);
  const received: number[] = [];
  await node.handle('/covey/data/1', (stream) => {
    stream.addEventListener('message', ({ data }) => {
      for (const byte of data.subarray()) received.push(byte);
    });
  });
  a.network.admit(node.peerId.toString());
  const first = await node.dial(addressOf(a));
  const second = await node.dial(addressOf(a), { force: true });
  expect(second.id).not.toBe(first.id);
  a.network.send(node.peerId.toString(), 'data', new Uint8Array([7]));
  await world.settle(() => received.length === 2);
  first.abort(new Error('test'));
  await world.settle(() => node.getConnections().length === 1);
  await world.settle(() => {
    a.network.send(node.peerId.toString(), 'data', new Uint8Array([9]));
    return received.includes(9);
  });
  expect([a.openedLinks.length, a.closedPeers.length]).toEqual([1, 0]);
  second.abort(new Error('test'));
  await world.settle(() => a.closedPeers.length === 1);
});
