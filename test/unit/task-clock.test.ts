/** What time it is for a task: durations on this host's boot clock, whatever wall clocks say. */
import { describe, expect, it } from 'vitest';
import { SimClock } from '../../src/sim/clock.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { TaskClock } from '../../src/tasks/task-clock.ts';
import { endOf, factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

const HOUR_MS = 3_600_000;

function setting(more: Parameters<typeof newRecord>[1] = {}) {
  const clock = new SimClock();
  const stamp = clock.wallMs() + HOUR_MS;
  const record = newRecord([storeOf('a')], { stamp, ...more });
  return { clock, record, task: taskOf(record), times: new TaskClock(clock) };
}

describe('the clock of a task', () => {
  it('begins at its creation, though the accepting host was an hour ahead, and goes on evenly', async () => {
    const { clock, task, times } = setting();
    times.begin(task);
    expect(times.nowMs(task.id)).toBe(task.submittedAt);
    clock.wallOffsetMs = -HOUR_MS;
    await clock.runFor(5_000);
    expect(times.nowMs(task.id)).toBe(task.submittedAt + 5_000);
  });

  it('is this host’s wall clock for a task with a past, but never before its creation', async () => {
    const { clock, task, times } = setting();
    times.enter(task);
    expect(times.nowMs(task.id)).toBe(task.submittedAt);
    times.forget(task.id);
    clock.wallOffsetMs = 2 * HOUR_MS;
    times.enter(task);
    expect(times.nowMs(task.id)).toBe(clock.wallMs());
  });

  it('lets no pause be longer than what was asked for', () => {
    const backoff = { type: 'fixed', delay_ms: 10_000 } as const;
    const { clock, record, times } = setting({ header: { backoff, attempts: 3 }, stamp: 0 });
    const nextAt = clock.wallMs() + HOUR_MS;
    const failed = endOf('run1', { n: 1, out: 'failed', exit: 1, next_at: nextAt });
    const task = taskOf(
      withFacts(record, factOf(storeOf('a'), 1, startOf('run1')), factOf(storeOf('a'), 2, failed)),
    );
    times.enter(task);
    expect(nextAt - times.nowMs(task.id)).toBeLessThanOrEqual(12_500);
  });

  it('goes on from what an owner wrote whose clock was ahead, though that is learned late', () => {
    const { clock, record, times } = setting({ stamp: 0 });
    times.enter(taskOf(record));
    const nextAt = clock.wallMs() + 2 * HOUR_MS;
    const lost = endOf('run1', { n: 1, out: 'lost', loss: 1, next_at: nextAt });
    const task = taskOf(
      withFacts(record, factOf(storeOf('a'), 1, startOf('run1')), factOf(storeOf('a'), 2, lost)),
    );
    times.enter(task);
    expect(nextAt - times.nowMs(task.id)).toBeLessThanOrEqual(60_000);
  });

  it('does not jump when the task is entered once more', () => {
    const { clock, task, times } = setting();
    times.enter(task);
    const before = times.nowMs(task.id);
    clock.wallOffsetMs = 5 * HOUR_MS;
    times.enter(task);
    expect(times.nowMs(task.id)).toBe(before);
  });
});
