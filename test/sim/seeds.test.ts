/**
 * What CI runs of the simulator: 50 seeds twice, which must be the same to the last port call, and all that once found
 * a bug (seeds.json). Nothing may be violated, and everything must come to its end.
 */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { drawOptions, type ScenarioOptions } from '../../src/sim/options.ts';
import { runScenario } from '../../src/sim/scenarios.ts';
import { expectHeld, SMALL } from './expect-held.ts';
import known from './seeds.json' with { type: 'json' };

/** Real time: a world takes a third of a second on an idle machine. */
const TIMEOUT_MS = 60_000;
const SEEDS = Array.from({ length: 50 }, (_, i) => `ci ${i}`);

describe('50 seeds, twice', () => {
  it.each(SEEDS)(
    '%s',
    async (seed) => {
      const options = drawOptions(seed, SMALL);
      const first = await expectHeld(options);
      const again = await runScenario(options);
      expect(again.hash).toBe(first.hash);
      expect(first.counts.acknowledged).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

describe('one host at a time is out of reach for 6 to 12.5 s', () => {
  it.each(Array.from({ length: 12 }, (_, i) => `cut ${i}`))(
    '%s: only what ran there is started again',
    async (seed) => {
      const { counts } = await expectHeld(drawOptions(seed, { ...SMALL, mode: 'cuts' }));
      expect(counts.cuts).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

/** Worlds in which the product once broke a rule, and what was wrong. */
const Known = z.array(
  z.strictObject({
    seed: z.string(),
    options: z.record(z.string(), z.unknown()),
    story: z.string().min(20),
  }),
);

describe('seeds that found a bug', () => {
  it.each(Known.parse(known).map(({ seed, story, options }) => [seed, story, options] as const))(
    '%s: %s',
    async (seed, _, options) => {
      await expectHeld(drawOptions(seed, options as Partial<ScenarioOptions>));
    },
    TIMEOUT_MS,
  );
});
