/** Framing: the queue that cuts frames into chunks, and the decoder that puts them together again. */
import fc from 'fast-check';
import { decode, encode } from 'it-length-prefixed';
import { expect, test } from 'vitest';
import {
  FrameDecoder,
  FrameQueue,
  varintLength,
  writeVarint,
} from '../../src/host/libp2p-framing.ts';

const FRAME_BYTES_MAX = 1_000;

function decodeAll(chunks: readonly Uint8Array[]) {
  const decoder = new FrameDecoder(FRAME_BYTES_MAX);
  const frames: Uint8Array[] = [];
  for (const chunk of chunks) {
    const decoded = decoder.push(chunk);
    frames.push(...decoded.frames);
    if (!decoded.ok) return { frames, error: decoded.error };
  }
  return { frames, error: undefined };
}

function takeAll(queue: FrameQueue, bytesMax: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let chunk = queue.take(bytesMax); chunk; chunk = queue.take(bytesMax)) chunks.push(chunk);
  return chunks;
}

test('frames of one turn become one chunk, and the chunk becomes the frames', () => {
  const queue = new FrameQueue();
  queue.push(new Uint8Array([1, 2]));
  queue.push(new Uint8Array());
  queue.push(new Uint8Array([3]));
  const chunks = takeAll(queue, 64);
  expect(chunks).toEqual([new Uint8Array([2, 1, 2, 0, 1, 3])]);
  expect(decodeAll(chunks).frames).toEqual([
    new Uint8Array([1, 2]),
    new Uint8Array(),
    new Uint8Array([3]),
  ]);
});

const anyFrames = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });

test('whatever the cuts, the same frames come out', () => {
  fc.assert(
    fc.property(anyFrames, fc.integer({ min: 1, max: 400 }), (frames, bytesMax) => {
      const queue = new FrameQueue();
      for (const frame of frames) queue.push(frame);
      const chunks = takeAll(queue, bytesMax);
      expect(chunks.every(({ length }) => length <= bytesMax)).toBe(true);
      expect(queue.bytes).toBe(0);
      expect(decodeAll(chunks)).toEqual({ frames, error: undefined });
    }),
  );
});

test('it is the length prefix of libp2p', () => {
  fc.assert(
    fc.property(anyFrames, (frames) => {
      const queue = new FrameQueue();
      for (const frame of frames) queue.push(frame);
      const ours = Buffer.concat(takeAll(queue, 1_000_000));
      const theirs = Buffer.concat([...encode(frames)]);
      expect(ours.equals(theirs)).toBe(true);
      expect([...decode([new Uint8Array(ours)])].map((frame) => frame.slice())).toEqual(frames);
    }),
  );
});

test('after a rewind the frame that was begun starts anew, and none comes twice', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 600 }),
      (frames, cutAt) => {
        const queue = new FrameQueue();
        for (const frame of frames) queue.push(frame);
        const first = queue.take(cutAt);
        if (!first) throw new Error('nothing was taken');
        const whole = decodeAll([first]).frames;
        queue.rewind();
        const rest = decodeAll(takeAll(queue, 128)).frames;
        expect([...whole, ...rest]).toEqual(frames);
      },
    ),
  );
});

test('a length over the limit is an error before anything is set aside, and what came before is kept', () => {
  const prefix = new Uint8Array(varintLength(FRAME_BYTES_MAX + 1));
  writeVarint(prefix, 0, FRAME_BYTES_MAX + 1);
  const result = decodeAll([new Uint8Array([1, 7, ...prefix]), new Uint8Array([1, 8])]);
  expect(result.frames).toEqual([new Uint8Array([7])]);
  expect(result.error).toContain('1001 bytes');
});

test('a length that does not end is an error', () => {
  expect(decodeAll([new Uint8Array(4).fill(0x80)]).error).toContain('more than 4 bytes');
  expect(decodeAll([new Uint8Array(3).fill(0x80)])).toEqual({ frames: [], error: undefined });
});

test('a decoder that has failed takes nothing more', () => {
  const decoder = new FrameDecoder(FRAME_BYTES_MAX);
  expect(decoder.push(new Uint8Array(5).fill(0xff)).ok).toBe(false);
  expect(decoder.push(new Uint8Array([1, 7]))).toMatchObject({ ok: false, frames: [] });
});

test('frames do not share memory with the chunk they came in', () => {
  const chunk = new Uint8Array([2, 1, 2]);
  const [frame] = new FrameDecoder(FRAME_BYTES_MAX).push(chunk).frames;
  chunk.fill(9);
  expect(frame).toEqual(new Uint8Array([1, 2]));
});

test('many small frames are taken in linear time, and the queue is empty afterwards', () => {
  const queue = new FrameQueue();
  for (let i = 0; i < 5_000; i++) queue.push(new Uint8Array([i & 0xff]));
  const { frames } = decodeAll(takeAll(queue, 700));
  expect(frames.map(([byte]) => byte)).toEqual(Array.from({ length: 5_000 }, (_, i) => i & 0xff));
  queue.push(new Uint8Array([1]));
  queue.clear();
  expect(queue.take(10)).toBeUndefined();
});

test('gives so many frames as are asked for, and says how much of the chunk they took', () => {
  const decoder = new FrameDecoder(FRAME_BYTES_MAX);
  const chunk = new Uint8Array([1, 7, 0, 2, 8, 9, 1, 5, 2, 4]);
  const first = decoder.push(chunk, 2);
  expect(first).toEqual({ ok: true, frames: [new Uint8Array([7]), new Uint8Array(0)], taken: 3 });
  const second = decoder.push(chunk.subarray(3));
  expect(second).toMatchObject({ ok: true, frames: [{ length: 2 }, { length: 1 }], taken: 7 });
  expect(decoder.push(new Uint8Array([6]), 5)).toEqual({
    ok: true,
    frames: [new Uint8Array([4, 6])],
    taken: 1,
  });
});
