/** One world of a test: it must hold, and a failure says how to run it again. */
import { expect } from 'vitest';
import type { ScenarioOptions } from '../../src/sim/options.ts';
import { runScenario, type ScenarioResult } from '../../src/sim/scenarios.ts';

/** Smaller than what `covey sim` draws: the time of the tests is bounded. */
export const SMALL: Partial<ScenarioOptions> = { tasks: 20, storyMs: 12_000, faults: 4 };

export async function expectHeld(options: ScenarioOptions): Promise<ScenarioResult> {
  const result = await runScenario(options);
  const { outcome, violations, pending } = result;
  // The seed and all that was drawn are part of the failure: `covey sim --seed S --options JSON` runs it again.
  expect({ options, outcome, violations, pending }).toEqual({
    options,
    outcome: 'held',
    violations: [],
    pending: [],
  });
  return result;
}
