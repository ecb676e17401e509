/** The meaning of a task under any order of its facts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { type Fact, joinRecords, type RecordState, withFact } from '../../src/records/record.ts';
import { backoffMs, nextDeadline, nextStep } from '../../src/tasks/decide.ts';
import type { EndFact, FinalFact, TaskFactValue } from '../../src/tasks/facts.ts';
import { ownerOf, ownerOrder } from '../../src/tasks/ownership.ts';
import {
  attemptByRun,
  compareFinals,
  failureCount,
  lossWeight,
  nextAttemptNumber,
  openAttempts,
  type Task,
  taskOf,
  taskRules,
} from '../../src/tasks/task.ts';
import { standingOf } from '../../src/tasks/view.ts';
import {
  endOf,
  factOf,
  finalOf,
  headerOf,
  newRecord,
  startOf,
  storeOf,
} from '../support/task-records.ts';

const STORES = ['a', 'b', 'c'].map(storeOf);
const NOW = 1_767_225_700_000;
const runs = fc.constantFrom('run1', 'run2', 'run3');
const time = fc.integer({ min: NOW - 100_000, max: NOW + 100_000 });
const outcomes = fc.constantFrom<EndFact['out']>(
  'completed',
  'failed',
  'timeout',
  'lost',
  'interrupted',
  'refused',
  'canceled',
);
const finals = fc.constantFrom<FinalFact['state']>('completed', 'failed', 'canceled', 'expired');

const valueArb: fc.Arbitrary<TaskFactValue> = fc.oneof(
  fc
    .tuple(runs, fc.integer({ min: 1, max: 3 }), time)
    .map(([run, n, at]) => startOf(run, { n, at })),
  fc
    .tuple(runs, outcomes, time, fc.boolean())
    .map(([run, out, at, final]) => endOf(run, { out, at, retryable: final, next_at: at })),
  fc
    .tuple(runs, finals, time, time)
    .map(([run_id, state, at, drop_at]) => finalOf({ run_id, state, at, drop_at })),
  fc.tuple(runs, time).map(([run_id, at]) => ({ t: 'adopt', run_id, at }) as const),
  fc
    .tuple(runs, fc.constantFrom(...STORES), time)
    .map(([run_id, to, at]) => ({ t: 'hand', run_id, to, at }) as const),
  fc.tuple(runs, time).map(([run_id, at]) => ({ t: 'hold', run_id, ms: 5, at }) as const),
  time.map((at) => ({ t: 'cancel', reason: `r${at % 2}`, by: 'x', at }) as const),
  time.map((at) => ({ t: 'dup', of: `id${at % 2}`, at }) as const),
  time.map((drop_at) => ({ t: 'drop', drop_at }) as const),
);

const worldArb = fc
  .record({
    values: fc.array(fc.tuple(fc.constantFrom(...STORES), valueArb), { maxLength: 14 }),
    header: fc.record({
      attempts: fc.integer({ min: 1, max: 3 }),
      losses_max: fc.integer({ min: 0, max: 3 }),
      on_lost: fc.constantFrom('retry' as const, 'fail' as const),
      delay_ms: fc.constantFrom(0, 1_000, 10_000_000),
      queue_timeout_ms: fc.constantFrom(1, 10_000_000),
    }),
  })
  .map(({ values, header }) => ({
    created: newRecord(STORES, { header }),
    facts: values.map(([store, value], i) => factOf(store, i + 1, value)),
  }));

const endsOf = (task: Task, runId: string): readonly EndFact[] =>
  attemptByRun(task, runId)?.ends ?? [];

/** Two finals at one store, and the news that the attempt of the better one was given up. */
const givenUp = {
  created: newRecord(STORES),
  facts: [
    startOf('run3'),
    finalOf({ run_id: 'run3' }),
    finalOf({ run_id: 'run1', state: 'expired' }),
    endOf('run3', { out: 'lost' }),
  ].map((value, i) => factOf(storeOf('a'), i + 1, value)),
};

const built = (created: RecordState, facts: readonly Fact[]): RecordState =>
  facts.reduce(withFact, created);

