/**
 * Other worlds at every commit: 300 seeds that nobody has seen, with the faults of the table, so that what all runs of
 * CI together have looked at grows. In files of their own they run beside the other tests.
 */
import { describe, it } from 'vitest';
import { FAULT_NAMES } from '../../src/sim/faults.ts';
import { optionsOf } from '../../src/sim/request.ts';
import { expectHeld } from './expect-held.ts';

/** Many small worlds rather than few large ones: the time of the tests is bounded. */
const TINY = { tasks: 12, storyMs: 8_000, faults: 3 };

const FRESH = 300;
const SEEDS_PER_TEST = 15;
const TIMEOUT_MS = 240_000;
/** The commit, in CI. */
const BASE = process.env.SIM_SEED_BASE ?? 'local';

describe(`${FRESH} fresh seeds from ${BASE}, with faults of the table`, () => {
  const firsts = Array.from({ length: FRESH / SEEDS_PER_TEST }, (_, i) => i * SEEDS_PER_TEST);
  it.each(firsts)(
    'from %i on',
    async (first) => {
      const drawn = { peers: undefined, minutes: undefined, mode: undefined, faults: FAULT_NAMES };
      for (let i = first; i < first + SEEDS_PER_TEST; i++)
        await expectHeld(optionsOf({ ...drawn, seeds: [], overrides: TINY }, `${BASE} ${i}`));
    },
    TIMEOUT_MS,
  );
});
