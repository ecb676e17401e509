/** The codec by example: deterministic bytes, and limits on what is read. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../src/base/hash.ts';
import { decodeValue, encodeValue, type WireValue } from '../../src/wire/codec.ts';

const bytesOf = (hex: string): Uint8Array => {
  const bytes = fromHex(hex);
  if (bytes === undefined) throw new Error(`not hexadecimal: ${hex}`);
  return bytes;
};

describe('the codec', () => {
  it('writes plain data as deterministic CBOR', () => {
    const bytes = encodeValue({ b: [1, -1, 'x'], a: new Uint8Array([7]), none: undefined });
    expect(toHex(bytes)).toBe('a2616141076162830120617' + '8');
    expect(decodeValue(bytes)).toEqual({
      ok: true,
      value: { a: new Uint8Array([7]), b: [1, -1, 'x'] },
    });
    expect(encodeValue({ a: 1, b: 2 })).toEqual(encodeValue({ b: 2, a: 1 }));
  });

  it('allows nesting of 32 and refuses one more, before it recurses', () => {
    const nested = (depth: number): WireValue => (depth === 0 ? 1 : [nested(depth - 1)]);
    expect(decodeValue(encodeValue(nested(32))).ok).toBe(true);
    expect(decodeValue(encodeValue(nested(33)))).toEqual({
      ok: false,
      error: 'nested deeper than 32',
    });
    const maps = 'a16161'.repeat(100_000);
    for (const hex of ['81'.repeat(1_000_000), maps, '9a00000001'.repeat(100_000)]) {
      expect(decodeValue(bytesOf(hex)).ok).toBe(false);
    }
  });

  it.each([
    ['nothing', ''],
    ['more than one value', '0101'],
    ['an array without its end', '8201'],
    ['a text longer than the input', '7a7fffffff61'],
    ['an array of 2^53 items', '9b0020000000000000'],
    ['an indefinite array', '9f01ff'],
    ['an indefinite text', '7f6161ff'],
    ['a tag', 'c074323032362d31312d32315431303a30303a30305a'],
    ['tags without end', 'c1'.repeat(10_000)],
    ['undefined', 'f7'],
    ['NaN', 'f97e00'],
    ['infinity', 'f97c00'],
    ['an integer beyond 2^53', '1b0020000000000001'],
    ['a key that is no text', 'a10102'],
    ['a key twice', 'a2616101616102'],
    ['a break', 'ff'],
    ['a reserved head', '1c'],
  ])('refuses %s', (_, hex) => {
    const decoded = decodeValue(bytesOf(hex));
    expect(decoded.ok).toBe(false);
  });

  it('keeps __proto__ as a key like any other', () => {
    const decoded = decodeValue(bytesOf('a1695f5f70726f746f5f5fa1617801'));
    expect(decoded.ok && Object.keys(decoded.value ?? {})).toEqual(['__proto__']);
    expect(Object.getPrototypeOf({})).not.toHaveProperty('x');
  });
});