describe('a task', () => {
  it('means the same whatever the order in which its facts came', () => {
    const shuffled = worldArb.chain(({ created, facts }) =>
      fc.tuple(
        fc.constant({ created, facts }),
        fc.shuffledSubarray(facts, { minLength: facts.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, ([{ created, facts }, other]) => {
        const one = taskOf(built(created, facts));
        const two = taskOf(
          other.map((fact) => built(created, [fact])).reduce(joinRecords, created),
        );
        expect(two).toEqual(one);
        expect(standingOf(two, NOW)).toEqual(standingOf(one, NOW));
      }),
    );
  });

  it('stays final under any join, and changes only with a concurrent final, which is counted', () => {
    fc.assert(
      fc.property(worldArb, fc.nat({ max: 14 }), ({ created, facts }, cut) => {
        const before = built(created, facts.slice(0, cut));
        const after = joinRecords(before, built(created, facts.slice(cut)));
        const [was, is] = [taskOf(before), taskOf(after)];
        if (was.final === undefined) return;
        if (is.final === undefined) throw new Error('a final task is not final any more');
        expect(taskRules.isFinal(after)).toBe(true);
        expect(nextStep(is, NOW)).toEqual({ step: 'done' });
        expect(is.dropAt).toBeLessThanOrEqual(was.dropAt ?? 0);
        const order = compareFinals(is.final, was.final);
        if (order === 0) return;
        expect(is.conflicts).toBeGreaterThan(0);
        if (order < 0) expect(is.conflicts).toBeGreaterThan(was.conflicts);
        // One whose attempt others gave up meanwhile gives way to any other final.
        else expect(endsOf(is, was.final.run_id).map(({ out }) => out)).toContain('lost');
      }),
      { examples: [[givenUp, 2]] },
    );
  });

  it('is moved on without contradiction', () => {
    fc.assert(
      fc.property(worldArb, time, ({ created, facts }, now) => {
        const task = taskOf(built(created, facts));
        const step = nextStep(task, now);
        const isOpen = openAttempts(task).length > 0;
        const isCompleted = task.attempts.some(({ ends }) => ends[0]?.out === 'completed');
        expect(step.step === 'done').toBe(task.final !== undefined);
        if (step.step === 'start' || step.step === 'wait') {
          expect([isOpen, isCompleted, task.cancel, task.final]).toEqual([
            false,
            false,
            undefined,
            undefined,
          ]);
          expect(failureCount(task)).toBeLessThan(task.header.attempts);
          expect(lossWeight(task)).toBeLessThanOrEqual(task.header.losses_max);
        }
        if (step.step === 'running') expect(isOpen && !isCompleted).toBe(true);
        if (step.step === 'wait') expect(step.untilWallMs).toBeGreaterThan(now);
        if (step.step === 'finish' && step.final.state === 'completed') {
          expect(isCompleted).toBe(true);
        }
        const used = task.attempts.map((attempt) => attempt.start.n);
        expect(nextAttemptNumber(task)).toBeGreaterThan(Math.max(0, ...used));
      }),
    );
  });

  it('is looked at again whenever the clock alone changes what comes next', () => {
    fc.assert(
      fc.property(worldArb, time, fc.nat({ max: 20_000_000 }), ({ created, facts }, now, later) => {
        const task = taskOf(built(created, facts));
        const deadline = nextDeadline(task, now);
        if (nextStep(task, now).step === nextStep(task, now + later).step) return;
        expect(deadline).toBeDefined();
        expect(deadline).toBeLessThanOrEqual(now + later);
      }),
    );
  });

  it('has one owner, the same for all who see the same members', () => {
    const status = fc.constantFrom('alive', 'stopping', 'dead') as fc.Arbitrary<
      'alive' | 'stopping' | 'dead'
    >;
    const seen = fc.tuple(status, status, status);
    fc.assert(
      fc.property(worldArb, seen, ({ created, facts }, statuses) => {
        const view = { status: (store: string) => statuses[STORES.indexOf(store)] ?? 'dead' };
        const record = built(created, facts);
        const again = { ...built(created, [...facts].reverse()) };
        const owner = ownerOf(taskOf(record), view);
        expect(ownerOf(taskOf(again), view)).toBe(owner);
        expect(owner === undefined).toBe(statuses.every((item) => item === 'dead'));
        if (owner !== undefined) expect(view.status(owner)).not.toBe('dead');
        // Who is not the owner may come and go without moving the task.
        const others = STORES.filter((store) => store !== owner);
        const smaller = {
          status: (store: string) => (others.includes(store) ? 'dead' : view.status(store)),
        } as const;
        if (owner !== undefined) expect(ownerOf(taskOf(record), smaller)).toBe(owner);
      }),
    );
  });

  it('spreads its owners over the home', () => {
    const firsts = Array.from({ length: 300 }, (_, i) => ownerOrder(`task ${i}`, STORES)[0]);
    for (const store of STORES) {
      expect(firsts.filter((first) => first === store).length).toBeGreaterThan(60);
    }
  });
});

describe('backoff', () => {
  it('doubles up to its maximum, with a quarter of jitter', () => {
    const types = fc.constantFrom('fixed' as const, 'exponential' as const);
    const delay = fc.integer({ min: 1, max: 60_000 });
    fc.assert(
      fc.property(
        types,
        delay,
        fc.integer({ min: 1, max: 200 }),
        fc.string(),
        (type, ms, n, seed) => {
          const header = headerOf({ backoff: { type, delay_ms: ms, max_ms: 100_000 } });
          const plain = type === 'fixed' ? ms : Math.min(ms * 2 ** Math.min(n - 1, 40), 100_000);
          const waited = backoffMs(header, n, new SeededRandom(seed));
          expect(waited).toBeGreaterThanOrEqual(Math.floor(plain * 0.75));
          expect(waited).toBeLessThanOrEqual(Math.ceil(plain * 1.25));
        },
      ),
    );
    expect(backoffMs(headerOf(), 3, new SeededRandom('x'))).toBe(0);
  });
});
