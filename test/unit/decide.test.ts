/** What comes next for a task, who owns it, and how it is shown: examples of the pure decisions. */
import { describe, expect, it } from 'vitest';
import { nextDeadline, nextStep, PLACED_MAX } from '../../src/tasks/decide.ts';
import { demandOf, demandParts } from '../../src/tasks/demand.ts';
import type { TaskFactValue, TaskHeader } from '../../src/tasks/facts.ts';
import { ownerOf } from '../../src/tasks/ownership.ts';
import { taskOf } from '../../src/tasks/task.ts';
import {
  fromBase64,
  historyOf,
  standingOf,
  summaryOf,
  toBase64,
  viewOf,
} from '../../src/tasks/view.ts';
import {
  endOf,
  factOf,
  finalOf,
  headerOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const T0 = 1_767_225_600_000;
const HOME = ['a', 'b', 'c'].map(storeOf);
const [A = '', B = ''] = HOME;

const recordWith = (header: Partial<TaskHeader>, ...values: TaskFactValue[]) =>
  withFacts(
    newRecord(HOME, { header, stamp: T0 }),
    ...values.map((value, i) => factOf(A, i + 1, value)),
  );
const stepOf = (header: Partial<TaskHeader>, now: number, ...values: TaskFactValue[]) =>
  nextStep(taskOf(recordWith(header, ...values)), now);

const attempt = (n: number, out: 'failed' | 'lost' | 'interrupted' | 'refused', more = {}) => [
  startOf(`run${n}`, { n }),
  endOf(`run${n}`, { n, out, ...more }),
];

describe('what comes next for a task', () => {
  it('is a start when it is due, and its end when an attempt completed', () => {
    expect(stepOf({}, T0)).toEqual({ step: 'start' });
    expect(stepOf({}, T0, startOf('run1'))).toEqual({ step: 'running' });
    expect(stepOf({}, T0, startOf('run1'), endOf('run1'))).toMatchObject({
      step: 'finish',
      final: { state: 'completed', run_id: 'run1', n: 1 },
    });
  });

  it('waits for its time, and for its backoff', () => {
    expect(stepOf({ delay_ms: 500 }, T0)).toEqual({
      step: 'wait',
      untilWallMs: T0 + 500,
      why: 'run_at',
    });
    const failed = attempt(1, 'failed', { exit: 1, next_at: T0 + 900 });
    expect(stepOf({ attempts: 2 }, T0 + 100, ...failed)).toEqual({
      step: 'wait',
      untilWallMs: T0 + 900,
      why: 'backoff',
    });
    expect(stepOf({ attempts: 2 }, T0 + 900, ...failed)).toEqual({ step: 'start' });
  });

  it.each<[string, Partial<TaskHeader>, TaskFactValue[], { state: string; reason: string }]>([
    [
      'its attempts',
      { attempts: 1 },
      attempt(1, 'failed', { exit: 1 }),
      { state: 'failed', reason: 'exit' },
    ],
    ['a signal', {}, attempt(1, 'failed', { sig: 'SIGSEGV' }), { state: 'failed', reason: 'exit' }],
    ['an error', {}, attempt(1, 'failed', { err: 'no' }), { state: 'failed', reason: 'error' }],
    [
      'a failure that is not to be retried',
      { attempts: 5 },
      attempt(1, 'failed', { err: 'no', retryable: false }),
      { state: 'failed', reason: 'error' },
    ],
    [
      'its losses',
      { losses_max: 1 },
      attempt(1, 'lost', { loss: 2 }),
      { state: 'failed', reason: 'losses' },
    ],
    [
      'its first loss',
      { on_lost: 'fail' },
      attempt(1, 'lost'),
      { state: 'failed', reason: 'losses' },
    ],
    [
      'a cancel',
      {},
      [{ t: 'cancel', reason: 'not needed', by: 'me', at: T0 }],
      { state: 'canceled', reason: 'not needed' },
    ],
    [
      'another task that came first',
      {},
      [{ t: 'dup', of: 'OTHER', at: T0 }],
      { state: 'canceled', reason: 'duplicate' },
    ],
    [
      'attempts that never ran',
      {},
      Array.from({ length: PLACED_MAX }, (_, i) => attempt(i + 1, 'refused')).flat(),
      { state: 'failed', reason: 'rejected' },
    ],
  ])('is its end after %s', (_, header, values, final) => {
    expect(stepOf(header, T0 + 1, ...values)).toMatchObject({ step: 'finish', final });
  });

  it('is not changed by what counts as nothing', () => {
    const nothing = [...attempt(1, 'interrupted'), ...attempt(2, 'refused')];
    expect(stepOf({ attempts: 1, losses_max: 0, on_lost: 'fail' }, T0, ...nothing)).toEqual({
      step: 'start',
    });
    const started = attempt(1, 'interrupted');
    expect(stepOf({}, T0, ...started, { t: 'dup', of: 'X', at: T0 })).toEqual({ step: 'start' });
  });

  it('is its end when a timeout has passed', () => {
    const header = { queue_timeout_ms: 1_000, total_timeout_ms: 5_000, delay_ms: 100, attempts: 9 };
    expect(stepOf(header, T0 + 1_099)).toEqual({ step: 'start' });
    expect(stepOf(header, T0 + 1_100)).toMatchObject({ final: { state: 'expired' } });
    const failed = attempt(1, 'failed', { exit: 1 });
    expect(stepOf(header, T0 + 4_999, ...failed)).toEqual({ step: 'start' });
    expect(stepOf(header, T0 + 5_000, ...failed)).toMatchObject({
      final: { state: 'failed', reason: 'timeout', run_id: 'run1' },
    });
    expect(nextDeadline(taskOf(recordWith(header)), T0)).toBe(T0 + 100);
    expect(nextDeadline(taskOf(recordWith(header)), T0 + 100)).toBe(T0 + 1_100);
  });

  it('is nothing once it is final', () => {
    expect(stepOf({}, T0, finalOf())).toEqual({ step: 'done' });
  });
});

describe('the owner of a task', () => {
  const view = (...dead: string[]) => ({
    status: (store: string) => (dead.includes(store) ? ('dead' as const) : ('alive' as const)),
  });

  it('is the store that placed the open attempt, until it is dead or handed it over', () => {
    for (const store of [A, B]) {
      const record = withFacts(newRecord(HOME), factOf(store, 1, startOf('run1')));
      expect(ownerOf(taskOf(record), view())).toBe(store);
      expect(ownerOf(taskOf(record), view(store))).not.toBe(store);
      const handed = withFacts(
        record,
        factOf(store, 2, { t: 'hand', run_id: 'run1', to: B, at: T0 }),
      );
      expect(ownerOf(taskOf(handed), view())).toBe(B);
      const adopted = withFacts(handed, factOf(A, 9, { t: 'adopt', run_id: 'run1', at: T0 + 1 }));
      expect(ownerOf(taskOf(adopted), view())).toBe(A);
    }
  });

  it('is nobody when no store of the home is live', () => {
    expect(ownerOf(taskOf(newRecord(HOME)), view(...HOME))).toBeUndefined();
  });
});

describe('what an attempt needs', () => {
  it('is a directory or a type of worker', () => {
    const exec = headerOf({ type: 'exec', argv: ['ls'], cwd: '/a:b' });
    expect(demandOf(exec)).toBe('exec:/a:b');
    expect(demandParts('exec:/a:b')).toEqual({ kind: 'exec', cwd: '/a:b' });
    expect(demandParts(demandOf(headerOf({ type: 'mail:send' })))).toEqual({
      kind: 'worker',
      type: 'mail:send',
    });
    expect(demandParts('lunch')).toBeUndefined();
  });
});

describe('the view of a task', () => {
  it('tells its state, its attempts and its result', () => {
    const record = recordWith(
      { attempts: 2 },
      startOf('run1', { at: T0 + 1 }),
      endOf('run1', { out: 'failed', exit: 2, err: 'exit code 2', at: T0 + 2 }),
      startOf('run2', { n: 2, at: T0 + 3, dbl: true }),
      endOf('run2', { n: 2, exit: 0, stdout: new Uint8Array([0xff]), res: '{"a":1}', at: T0 + 4 }),
      finalOf({ run_id: 'run2', n: 2, at: T0 + 5 }),
    );
    expect(viewOf(record, T0 + 9)).toMatchObject({
      id: record.id,
      state: 'completed',
      since: '2026-01-01T00:00:00.005Z',
      failures: 1,
      exit_code: 0,
      result: { a: 1 },
      stdout: { base64: '/w==' },
      conflicts: 0,
      attempts: [
        { attempt: 1, outcome: 'failed', accepted: false, error: { message: 'exit code 2' } },
        { attempt: 2, outcome: 'completed', accepted: true, possibly_double: true },
      ],
    });
    expect(historyOf(record, () => 'a').map((line) => line.what)).toEqual([
      'submitted',
      'attempt 1 placed on r',
      'attempt 1 failed: exit code 2',
      'attempt 2 placed on r',
      'attempt 2 completed',
      'completed',
    ]);
  });

  it.each<[Partial<TaskHeader>, TaskFactValue[], string, string | undefined]>([
    [{}, [], 'waiting', 'owner_unreachable'],
    [{ delay_ms: 1_000 }, [], 'delayed', 'run_at'],
    [{ attempts: 2 }, attempt(1, 'failed', { exit: 1, next_at: T0 + 999 }), 'delayed', 'backoff'],
    [{}, [startOf('run1')], 'active', undefined],
    [{}, [finalOf({ state: 'failed', reason: 'exit' })], 'failed', 'exit'],
    [
      {},
      [finalOf({ state: 'canceled', reason: 'duplicate', dup: 'X' })],
      'canceled',
      'duplicate_of X',
    ],
  ])('of %j with %j is %s', (header, values, state, reason) => {
    expect(standingOf(taskOf(recordWith(header, ...values)), T0 + 1)).toMatchObject({
      state,
      reason,
    });
  });

  it('counts finals that met another one', () => {
    const one = recordWith({}, startOf('run1'), finalOf({ run_id: 'run1' }));
    const other = withFacts(one, factOf(B, 1, finalOf({ run_id: 'run9', digest: 'other' })));
    expect([taskOf(one).conflicts, taskOf(other).conflicts]).toEqual([0, 1]);
    expect(summaryOf(other, T0).state).toBe('completed');
  });

  it('carries bytes as base64', () => {
    for (let length = 0; length < 40; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 97 + length) % 256);
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
      expect(fromBase64(toBase64(bytes))).toEqual(bytes);
    }
  });
});
