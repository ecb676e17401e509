/** Seeded randomness: repeatable and even. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/hash.ts';
import {
  jitter,
  pickDistinct,
  randomBelow,
  randomFloat,
  SeededRandom,
} from '../../src/base/random.ts';

describe('seeded randomness', () => {
  it('is the same for one seed, on every platform', () => {
    const random = new SeededRandom('covey');
    const first = [random.uint32(), random.uint32(), random.uint32()];
    expect(first).toMatchInlineSnapshot(`
      [
        3706089630,
        546020853,
        4058668726,
      ]
    `);
    expect(toHex(new SeededRandom('covey').bytes(8))).toMatchInlineSnapshot(`"9ef5b663738611fd"`);
    expect(new SeededRandom('other').uint32()).not.toBe(first[0]);
  });

  it('is spread evenly', () => {
    const random = new SeededRandom('even');
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const at = randomBelow(random, 10);
      counts[at] = (counts[at] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });

  it('stays within its bounds', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 1_000 }), (seed, bound) => {
        const random = new SeededRandom(seed);
        const float = randomFloat(random);
        expect(float >= 0 && float < 1).toBe(true);
        expect(randomBelow(random, bound)).toBeLessThan(bound);
        const spread = jitter(random, bound, 0.25);
        expect(spread >= bound * 0.75 && spread <= bound * 1.25).toBe(true);
      }),
    );
  });

  it('picks distinct items, as many as there are', () => {
    fc.assert(
      fc.property(fc.string(), fc.uniqueArray(fc.nat()), fc.nat({ max: 12 }), (seed, items, n) => {
        const picked = pickDistinct(new SeededRandom(seed), items, n);
        expect(picked).toHaveLength(Math.min(n, items.length));
        expect(new Set(picked).size).toBe(picked.length);
        expect(items).toEqual(expect.arrayContaining(picked));
      }),
    );
  });
});
