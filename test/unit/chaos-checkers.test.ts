/** The outside checker of `npm run chaos`: evidence that holds is believed, falsified evidence is contradicted. */
import { describe, expect, it, test } from 'vitest';
import type { TaskView } from '../../src/api/task.ts';
import { checkChaos } from '../../src/testnet/chaos-checkers.ts';
import {
  type Attempt,
  type ChaosEvidence,
  type EndNoted,
  finalOf,
  type ProgramRun,
  type Strike,
  type Submit,
} from '../../src/testnet/chaos-evidence.ts';
import { spreadOf, takeoversOf } from '../../src/testnet/chaos-report.ts';
import { judgeStarts } from '../../src/testnet/chaos-starts.ts';
import { parseRuns } from '../../src/testnet/chaos-work.ts';

const ID = '00T3ZMPGE8T9MKYPMAXR6CXYT505V9ENX871EG0';

const WALL_AT_BOOT_MS = Date.parse('2026-11-21T14:50:42.553Z');
const wallAt = (uptimeMs: number): string => new Date(WALL_AT_BOOT_MS + uptimeMs).toISOString();

/** Placed a tenth of a second before its start. */
const attempt = (n: number, more: Partial<Attempt> = {}): Attempt => ({
  ...{ attempt: n, run_id: `run${n}`, placed_by: 'store-a', owner: 'store-a' },
  ...{ runner: 'peer-1', runner_name: 'test1', placed_at: wallAt(n * 1_000 - 100) },
  ...{ possibly_double: false, accepted: false },
  ...more,
});

const noted = (n: number, outcome: string, atMs: number): EndNoted => ({
  ...{ n, outcome, atMs, by: 'test2' },
});

const strike = (kind: Strike['kind'], peers: string[], fromMs: number, toMs: number): Strike => ({
  ...{ kind, peers, fromMs, toMs },
});

