/** Whom a partial mesh keeps and closes: pure, so all of it is tried. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ObserverRings } from '../../src/membership/observers.ts';
import {
  isPartial,
  LINK_IDLE_MS_MIN,
  seekRate,
  type Tie,
  whomToClose,
} from '../../src/membership/ties.ts';

const tie = fc.record({
  idleMs: fc.integer({ min: 0, max: 4 * LINK_IDLE_MS_MIN }),
  isBusy: fc.boolean(),
  isNeeded: fc.boolean(),
});
const mesh = fc.record({
  ties: fc.array(tie, { maxLength: 40 }),
  max: fc.integer({ min: 2, max: 30 }),
});

describe('links that are closed', () => {
  it('are the least recently used ones beyond the limit', () => {
    const used = (peerId: string, idleMs: number): Tie => ({ peerId, idleMs, isBusy: false });
    const ties = [used('new', 6_000), used('old', 90_000), used('older', 100_000)];
    expect(whomToClose(ties, new Set(), 2)).toEqual(['older']);
    expect(whomToClose(ties, new Set(['older']), 2)).toEqual(['old']);
    expect(whomToClose(ties, new Set(), 3)).toEqual([]);
  });

  it('are never needed, busy or just used; never more than are too many; and as many as may be', () => {
    fc.assert(
      fc.property(mesh, ({ ties: drawn, max }) => {
        const ties = drawn.map((item, i) => ({ ...item, peerId: `p${i}` }));
        const needed = new Set(ties.filter((item) => item.isNeeded).map(({ peerId }) => peerId));
        const closed = new Set(whomToClose(ties, needed, max));
        const surplus = Math.max(0, ties.length - max);
        const free = ties.filter(
          (item) => !item.isNeeded && !item.isBusy && item.idleMs >= LINK_IDLE_MS_MIN,
        );
        expect(closed.size).toBe(Math.min(surplus, free.length));
        expect([...closed].every((peerId) => free.some((item) => item.peerId === peerId))).toBe(
          true,
        );
        const kept = free.filter(({ peerId }) => !closed.has(peerId));
        const longestKept = Math.max(0, ...kept.map(({ idleMs }) => idleMs));
        for (const item of free)
          if (closed.has(item.peerId)) expect(item.idleMs).toBeGreaterThanOrEqual(longestKept);
      }),
    );
  });
});

describe('a mesh of links of observers alone', () => {
  it('is whole: from each member every other is reached over them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(),
        (n, observers, salt) => {
          const members = Array.from({ length: n }, (_, i) => `peer ${salt} ${i}`);
          const rings = new ObserverRings(members, observers);
          const reached = new Set(members.slice(0, 1));
          for (const peer of reached)
            for (const next of [...rings.observersOf(peer), ...rings.observedBy(peer)])
              reached.add(next);
          expect(reached.size).toBe(n);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('begins with the first member too many', () => {
    expect([isPartial(127, 128), isPartial(128, 128), isPartial(129, 128)]).toEqual([
      false,
      false,
      true,
    ]);
  });
});

it('each of the lost is looked for by some, however large the mesh', () => {
  for (const others of [20, 100, 1_000, 9_999]) {
    // All others together, in one period of redials.
    const looks = 10 * others * seekRate(1, others, 1_000, 10_000);
    expect(looks).toBeCloseTo(16);
  }
  expect(seekRate(0, 100, 1_000, 10_000)).toBe(0);
});
