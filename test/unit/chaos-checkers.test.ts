/** The outside checker of `npm run chaos`: evidence that holds is believed, falsified evidence is contradicted. */
import { describe, expect, it, test } from 'vitest';
import type { TaskView } from '../../src/api/task.ts';
import { checkChaos, judgeStarts } from '../../src/testnet/chaos-checkers.ts';
import {
  type ChaosEvidence,
  finalOf,
  type ProgramRun,
  type Submit,
} from '../../src/testnet/chaos-evidence.ts';
import { spreadOf, takeoversOf } from '../../src/testnet/chaos-report.ts';
import { parseRuns } from '../../src/testnet/chaos-work.ts';

const ID = '00T3ZMPGE8T9MKYPMAXR6CXYT505V9ENX871EG0';

const PLACED_MS = Date.parse('2026-11-21T14:50:42.553Z');

const attempt = (n: number, more: Partial<TaskView['attempts'][number]> = {}) => ({
  ...{ attempt: n, run_id: `run${n}`, owner: 'store-a', runner: 'peer-1', runner_name: 'test1' },
  ...{ placed_at: '2026-11-21T14:50:42.553Z', possibly_double: false, accepted: false },
  ...more,
});

const view = (more: Partial<TaskView> = {}): TaskView => ({
  ...{ id: ID, queue: 'default', type: 'exec', state: 'completed', priority: 0, labels: {} },
  ...{ since: '', submitted_at: '', attempt: 2, failures: 0, losses: 2, home: [], conflicts: 0 },
  ...{ stdout: 'run2', orphans: [] },
  attempts: [attempt(1, { outcome: 'lost' }), attempt(2, { outcome: 'completed', accepted: true })],
  ...more,
});

const run = (n: number, more: Partial<ProgramRun> = {}): ProgramRun => ({
  ...{ kind: 'exec', taskId: ID, attempt: n, runId: `run${n}`, host: 'test1', pid: n },
  ...{ startedMs: n * 1_000, lockWasBusy: false, endedMs: n * 1_000 + 500, exitCode: 0 },
  ...more,
});

const submit = (more: Partial<Submit> = {}): Submit => ({
  ...{ id: ID, kind: 'exec', attempts: 1, fails: 0, outcome: 'acknowledged', tries: 1 },
  ...{ detail: '', cancelSent: false, acknowledgedMs: 900, storedOn: ['a', 'b'], required: 2 },
  ...more,
});

const seenBy = (...shown: (TaskView | undefined)[]): ChaosEvidence['views'] =>
  new Map(shown.map((item, i) => [`test${i + 1}`, new Map(item ? [[ID, item]] : [])]));

/** A daemon died under the first run, and the second was accepted. */
const TRUE_STORY: ChaosEvidence = {
  submits: [submit()],
  runs: [run(1, { exitCode: undefined }), run(2)],
  told: [{ atMs: 3_000, peer: 'test2', id: ID, final: 'completed run2 run2' }],
  views: seenBy(view(), view()),
  histories: new Map([[ID, ['1 lost', '2 completed']]]),
  separations: [],
  destroyed: [],
  leftRunning: [],
  gaveUp: [],
};

const rulesOf = (evidence: ChaosEvidence): string[] => checkChaos(evidence).map(({ rule }) => rule);

test('a task that was lost with its daemon and ran again holds, and its second start is explained', () => {
  expect(checkChaos(TRUE_STORY)).toEqual([]);
  expect(judgeStarts(TRUE_STORY).explained).toEqual([
    { taskId: ID, runId: 'run2', cause: 'lost', overlapped: false },
  ]);
});

const other = view({
  attempts: [attempt(1, { outcome: 'completed', accepted: true }), attempt(2)],
  stdout: 'run1',
});
const overlapping = [run(1, { endedMs: 9_000 }), run(2)];

test.each<[string, string, Partial<ChaosEvidence>]>([
  ['an acknowledged task that is nowhere', 'lost', { views: seenBy(), runs: [] }],
  ['two peers with two results', 'two_results', { views: seenBy(view(), other) }],
  [
    'two accepted runs',
    'two_results',
    {
      views: seenBy(
        view({
          attempts: [
            attempt(1, { outcome: 'lost', accepted: true }),
            attempt(2, { outcome: 'completed', accepted: true }),
          ],
        }),
      ),
      runs: [run(1), run(2)],
    },
  ],
  [
    'a final that changed, uncounted',
    'final_changed',
    { told: [{ atMs: 1, peer: 'test3', id: ID, final: 'failed - ' }] },
  ],
  ['a result of a run that failed', 'false_result', { runs: [run(1), run(2, { exitCode: 3 })] }],
  [
    'a result of a run that was killed',
    'false_result',
    { runs: [run(1), run(2, { exitCode: undefined })] },
  ],
  ['a result of a run that never started', 'false_result', { runs: [run(1)] }],
  ['the output of another run', 'false_result', { views: seenBy(view({ stdout: 'run1' })) }],
  [
    'a failure that nobody failed',
    'false_failure',
    { views: seenBy(view({ state: 'failed', reason: 'exit' })), told: [] },
  ],
  [
    'a cancel that nobody asked for',
    'false_cancel',
    { views: seenBy(view({ state: 'canceled' })), told: [] },
  ],
  ['a run that no history knows', 'orphan_run', { runs: [run(1), run(2), run(3)] }],
  ['a run of a task that is nowhere', 'orphan_run', { submits: [], views: seenBy() }],
  [
    'another start without a cause',
    'started_again',
    {
      views: seenBy(
        view({ attempts: [attempt(1), attempt(2, { outcome: 'completed', accepted: true })] }),
      ),
      histories: new Map(),
    },
  ],
  ['an overlap that is not marked', 'unmarked_double', { runs: overlapping }],
  ['one attempt started twice', 'same_run_twice', { runs: [run(1), run(2), run(2, { pid: 9 })] }],
  ['a process left behind', 'stray', { leftRunning: ['process 4711 still runs'] }],
  ['a daemon that ended by itself', 'gave_up', { gaveUp: ['peer 5 ended by itself (SIGABRT)'] }],
  [
    'an id that was taken for another request',
    'refused',
    { submits: [submit({ outcome: 'refused', detail: 'ID_CONFLICT: Task exists' })] },
  ],
])('%s is contradicted', (_what, rule, falsified) => {
  expect(rulesOf({ ...TRUE_STORY, ...falsified })).toContain(rule);
});

