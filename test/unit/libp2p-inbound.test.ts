/** What others open to us, with streams that a test holds in its hand: how much one of them may make us keep. */
import { expect, it } from 'vitest';
import { ADMIT_PROTOCOL, ADMIT_REQUESTS_MAX } from '../../src/host/libp2p-admit.ts';
import { varintLength, writeVarint } from '../../src/host/libp2p-framing.ts';
import { HandlerQueue } from '../../src/host/libp2p-handlers.ts';
import { Inbound, PARTIAL_BYTES_MAX } from '../../src/host/libp2p-inbound.ts';
import { protocolOf } from '../../src/host/libp2p-link.ts';
import type { Connection, Libp2pNode, Stream } from '../../src/host/libp2p-node.ts';
import { FRAME_BYTES_MAX, type NetworkHandlers } from '../../src/ports/network.ts';

const MIB = 1_024 * 1_024;

/** The part of a stream that is used; `receive` gives it bytes. */
class FakeStream extends EventTarget {
  readonly readableEnded = false;
  isClosed = false;
  readonly #read: Uint8Array[] = [];
  #more = (): void => undefined;

  receive(bytes: Uint8Array): void {
    this.#read.push(bytes);
    this.#more();
    this.dispatchEvent(Object.assign(new Event('message'), { data: bytes }));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (!this.isClosed) {
      const next = this.#read.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (this.#more = resolve));
    }
  }

  send(): boolean {
    return true;
  }

  abort(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#more();
    this.dispatchEvent(new Event('close'));
  }

  async close(): Promise<void> {
    this.abort();
  }
}

class FakeConnection {
  readonly remotePeer: string;
  readonly streams: FakeStream[] = [];
  isOpen = true;

  constructor(remotePeer: string) {
    this.remotePeer = remotePeer;
  }

  abort(): void {
    this.isOpen = false;
    for (const stream of this.streams) stream.abort();
  }
}

async function inbound() {
  type Handler = (stream: Stream, connection: Connection) => void;
  const protocols = new Map<string, Handler>();
  const refused: string[] = [];
  const frames: number[] = [];
  const requests: string[] = [];
  const handlers = new HandlerQueue<NetworkHandlers>({
    opened: () => undefined,
    closed: () => undefined,
    news: () => undefined,
    frame: (_from, _class, bytes) => void frames.push(bytes.length),
    admitRequest: (from) => {
      requests.push(from);
      return new Promise(() => undefined);
    },
    refused: (why) => void refused.push(why),
  });
  const options = { handlers, isMember: () => true, log: () => undefined };
  const handle = async (protocol: string, handler: Handler) =>
    void protocols.set(protocol, handler);
  await new Inbound(options).register({ handle } as unknown as Libp2pNode);
  const open = (connection: FakeConnection, protocol: string): FakeStream => {
    const stream = new FakeStream();
    connection.streams.push(stream);
    protocols.get(protocol)?.(stream as unknown as Stream, connection as unknown as Connection);
    return stream;
  };
  return { open, refused, frames, requests };
}

/** A frame without its last byte. */
function half(length: number): Uint8Array {
  const prefix = varintLength(length);
  const bytes = new Uint8Array(prefix + length - 1);
  writeVarint(bytes, 0, length);
  return bytes;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const DATA = protocolOf('data');

it('a peer may begin the longest frame in each class, and not many more of them', async () => {
  const { open, refused, frames } = await inbound();
  const [one, two] = [new FakeConnection('a'), new FakeConnection('a')];
  const streams = (['control', 'data', 'bulk'] as const).map((name) => open(one, protocolOf(name)));
  for (const stream of streams) stream.receive(half(FRAME_BYTES_MAX));
  open(two, DATA).receive(half(FRAME_BYTES_MAX));
  await settled();
  expect([one.isOpen, two.isOpen, refused]).toEqual([true, true, []]);
  // Another peer is another matter.
  const other = new FakeConnection('b');
  open(other, DATA).receive(half(FRAME_BYTES_MAX));
  // What has come whole is held no more, and what its stream held ends with it.
  streams[0]?.receive(new Uint8Array(1));
  streams[1]?.abort();
  open(two, DATA).receive(half(FRAME_BYTES_MAX));
  open(two, DATA).receive(half(FRAME_BYTES_MAX));
  await settled();
  expect([one.isOpen, two.isOpen, other.isOpen, refused]).toEqual([true, true, true, []]);
  expect(frames).toEqual([FRAME_BYTES_MAX]);
  open(two, DATA).receive(half(MIB));
  await settled();
  expect([one.isOpen, two.isOpen, other.isOpen]).toEqual([true, false, true]);
  expect(refused).toEqual(['frame: too much in part of one peer']);
  // What the closed connection held is free again.
  for (let i = 1; i < PARTIAL_BYTES_MAX / FRAME_BYTES_MAX; i++)
    open(one, DATA).receive(half(FRAME_BYTES_MAX));
  await settled();
  expect([one.isOpen, refused.length]).toEqual([true, 1]);
});

it('streams on which nothing comes keep nobody from being admitted', async () => {
  const { open, refused, requests } = await inbound();
  const request = new Uint8Array([1, 7]);
  const silent = Array.from({ length: 2 * ADMIT_REQUESTS_MAX }, (_, i) =>
    open(new FakeConnection(`silent ${i}`), ADMIT_PROTOCOL),
  );
  const newcomers = Array.from({ length: ADMIT_REQUESTS_MAX + 1 }, (_, i) =>
    open(new FakeConnection(`newcomer ${i}`), ADMIT_PROTOCOL),
  );
  for (const stream of newcomers) stream.receive(request);
  await settled();
  expect(requests.length).toBe(ADMIT_REQUESTS_MAX);
  expect(refused).toEqual(['stream: too many requests']);
  expect(silent.every(({ isClosed }) => !isClosed)).toBe(true);
  expect(newcomers.filter(({ isClosed }) => isClosed).length).toBe(1);
});
