/** The checksum of traces: equal for equal bytes, another for any that differ. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/hash.ts';
import { Checksum } from '../../src/sim/checksum.ts';

const sumOf = (...pieces: Uint8Array[]): string => {
  const checksum = new Checksum();
  for (const piece of pieces) checksum.update(piece);
  return toHex(checksum.digest());
};

describe('the checksum', () => {
  it('is 128 bits, the same for the same bytes', () => {
    const bytes = new TextEncoder().encode('a covey of partridges');
    expect(sumOf(bytes)).toMatch(/^[0-9a-f]{32}$/);
    expect(sumOf(bytes)).toBe(sumOf(bytes.slice()));
    expect(sumOf(new Uint8Array(0))).not.toBe(sumOf(new Uint8Array(1)));
  });

  it('does not depend on where the bytes lie in their buffer', () => {
    const buffer = Uint8Array.from({ length: 64 }, (_, i) => i);
    expect(sumOf(buffer.subarray(3, 50))).toBe(sumOf(buffer.slice(3, 50)));
  });

  it('changes, in every word, with any bit', () => {
    const bit = fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 200 }),
      at: fc.nat(),
      bit: fc.integer({ min: 0, max: 7 }),
    });
    fc.assert(
      fc.property(bit, ({ bytes, at, bit: which }) => {
        const flipped = bytes.slice();
        const i = at % bytes.length;
        flipped[i] = (flipped[i] ?? 0) ^ (1 << which);
        const [before, after] = [sumOf(bytes), sumOf(flipped)];
        for (let word = 0; word < 4; word++)
          expect(after.slice(8 * word, 8 * word + 8)).not.toBe(
            before.slice(8 * word, 8 * word + 8),
          );
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});
