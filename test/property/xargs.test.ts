/** The pure parts of `covey xargs`: whatever the chunks and the bytes, items arrive whole, once and in order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ARGV_BYTES_MAX, ARGV_MAX } from '../../src/api/limits.ts';
import { decodeBytes, encodeBytes } from '../../src/cli/bytes.ts';
import { BlockCutter } from '../../src/cli/xargs/blocks.ts';
import { Batcher, buildArgv } from '../../src/cli/xargs/command.ts';
import { OrderKeeper } from '../../src/cli/xargs/order.ts';
import { RecordSplitter } from '../../src/cli/xargs/records.ts';
import { ItemSource, workBytes } from '../../src/cli/xargs/source.ts';

const LF = 0x0a;

/** The bytes, cut at arbitrary places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const ends = [...at, bytes.length];
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

const byte = fc.oneof(
  { weight: 1, arbitrary: fc.constant(LF) },
  { weight: 3, arbitrary: fc.nat(255) },
);
const bytesOf = (max: number) =>
  fc.array(byte, { maxLength: max }).map((list) => Buffer.from(list));
const places = fc.array(fc.nat(10_000), { maxLength: 12 });

describe('RecordSplitter', () => {
  it('cuts lines: the last needs no line feed, an empty line is an item', () => {
    const splitter = new RecordSplitter(LF, 100);
    const records = [...splitter.push(Buffer.from('a b\n\n"c')), ...splitter.end()];
    expect(records.map((r) => r.kind === 'record' && r.bytes.toString())).toEqual([
      'a b',
      '',
      '"c',
    ]);
  });

  it('gives the same records however the input is cut into chunks', () => {
    fc.assert(
      fc.property(bytesOf(200), places, (bytes, at) => {
        const splitter = new RecordSplitter(LF, 1_000);
        const records = [...cut(bytes, at).flatMap((c) => splitter.push(c)), ...splitter.end()];
        const expected = bytes.toString('latin1').split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(records.map((r) => r.kind === 'record' && r.bytes.toString('latin1'))).toEqual(
          expected,
        );
      }),
    );
  });

  it('skips exactly the records that are too long', () => {
    fc.assert(
      fc.property(bytesOf(200), places, fc.integer({ min: 1, max: 12 }), (bytes, at, max) => {
        const splitter = new RecordSplitter(LF, max);
        const records = [...cut(bytes, at).flatMap((c) => splitter.push(c)), ...splitter.end()];
        const expected = bytes.toString('latin1').split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(
          records.map((r) => (r.kind === 'record' ? r.bytes.toString('latin1') : 'too long')),
        ).toEqual(expected.map((line) => (line.length > max ? 'too long' : line)));
      }),
    );
  });
});

describe('BlockCutter', () => {
  it('cuts at the last line end within the block size', () => {
    const cutter = new BlockCutter(LF, 8, 100);
    const blocks = [...cutter.push(Buffer.from('aa\nbb\ncccccccccccc\nd')), ...cutter.end()];
    expect(blocks.map((b) => b.kind === 'block' && b.bytes.toString())).toEqual([
      'aa\nbb\n',
      'cccccccccccc\n',
      'd',
    ]);
  });

  it('loses no byte, cuts only at line ends, and gives the same blocks for any chunks', () => {
    fc.assert(
      fc.property(bytesOf(300), places, fc.integer({ min: 1, max: 40 }), (bytes, at, size) => {
        const whole = new BlockCutter(LF, size, 1_000);
        const expected = [...whole.push(bytes), ...whole.end()];
        const cutter = new BlockCutter(LF, size, 1_000);
        const blocks = [...cut(bytes, at).flatMap((c) => cutter.push(c)), ...cutter.end()];
        expect(blocks).toEqual(expected);
        const all = blocks.map((b) => (b.kind === 'block' ? b.bytes : Buffer.from('too long')));
        expect(Buffer.concat(all)).toEqual(bytes);
        for (const block of all.slice(0, -1)) expect(block.at(-1)).toBe(LF);
        for (const block of all) {
          // Longer than asked for only where a single record is.
          if (block.length > size) expect(block.indexOf(LF)).toBeOneOf([-1, block.length - 1]);
        }
      }),
    );
  });

  it('skips a record that no block may hold, and says how long it was', () => {
    fc.assert(
      fc.property(bytesOf(300), places, fc.integer({ min: 1, max: 8 }), (bytes, at, size) => {
        const bytesMax = 2 * size;
        const cutter = new BlockCutter(LF, size, bytesMax);
        const blocks = [...cut(bytes, at).flatMap((c) => cutter.push(c)), ...cutter.end()];
        const text = bytes.toString('latin1');
        const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
        const kept = lines.filter((line) => line.length <= bytesMax);
        const skipped = lines.filter((line) => line.length > bytesMax);
        expect(
          blocks.flatMap((b) => (b.kind === 'block' ? [b.bytes.toString('latin1')] : [])).join(''),
        ).toBe(kept.join(''));
        expect(blocks.flatMap((b) => (b.kind === 'too_long' ? [b.bytes] : []))).toEqual(
          skipped.map((line) => line.length),
        );
        for (const block of blocks) {
          if (block.kind === 'block') expect(block.bytes.length).toBeLessThanOrEqual(bytesMax);
        }
      }),
    );
  });
});

describe('buildArgv', () => {
  const build = (words: string[], items: string[], placeholder = '{}') =>
    buildArgv({ words, placeholder }, items);

  it('appends, replaces inside words, and repeats a word for each item', () => {
    expect(build(['ls', '-l'], ['a b', "'"])).toEqual(['ls', '-l', 'a b', "'"]);
    expect(build(['mv', '{}', 'x/{}.bak'], ['a b'])).toEqual(['mv', 'a b', 'x/a b.bak']);
    expect(build(['cat', '{}', '-'], ['a', 'b'])).toEqual(['cat', 'a', 'b', '-']);
    expect(build(['f', '--in={}'], ['a', 'b'])).toEqual(['f', '--in=a', '--in=b']);
    expect(build(['f', '{}', 'X'], ['i'], 'X')).toEqual(['f', '{}', 'i']);
  });

  it('changes nothing in an item: no $ pattern, no placeholder in it is looked at again', () => {
    const item = fc.oneof(fc.string(), fc.constantFrom('{}', '$&', "$'", '$1', '{}{}'));
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 5 }), (items) => {
        expect(build(['c', '{}'], items)).toEqual(['c', ...items]);
        expect(build(['c', '<{}|{}>'], items)).toEqual(['c', ...items.map((i) => `<${i}|${i}>`)]);
        expect(build(['c'], items)).toEqual(['c', ...items]);
      }),
    );
  });
});

describe('Batcher', () => {
  it('fills batches of n, and makes them smaller where the line would be too long', () => {
    const words = fc.array(fc.constantFrom('cmd', '{}', 'a{}b{}', 'long'.repeat(2_000)), {
      minLength: 1,
      maxLength: 4,
    });
    const length = fc.oneof(fc.nat(40), fc.nat(40_000), fc.constant(140_000));
    const item = length.map((n) => 'ä'.repeat(n / 2));
    const items = fc.array(item, { maxLength: 12 });
    fc.assert(
      fc.property(words, items, fc.integer({ min: 1, max: 5 }), (parts, list, n) => {
        const template = { words: parts, placeholder: '{}' };
        const batcher = new Batcher(template, n);
        const batches = [...list.flatMap((one) => batcher.push(one)), ...batcher.end()];
        const seen = batches.flatMap((b) => (b.kind === 'batch' ? b.items : [b.item]));
        expect(seen).toEqual(list);
        const lineBytes = (of: readonly string[]) =>
          buildArgv(template, of).reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
        for (const [i, batch] of batches.entries()) {
          if (batch.kind === 'too_long') {
            expect(lineBytes([batch.item])).toBeGreaterThan(ARGV_BYTES_MAX);
            continue;
          }
          expect(batch.items.length).toBeLessThanOrEqual(n);
          expect(lineBytes(batch.items)).toBeLessThanOrEqual(ARGV_BYTES_MAX);
          expect(buildArgv(template, batch.items).length).toBeLessThanOrEqual(ARGV_MAX);
          const next = batches[i + 1];
          // A batch is only short where the next item would not have fitted.
          if (batch.items.length < n && next?.kind === 'batch') {
            expect(lineBytes([...batch.items, next.items[0] ?? ''])).toBeGreaterThan(
              ARGV_BYTES_MAX,
            );
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('ItemSource', () => {
  it('refuses what cannot travel as text, instead of repairing it', () => {
    const source = new ItemSource({ words: ['ls'], placeholder: '{}' }, 1, false);
    const works = source.push(Buffer.from([0x61, 0xff, LF, 0x62, 0x00, LF, 0x63, LF]));
    expect(works.map((work) => work.kind)).toEqual(['refused', 'refused', 'items']);
    expect(works.every((work) => workBytes(work) > 0)).toBe(true);
    const nul = new ItemSource({ words: ['ls'], placeholder: '{}' }, 1, true);
    expect(nul.push(Buffer.from('a\nb\0c\0'))).toEqual([
      { kind: 'items', items: ['a\nb'] },
      { kind: 'items', items: ['c'] },
    ]);
  });
});

describe('OrderKeeper', () => {
  interface Result {
    readonly index: number;
    readonly bytes: number;
    readonly shed: boolean;
  }
  const keeper = (bytesMax: number) =>
    new OrderKeeper<Result>(
      bytesMax,
      (result) => result.bytes,
      (result) => ({ ...result, bytes: 0, shed: true }),
    );

  it('gives every result once, in order, and never holds more than its bytes', () => {
    const order = fc
      .integer({ min: 1, max: 40 })
      .chain((n) => fc.shuffledSubarray([...Array(n).keys()], { minLength: n, maxLength: n }));
    fc.assert(
      fc.property(order, fc.nat(30), (indices, bytesMax) => {
        const keep = keeper(bytesMax);
        const out: Result[] = [];
        for (const index of indices) {
          keep.put(index, { index, bytes: 1 + (index % 7), shed: false });
          for (let next = keep.take(); next !== undefined; next = keep.take()) out.push(next);
          expect(keep.heldBytes).toBeLessThanOrEqual(bytesMax);
        }
        expect(out.map((result) => result.index)).toEqual(indices.map((_, i) => i));
      }),
    );
  });

  it('sheds only what does not fit, and never the one whose turn it is', () => {
    const keep = keeper(5);
    keep.put(1, { index: 1, bytes: 5, shed: false });
    keep.put(2, { index: 2, bytes: 1, shed: false });
    keep.put(0, { index: 0, bytes: 9, shed: false });
    expect([keep.take(), keep.take(), keep.take()].map((r) => r?.shed)).toEqual([
      false,
      false,
      true,
    ]);
    expect(() => keep.put(1, { index: 1, bytes: 1, shed: false })).toThrow();
  });
});

describe('encodeBytes', () => {
  it('brings any bytes back, in hardly more than base64 needs', () => {
    fc.assert(
      fc.property(bytesOf(200), (bytes) => {
        const wire = encodeBytes(bytes);
        expect(decodeBytes(wire)).toEqual(bytes);
        expect(JSON.stringify(wire).length).toBeLessThanOrEqual(bytes.length * 1.34 + 20);
      }),
    );
  });
});
