/**
 * What CI runs of the simulator: 50 seeds of what exists (join, submit, wait, cancel, kill, stop, partition, takeover),
 * each twice. Nothing may be violated, everything must come to its end, and both runs must be the same to the last
 * port call. Seeds that once found a bug stay here.
 */
import { describe, expect, it } from 'vitest';
import { drawOptions, type ScenarioOptions } from '../../src/sim/options.ts';
import { runScenario } from '../../src/sim/scenarios.ts';

/** Real time: a world takes half a second on an idle machine. */
const TIMEOUT_MS = 60_000;
const SEEDS = Array.from({ length: 50 }, (_, i) => `ci ${i}`);
/** Smaller than what `npm run sim` draws: the time of the tests is bounded. */
const SMALL: Partial<ScenarioOptions> = { tasks: 20, storyMs: 12_000, faults: 4 };

describe('50 seeds, twice', () => {
  it.each(SEEDS)(
    '%s',
    async (seed) => {
      const options = drawOptions(seed, SMALL);
      const first = await runScenario(options);
      const again = await runScenario(options);
      const { outcome, violations, pending } = first;
      expect({ outcome, violations, pending }).toEqual({
        outcome: 'held',
        violations: [],
        pending: [],
      });
      expect(again.hash).toBe(first.hash);
      expect(first.counts.acknowledged).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

/** Worlds in which the product once broke a rule, and what was wrong. */
const REGRESSIONS: readonly (readonly [string, Partial<ScenarioOptions>, string])[] = [
  [
    '5098',
    { mode: 'wild' },
    'an owner took the end of a stale run for a cancel, and started the next',
  ],
  ['5086', { mode: 'wild' }, 'a canceled task whose start never arrived stayed active for ever'],
  [
    '50165',
    { mode: 'crashes' },
    'an owner came back with a result that it alone had, and changed what was told',
  ],
  ['50258', { mode: 'crashes' }, 'the same'],
  [
    '7009',
    { mode: 'cuts', peers: 5 },
    'a creation that the network had kept was started at once by a store that others had given up',
  ],
  ['7022', { mode: 'cuts', peers: 5 }, 'what was placed before a cut was started after it'],
  ['7021', { mode: 'cuts', peers: 5 }, 'a runner obeyed an order that the network had kept'],
  [
    '9395',
    { mode: 'cuts' },
    'a question of a takeover was lost with its connection, and not asked again',
  ],
  ['40095', { mode: 'wild' }, 'a hand-off under way at a stop wrote to the closed store'],
];

describe('one host at a time is out of reach for 6 to 12.5 s', () => {
  it.each(Array.from({ length: 12 }, (_, i) => `cut ${i}`))(
    '%s: only what ran there is started again',
    async (seed) => {
      const options = drawOptions(seed, { ...SMALL, mode: 'cuts' });
      const { outcome, violations, pending, counts } = await runScenario(options);
      expect({ outcome, violations, pending }).toEqual({
        outcome: 'held',
        violations: [],
        pending: [],
      });
      expect(counts.cuts).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

describe('seeds that found a bug', () => {
  it.each(REGRESSIONS)(
    '%s',
    async (seed, fixed) => {
      const { outcome, violations, pending } = await runScenario(drawOptions(seed, fixed));
      expect({ outcome, violations, pending }).toEqual({
        outcome: 'held',
        violations: [],
        pending: [],
      });
    },
    TIMEOUT_MS,
  );
});
