/** A share of what `npm run fuzz` does: every decoder of fuzz.ts under mutated valid inputs, and under bombs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FRAME_BYTES_MAX } from '../../src/ports/network.ts';
import { decodeValue, WIRE_ITEMS_MAX } from '../../src/wire/codec.ts';
import { inputOf, TARGETS, tryInput } from './fuzz.ts';
import { KINDS } from './fuzz-mutate.ts';

const mutation = fc.record({ kind: fc.constantFrom(...KINDS), at: fc.nat(), value: fc.nat() });
const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 });

describe.each(TARGETS)('$name', (target) => {
  it('takes its valid inputs', () => {
    for (const bytes of target.corpus) {
      const valid = target.reseal?.(bytes) ?? bytes;
      expect(tryInput(target, valid)).toBe('taken');
    }
  });

  it('answers whatever becomes of them, and takes what it has taken again, to the same bytes', () => {
    const numRuns = Math.ceil(600 * (target.share ?? 1));
    fc.assert(
      fc.property(fc.nat(), fc.nat(), mutations, (seed, other, changes) => {
        tryInput(target, inputOf(target, seed, other, changes));
      }),
      { numRuns },
    );
  });

  it('answers any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        tryInput(target, bytes);
      }),
      { numRuns: 100 },
    );
  });
});

describe('bombs', () => {
  /** Heads that promise 2^31 bytes, items or pairs. */
  it.each([
    [[0x5a, 0x80, 0, 0, 0]],
    [[0x7a, 0x80, 0, 0, 0]],
    [[0x9a, 0x80, 0, 0, 0]],
    [[0xba, 0x80, 0, 0, 0]],
  ])('a length of 2^31 is refused, and nothing is set aside for it', (head) => {
    const before = process.memoryUsage();
    expect(decodeValue(Uint8Array.from(head)).ok).toBe(false);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1_048_576);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(16 * 1_048_576);
  });

  it('a frame of empty lists alone is refused before one of them is made', () => {
    const bytes = new Uint8Array(FRAME_BYTES_MAX).fill(0x80);
    bytes.set([0x9a, 0, 0x7f, 0xff, 0xfb]);
    expect(decodeValue(bytes)).toEqual({ ok: false, error: `more than ${WIRE_ITEMS_MAX} items` });
  });
});