const view = (more: Partial<TaskView> = {}): TaskView => ({
  ...{ id: ID, queue: 'default', type: 'exec', state: 'completed', priority: 0, labels: {} },
  ...{ since: '', submitted_at: '', attempt: 2, failures: 0, losses: 2, home: [], conflicts: 0 },
  ...{ stdout: 'run2', orphans: [] },
  attempts: [
    attempt(1, { outcome: 'lost', ended_at: wallAt(1_700) }),
    attempt(2, { outcome: 'completed', accepted: true }),
  ],
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
  histories: new Map([[ID, [noted(1, 'lost', 1_700), noted(2, 'completed', 2_600)]]]),
  homes: new Map(),
  strikes: [strike('kill', ['test1'], 1_400, 1_800)],
  stores: new Map(['a', 'b', 'c', 'd', 'e'].map((x, i) => [`store-${x}`, `test${i + 1}`])),
  wallAtBootMs: WALL_AT_BOOT_MS,
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

/** Test1 placed the task on itself, and test3, which was cut off from it, did so too. */
const HOME = ['store-a', 'store-b', 'store-c'];
const SIDES: ChaosEvidence = {
  ...TRUE_STORY,
  runs: [run(1, { endedMs: 9_000 }), run(2, { host: 'test3' })],
  views: seenBy(
    view({
      ...{ conflicts: 1, stdout: 'run1', home: HOME },
      attempts: [
        attempt(1, { outcome: 'completed', accepted: true }),
        attempt(1, {
          ...{ run_id: 'run2', placed_by: 'store-c', owner: 'store-a', outcome: 'completed' },
          placed_at: wallAt(1_900),
        }),
      ],
    }),
  ),
  histories: new Map(),
  homes: new Map([[ID, HOME.map((store) => ({ store, sinceMs: 0 }))]]),
  told: [],
  strikes: [strike('isolate', ['test3'], 800, 5_000)],
};
const UNEXCUSED = ['started_again', 'unmarked_double'];

/** The second attempt of `SIDES` otherwise. */
function withSecond(more: Partial<Attempt>): Partial<ChaosEvidence> {
  const [first, second] = SIDES.views.get('test1')?.get(ID)?.attempts ?? [];
  if (first === undefined || second === undefined) throw new Error('two attempts');
  const attempts = [first, { ...second, ...more }];
  return { views: seenBy(view({ conflicts: 1, stdout: 'run1', home: HOME, attempts })) };
}

describe('a run on each side of a partition', () => {
  it('is explained by the side of the store that placed it, whoever owned it later', () => {
    expect(checkChaos(SIDES)).toEqual([]);
    expect(judgeStarts(SIDES).explained).toMatchObject([{ cause: 'concurrent', overlapped: true }]);
  });

  it.each<[string, Partial<ChaosEvidence>]>([
    ['nothing parted them', { strikes: [] }],
    ['what parted them was long over', { strikes: [strike('isolate', ['test3'], 0, 100)] }],
    ['it came later', { strikes: [strike('isolate', ['test3'], 1_950, 5_000)] }],
    ['it parted others', { strikes: [strike('isolate', ['test4'], 800, 5_000)] }],
    ['both were on one side', { strikes: [strike('halves', ['test1', 'test3'], 800, 5_000)] }],
    ['the other owner only died', { strikes: [strike('kill', ['test1'], 800, 5_000)] }],
    ['one store placed both', withSecond({ placed_by: 'store-a' })],
    ['its number says that it knew of the first', withSecond({ attempt: 2 })],
    ['they ran beside each other on one host', { runs: [run(1, { endedMs: 9_000 }), run(2)] }],
  ])('is not, when %s', (_what, falsified) => {
    const late = falsified.strikes?.[0]?.toMs === 100;
    // A store is forgiven for some seconds after a separation.
    const shifted = late ? shiftedBy(20_000) : {};
    expect(rulesOf({ ...SIDES, ...falsified, ...shifted })).toEqual(UNEXCUSED);
  });

  it('is explained where the other side was struck anew before it could tell', () => {
    const late = { ...SIDES, ...withSecond({ placed_at: wallAt(12_000) }) };
    const runs = SIDES.runs.map((item, i) =>
      i === 0 ? item : { ...item, startedMs: 12_100, endedMs: 12_600 },
    );
    const story = (...strikes: Strike[]) => ({ ...late, runs, strikes });
    const cut = strike('isolate', ['test1'], 800, 1_500);
    const halves = strike('halves', ['test1', 'test2'], 800, 1_500);
    const down = (fromMs: number) => strike('kill', ['test1'], fromMs, 11_000);
    expect(rulesOf(story(cut, down(2_000)))).toEqual([]);
    expect(rulesOf(story(cut))).toEqual(['started_again']);
    expect(rulesOf(story(down(2_000)))).toEqual(['started_again']);
    // It was back for long enough; or somebody else who had been on its side was.
    expect(rulesOf(story(cut, down(7_000)))).toEqual(['started_again']);
    expect(rulesOf(story(halves, down(2_000)))).toEqual(['started_again']);
  });

  it('is explained where too few stores of the home could be reached, whoever placed the first', () => {
    const blind = { ...SIDES, ...withSecond({ placed_by: 'store-c' }) };
    const down = (...peers: string[]) => peers.map((peer) => strike('kill', [peer], 800, 5_000));
    expect(checkChaos({ ...blind, strikes: down('test1', 'test2') })).toEqual([]);
    expect(rulesOf({ ...blind, strikes: down('test1', 'test4') })).toEqual(UNEXCUSED);
    // Of one that was wiped before nothing can be read, though its peer is in reach.
    const wiped = (atMs: number) => [{ peer: 'test2', storeId: 'store-b', atMs }];
    const oneIsDown = { ...blind, strikes: down('test1') };
    expect(checkChaos({ ...oneIsDown, destroyed: wiped(1_000) })).toEqual([]);
    expect(rulesOf({ ...oneIsDown, destroyed: wiped(1_950) })).toEqual(UNEXCUSED);
    // The home of then, which is not the one that is shown at the end.
    const grown = (sinceMs: number) => ({
      homes: new Map([
        [
          ID,
          [
            { store: 'store-c', sinceMs: 0 },
            { store: 'store-d', sinceMs: 0 },
            { store: 'store-e', sinceMs },
          ],
        ],
      ]),
    });
    const others = { ...blind, strikes: down('test4', 'test5') };
    expect(rulesOf(others)).toEqual(UNEXCUSED);
    expect(checkChaos({ ...others, ...grown(0) })).toEqual([]);
    expect(rulesOf({ ...others, ...grown(1_950) })).toEqual(UNEXCUSED);
    const oneOther = { ...blind, strikes: down('test5') };
    expect(rulesOf({ ...oneOther, ...grown(0) })).toEqual(UNEXCUSED);
  });
});

/** The same story so much later, with the strikes left where they were. */
function shiftedBy(ms: number): Partial<ChaosEvidence> {
  return {
    wallAtBootMs: WALL_AT_BOOT_MS - ms,
    runs: SIDES.runs.map((item) => ({
      ...item,
      startedMs: item.startedMs + ms,
      endedMs: (item.endedMs ?? 0) + ms,
    })),
  };
}

describe('the end that called for another start', () => {
  it.each<[string, Partial<ChaosEvidence>]>([
    ['a loss that nothing caused', { strikes: [] }],
    ['a loss of another host', { strikes: [strike('kill', ['test2'], 1_400, 1_800)] }],
    ['a loss before its cause', { strikes: [strike('kill', ['test1'], 1_750, 1_800)] }],
    [
      'a loss by the death of a worker program that it had not',
      { strikes: [strike('worker', ['test1'], 1_400, 1_800)] },
    ],
    [
      'a loss to a cut with whoever said so on one side',
      { strikes: [strike('halves', ['test1', 'test2'], 1_400, 1_800)] },
    ],
    [
      'a failure of a program that did not fail',
      {
        histories: new Map([[ID, [noted(1, 'failed', 1_700)]]]),
        views: seenBy(
          view({
            attempts: [
              attempt(1, { outcome: 'failed' }),
              attempt(2, { accepted: true, outcome: 'completed' }),
            ],
          }),
        ),
        runs: [run(1, { exitCode: 0 }), run(2)],
      },
    ],
  ])('is contradicted, being %s', (_what, falsified) => {
    expect(rulesOf({ ...TRUE_STORY, ...falsified })).toEqual(['unfounded_cause']);
  });

  it('may seem to come a hundredth of a second before its cause, as the uptime tells it', () => {
    const killed = (fromMs: number) => ({ strikes: [strike('kill', ['test1'], fromMs, 1_800)] });
    expect(checkChaos({ ...TRUE_STORY, ...killed(1_710) })).toEqual([]);
    expect(rulesOf({ ...TRUE_STORY, ...killed(1_711) })).toEqual(['unfounded_cause']);
  });

  it.each<[string, Strike]>([
    ['a cut from whoever said so', strike('halves', ['test1', 'test3'], 1_400, 1_800)],
    ['a frozen daemon', strike('pause', ['test1'], 1_400, 1_800)],
    ['a stop', strike('term', ['test1'], 1_400, 1_800)],
  ])('is believed, being a loss by %s', (_what, cause) => {
    expect(checkChaos({ ...TRUE_STORY, strikes: [cause] })).toEqual([]);
  });
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
