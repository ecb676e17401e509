/** What clients are shown of a record. */
import { describe, expect, it } from 'vitest';
import type { Because } from '../../src/api/task.ts';
import type { RecordState } from '../../src/records/record.ts';
import type { TaskHeader } from '../../src/tasks/facts.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { becauseOfActive, viewOf } from '../../src/tasks/view.ts';
import { endOf, factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

const A = storeOf('a');
const STAMP = 1_767_225_600_000;

const timedOut = (header: Partial<TaskHeader>): RecordState =>
  withFacts(
    newRecord([A], { header, stamp: STAMP }),
    // Started a second after it was submitted.
    factOf(A, 1, startOf('run1', { at: STAMP + 1_000 })),
    factOf(A, 2, endOf('run1', { out: 'timeout', at: STAMP + 9_000 })),
  );

describe('an attempt that timed out', () => {
  const noteOf = (header: Partial<TaskHeader>) => {
    const view = viewOf(timedOut(header), STAMP + 10_000);
    expect(view.attempts[0]?.error).toEqual(view.error);
    return view.error?.message;
  };

  it('says which of its limits has passed: the one that came first', () => {
    expect(noteOf({ run_timeout_ms: 8_000 })).toBe('the run timeout has passed');
    expect(noteOf({ total_timeout_ms: 8_000 })).toBe('the total timeout has passed');
    expect(noteOf({ run_timeout_ms: 8_000, total_timeout_ms: 8_500 })).toContain('total');
    expect(noteOf({ run_timeout_ms: 7_000, total_timeout_ms: 8_500 })).toContain('run');
  });
});

describe('why an active task is where it is', () => {
  const row = (peer: string, code: string): Because => ({ peer, ok: false, code, detail: code });
  const started = withFacts(newRecord([A]), factOf(A, 1, startOf('run1')));

  it('marks its runner, whose slot it has, and leaves the others as they are', () => {
    const others = [row('peer-x', 'no_free_slot')];
    expect(
      becauseOfActive(taskOf(started), [row('peer-r', 'no_free_slot'), ...others]),
    ).toMatchObject([{ peer: 'peer-r', ok: true, code: 'runs_here' }, ...others]);
    const dead = [row('peer-r', 'dead')];
    expect(becauseOfActive(taskOf(started), dead)).toEqual(dead);
  });

  it('marks nobody when nothing runs', () => {
    const rows = [row('peer-r', 'no_free_slot')];
    expect(becauseOfActive(taskOf(newRecord([A])), rows)).toEqual(rows);
    expect(becauseOfActive(taskOf(timedOut({})), rows)).toEqual(rows);
  });
});
