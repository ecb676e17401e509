/** What must be true of two starts of one task. */
import { expect, test } from 'vitest';
import { faultsOfSecondStart, type StartSeen } from '../../src/base/second-start.ts';

const start = (attempt: number, startedMs: number, more: Partial<StartSeen> = {}): StartSeen => ({
  ...{ runId: `run${attempt}`, host: `h${attempt}`, attempt, startedMs, endedMs: startedMs + 10 },
  ...{ outcomes: ['failed'], possiblyDouble: false },
  ...more,
});

test('one after the other needs a cause', () => {
  expect(faultsOfSecondStart(start(1, 0), start(2, 20), false)).toEqual([]);
  const completed = start(1, 0, { outcomes: ['completed'] });
  expect(faultsOfSecondStart(completed, start(2, 20), false)).toEqual(['started_again']);
  expect(faultsOfSecondStart(completed, start(2, 20), true)).toEqual([]);
  expect(faultsOfSecondStart(start(1, 0), start(1, 20), true)).toEqual(['same_run_twice']);
});

test('at the same time: the attempt that was placed later says so, whichever host was the first to start', () => {
  const marked = { possiblyDouble: true };
  expect(faultsOfSecondStart(start(1, 0), start(2, 5, marked), false)).toEqual([]);
  expect(faultsOfSecondStart(start(1, 0), start(2, 5), false)).toEqual(['unmarked_double']);
  // The host of the first one stood still with the order in its hands.
  expect(faultsOfSecondStart(start(2, 0, marked), start(1, 5), false)).toEqual([]);
  expect(faultsOfSecondStart(start(2, 0), start(1, 5, marked), false)).toEqual(['unmarked_double']);
});