describe('what is allowed', () => {
  it('is an overlap that is marked', () => {
    const marked = view({
      attempts: [
        attempt(1, { outcome: 'lost' }),
        attempt(2, { outcome: 'completed', accepted: true, possibly_double: true }),
      ],
    });
    const evidence = { ...TRUE_STORY, runs: overlapping, views: seenBy(marked) };
    expect(checkChaos(evidence)).toEqual([]);
    expect(judgeStarts(evidence).explained).toMatchObject([{ overlapped: true }]);
  });

  it('is a run on each side of a partition: whoever knew of the first would have counted on', () => {
    const sides = view({
      conflicts: 1,
      stdout: 'run1',
      attempts: [
        attempt(1, { outcome: 'completed', accepted: true }),
        attempt(1, { run_id: 'run2', owner: 'store-b', outcome: 'completed' }),
      ],
    });
    const evidence = {
      ...TRUE_STORY,
      runs: [run(1, { endedMs: 9_000 }), run(2)],
      views: seenBy(sides),
      histories: new Map(),
      told: [],
      separations: [{ fromMs: PLACED_MS - 9_000, toMs: PLACED_MS - 1_000 }],
    };
    expect(checkChaos(evidence)).toEqual([]);
    const early = [{ fromMs: PLACED_MS - 99_000, toMs: PLACED_MS - 90_000 }];
    expect(rulesOf({ ...evidence, separations: early })).toEqual([
      'started_again',
      'unmarked_double',
    ]);
    expect(judgeStarts(evidence).explained).toMatchObject([{ cause: 'concurrent' }]);
  });

  it('is the loss of a task with as many stores as its receipt does not survive', () => {
    const nowhere = { ...TRUE_STORY, views: seenBy(), runs: [], told: [] };
    const wiped = (storeId: string) => ({ peer: 'test1', storeId, atMs: 1 });
    expect(rulesOf({ ...nowhere, destroyed: [wiped('a')] })).toEqual(['lost']);
    expect(rulesOf({ ...nowhere, destroyed: [wiped('a'), wiped('b')] })).toEqual([]);
  });

  it('is a loss that was taken back by a late end, since the history holds both', () => {
    const late = view({
      attempts: [attempt(1, { outcome: 'completed' }), ...view().attempts.slice(1)],
    });
    expect(checkChaos({ ...TRUE_STORY, views: seenBy(late) })).toEqual([]);
    expect(rulesOf({ ...TRUE_STORY, views: seenBy(late), histories: new Map() })).toEqual([
      'started_again',
    ]);
  });
});

test('the file of runs gives starts and ends; who was killed ended before the next got the lock', () => {
  const text = [
    `start exec ${ID} 1 run1 test1 10 1000 free`,
    `start exec ${ID} 2 run2 test2 20 2000 busy`,
    `start exec ${ID} 3 run3 test3 30 3000 free`,
    `end exec ${ID} 3 run3 test3 30 3500 0`,
    'start worker other 1 run4 test1 40 1500 free',
    'start worker other 2 run5 test1 41 1600 free',
    'gone 40 1800',
    'start exec cut off',
  ].join('\n');
  const runs = parseRuns(text);
  expect(runs.map(({ runId, endedMs, exitCode }) => [runId, endedMs, exitCode])).toEqual([
    ['run1', 3_000, undefined],
    ['run4', 1_800, undefined],
    ['run5', undefined, undefined],
    ['run2', 3_000, undefined],
    ['run3', 3_500, 0],
  ]);
});

test('a takeover is timed from the death of a daemon to the next start of what it ran', () => {
  const runs = [
    run(1, { exitCode: undefined, endedMs: 4_000 }),
    run(2, { startedMs: 4_000 }),
    run(1, { taskId: 'x', startedMs: 100, endedMs: 200, exitCode: 0 }),
  ];
  expect(takeoversOf({ runs }, [{ host: 'test1', atMs: 3_000 }])).toEqual([1_000]);
  expect(takeoversOf({ runs }, [{ host: 'test2', atMs: 3_000 }])).toEqual([]);
  expect(spreadOf([5, 1, 3])).toEqual({ n: 3, p50: 3, max: 5 });
});

test('a final is its state, its accepted run and its result; a task under way has none', () => {
  expect(finalOf(view())).toBe('completed run2 run2');
  expect(finalOf(view({ state: 'active' }))).toBeUndefined();
});
