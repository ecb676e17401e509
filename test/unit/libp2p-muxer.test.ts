/** What yamux hands on in pieces leaves as one, and its window updates are saved up. */
import type { yamux } from '@libp2p/yamux';
import { encode } from 'it-length-prefixed';
import { expect, test } from 'vitest';
import { inFewPackets, SAVED_BYTES_MAX } from '../../src/host/libp2p-muxer.ts';

type MakeMuxer = ReturnType<typeof yamux>;
type Muxers = ReturnType<MakeMuxer>;
type Connection = Parameters<Muxers['createStreamMuxer']>[0];

/** A connection that notes what it is given, as the muxer sees it. */
function noted() {
  const sent: Uint8Array[] = [];
  const plain = { send: (data: Uint8Array) => sent.push(data) > 0 } as unknown as Connection;
  let seen: Connection | undefined;
  const fake = {
    createStreamMuxer: (connection: Connection) => {
      seen = connection;
    },
  };
  const make = inFewPackets((() => fake) as unknown as MakeMuxer);
  make().createStreamMuxer(plain);
  if (seen === undefined) throw new Error('no muxer was made');
  return { sent, connection: seen };
}

/** As the specification of yamux has it: version, type, flags, stream, length. */
function header(type: number, flags: number, stream: number, length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint8(1, type);
  view.setUint16(2, flags);
  view.setUint32(4, stream);
  view.setUint32(8, length);
  return new Uint8Array(view.buffer);
}
const update = (stream: number, length: number, flags = 0): Uint8Array =>
  header(1, flags, stream, length);

test('a header and its data are one buffer, and what is larger than a record is left as it is', () => {
  const { sent, connection } = noted();
  const small = encode.single(new Uint8Array([7, 8, 9]));
  const large = encode.single(new Uint8Array(64 * 1_024));
  const plain = new Uint8Array([1, 2]);
  expect(connection.send(small)).toBe(true);
  connection.send(large);
  connection.send(plain);
  expect(sent).toEqual([new Uint8Array([3, 7, 8, 9]), large, plain]);
  expect(sent[0]).toBeInstanceOf(Uint8Array);
  expect(sent[1]).toBe(large);
});

test('small window updates are one, as soon as they come to enough; of each stream for itself', () => {
  const { sent, connection } = noted();
  const half = SAVED_BYTES_MAX / 2;
  expect(connection.send(update(1, half))).toBe(true);
  expect(connection.send(update(3, half))).toBe(true);
  expect(sent).toEqual([]);
  connection.send(update(1, half));
  connection.send(update(1, half));
  expect(sent).toEqual([update(1, 2 * half)]);
  connection.send(update(1, half));
  connection.send(update(5, 3 * half));
  expect(sent.slice(1)).toEqual([update(1, 2 * half), update(5, 3 * half)]);
});

test('what opens or ends a stream, pings and the end of all go out at once', () => {
  const { sent, connection } = noted();
  const frames = [update(1, 0, 1), update(1, 9, 2), update(1, 0, 4), update(1, 0, 8)];
  frames.push(header(2, 1, 0, 77), header(3, 0, 0, 0), header(0, 4, 1, 0));
  for (const frame of frames) connection.send(frame);
  expect(sent).toEqual(frames);
});

test('a stream that is ended keeps nothing, and many that were never ended are told of in the end', () => {
  const { sent, connection } = noted();
  connection.send(update(1, SAVED_BYTES_MAX - 1));
  connection.send(update(1, 0, 4));
  connection.send(update(1, SAVED_BYTES_MAX - 1));
  expect(sent).toEqual([update(1, 0, 4)]);
  for (let stream = 3; stream < 3 + 2 * 128; stream += 2) connection.send(update(stream, 10));
  expect(sent.slice(1)).toEqual([update(1, SAVED_BYTES_MAX - 1)]);
});
