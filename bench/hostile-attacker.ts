/** The attacker of bench/hostile.ts: ATTACK ADDRESS TOKEN, until SIGTERM; or `burn SHARE`, which only uses CPU. */
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../src/host/libp2p-node.ts';
import { encodeValue, type WireValue } from '../src/wire/codec.ts';
import { framed, HostilePeer, tokenOf } from '../test/support/hostile-peer.ts';

const [attack = '', address = '', token = ''] = process.argv.slice(2);
const MIB = 1_048_576;
let done = 0;
let stopping = false;

process.on('SIGTERM', () => {
  stopping = true;
  process.stdout.write(`\n${JSON.stringify({ sent: done })}\n`, () => process.exit(0));
});
const ready = () => process.stdout.write('ready\n');

/** Works for this part of each 20 ms. */
async function burn(share: number): Promise<void> {
  ready();
  while (!stopping) {
    const endMs = performance.now() + 20 * Math.min(1, share);
    while (performance.now() < endMs) done += 1;
    await delay(20 * Math.max(0, 1 - share));
  }
}

/** As often as it goes, so many at once; what fails is tried again. */
async function again(act: (i: number) => Promise<unknown>, atOnce = 1): Promise<void> {
  ready();
  const one = async (): Promise<void> => {
    for (let failed = 0; !stopping; ) {
      try {
        done += 1;
        await act(done);
        failed = 0;
      } catch {
        failed += 1;
        await delay(Math.min(100, failed));
      }
      // Its own timers and sockets must have their turn.
      if (done % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

async function asMember(peer: HostilePeer): Promise<() => Promise<Connection>> {
  let connection = await peer.join(token);
  return async () => {
    if (connection.status === 'open') return connection;
    connection = await peer.dial(address);
    await peer.greet(connection);
    return connection;
  };
}

async function asStranger(peer: HostilePeer): Promise<void> {
  peer.meshId = tokenOf(token).meshId;
  if (attack === 'connections') {
    await again(async () => (await peer.dial(address)).abort(new Error('spam')), 8);
  }
  let connection = await peer.dial(address);
  const dialled = async () => {
    if (connection.status !== 'open') connection = await peer.dial(address);
    return connection;
  };
  const chain = Array.from({ length: 16 }, () => peer.fact(peer.entryFor(peer.peerId)));
  if (attack === 'hellos') {
    const hello = peer.hello({ chain });
    await again(async () => await peer.admit(await dialled(), hello), 2);
  }
  await again(
    async () => (await (await dialled()).newStream('/covey/data/1')).abort(new Error('x')),
    32,
  );
}

const envelope = (type: string, body: WireValue, kind = 0, id = 0): Uint8Array =>
  framed(encodeValue([kind, id, type, body]));

async function flood(peer: HostilePeer): Promise<void> {
  const member = await asMember(peer);
  const send = async (frameClass: 'control' | 'data', bytes: Uint8Array) =>
    await peer.send(await member(), frameClass, bytes);
  const fact = (i: number) => peer.fact({ ...peer.entryFor(`friend${i}`), admittedAtMs: i });
  switch (attack) {
    case 'news': {
      peer.subscribe();
      await delay(3_000);
      const facts = Array.from({ length: 40 }, (_, i) => fact(i));
      return again((i) => peer.publish(encodeValue([0, 0, 'news', { facts, i }])));
    }
    case 'requests':
      return again((i) => send('data', envelope('task.scan', { limit: 100 }, 1, i)));
    case 'writes': {
      const blob = new Uint8Array(64 * 1_024);
      return again((i) =>
        send('data', envelope('rec.put', { record: { id: `x${i}` }, blob }, 1, i)),
      );
    }
    case 'facts': {
      const facts = Array.from({ length: 512 }, (_, i) => fact(i));
      const bytes = envelope('delta', { facts, want: [] });
      return again(() => send('control', bytes));
    }
    case 'digests': {
      const bytes = envelope('digest', { lines: [] });
      return again(() => send('control', bytes));
    }
    case 'frames': {
      const bytes = framed(new Uint8Array(7 * MIB).fill(0x80));
      return again(() => send('data', bytes));
    }
    default: {
      const bytes = envelope('no.such', { a: 1 });
      return again(() => send('data', bytes));
    }
  }
}

if (attack === 'burn') await burn(Number(address));
else {
  const peer = await HostilePeer.create();
  if (['connections', 'hellos', 'streams'].includes(attack)) await asStranger(peer);
  else await flood(peer);
}
