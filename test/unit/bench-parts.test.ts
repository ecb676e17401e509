/** What `npm run bench` computes: percentiles, medians of runs, the texts of /proc, options, profiles, the closed loop. */
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readOptions, type Shape, usageOf } from '../../bench/common/options.ts';
import {
  cpuSeconds,
  cpuSecondsOf,
  loopbackBytesOf,
  residentMiBOf,
} from '../../bench/common/proc.ts';
import { functionBytes, functionCalls, functionTimes } from '../../bench/common/profile.ts';
import { rateAtOnce, rateOf } from '../../bench/common/rate.ts';
import { median, medianOfRuns, percentile, spreadOf } from '../../bench/common/statistics.ts';
import { atLeast, atMost, table } from '../../bench/common/targets.ts';
import { contentOf } from '../../bench/exec/run-once.ts';
import { ownerOf } from '../../bench/failover/stage.ts';
import { figuresOf, targetsOf } from '../../bench/failover.ts';
import { loadOf } from '../../bench/micro/ring.ts';
import { created, ended, started } from '../../bench/micro/samples.ts';
import { runPhase } from '../../bench/throughput/loop.ts';
import { ratiosOf } from '../../bench/throughput/report.ts';
import { type Client, Ends, PAYLOAD, RESULT } from '../../bench/throughput/system.ts';
import { encodeTaskId, fingerprintOf } from '../../src/base/task-id.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { taskOf } from '../../src/tasks/task.ts';

test('of 1 to 1,000 ms, half took 500 ms at most, and one in a thousand 1,000', () => {
  const values = Array.from({ length: 1_000 }, (_, i) => 1_000 - i);
  expect(spreadOf(values)).toEqual({ p50: 500, p99: 990, p999: 999, max: 1_000 });
});

describe('percentiles', () => {
  test('of one value is that value, of none there is none', () => {
    expect([percentile([7], 0), percentile([7], 0.999), percentile([], 0.5)]).toEqual([
      7,
      7,
      undefined,
    ]);
    expect(spreadOf([])).toEqual({ p50: null, p99: null, p999: null, max: null });
  });

  test('is the smallest value that the share of all values does not exceed', () => {
    const values = fc.array(fc.integer(), { minLength: 1 });
    fc.assert(
      fc.property(values, fc.double({ min: 0.01, max: 1, noNaN: true }), (all, share) => {
        const found = percentile(all, share) ?? Number.NaN;
        expect(all).toContain(found);
        const upTo = (bound: number): number => all.filter((one) => one <= bound).length;
        expect(upTo(found)).toBeGreaterThanOrEqual(all.length * share);
        expect(all.filter((one) => one < found).length).toBeLessThan(all.length * share);
      }),
    );
  });

  test('a median was measured: of an even count it is the upper one', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 3, undefined]);
  });
});

test('medians of runs keep the shape, take numbers by their place, and leave out what a run lacks', () => {
  const run = (done: number, ratio: number | null) => ({
    covey: { done, settings: { fsync: 'always' } },
    ratio,
  });
  expect(medianOfRuns([run(30, 2), run(10, null), run(20, 1)])).toEqual({
    covey: { done: 20, settings: { fsync: 'always' } },
    ratio: 2,
  });
  expect(medianOfRuns([{ only: null }])).toEqual({ only: null });
});

describe('/proc', () => {
  const stat = (name: string): string =>
    `42 (${name}) S 1 42 42 0 -1 4194560 9 0 0 0 150 50 7 3 20 0 11 0 100 0 0`;

  test('user and system time, whatever the program calls itself', () => {
    expect(cpuSecondsOf(stat('node'))).toBe(2);
    expect(cpuSecondsOf(stat('a) S 1 (b'))).toBe(2);
  });

  test('of this very process is more than nothing', async () => {
    expect(cpuSecondsOf(await readFile('/proc/self/stat', 'utf8'))).toBeGreaterThan(0);
    expect(await cpuSeconds(process.pid)).toBeGreaterThan(0);
  });

  test('resident memory, and bytes sent over the loopback device alone', () => {
    expect(residentMiBOf('Name:\tnode\nVmRSS:\t   2048 kB\nThreads:\t11\n')).toBe(2);
    const dev = `Inter-|   Receive   |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0
  eth0: 3000 30 0 0 0 0 0 0 4000 40 0 0 0 0 0 0`;
    expect(loopbackBytesOf(dev)).toBe(2_000);
  });
});

describe('options', () => {
  const shape = {
    seconds: { kind: 'number', default: 10, min: 1, max: 60 },
    'in-flight': { kind: 'numbers', default: [1, 64], min: 1, max: 1_000 },
    only: { kind: 'names', default: ['covey', 'nats'], of: ['covey', 'nats'] },
    profile: { kind: 'text' },
    json: { kind: 'flag' },
  } satisfies Shape;

  test('what is not given has its default', () => {
    expect(readOptions(['--in-flight', '7,9', '--only', 'nats', '--json'], shape)).toEqual({
      ok: true,
      value: {
        seconds: 10,
        'in-flight': [7, 9],
        only: ['nats'],
        profile: undefined,
        json: true,
      },
    });
  });

  test.each([
    [['--seconds', '0'], '--seconds is a whole number from 1 to 60'],
    [['--seconds', '1,2'], '--seconds is a whole number from 1 to 60'],
    [['--seconds', ''], '--seconds is a whole number from 1 to 60'],
    [['--in-flight', '64,x'], '--in-flight is a list of whole numbers from 1 to 1000'],
    [['--only', 'redis'], '--only is a list of: covey, nats'],
    [['--secnods', '1'], "Unknown option '--secnods'"],
    [['throughput'], 'Unexpected argument'],
  ])('%j is refused, and it is said why', (args, why) => {
    expect(readOptions(args, shape)).toEqual({ ok: false, error: expect.stringContaining(why) });
  });

  test('the usage names all of them with what they are by themselves', () => {
    expect(usageOf('throughput', shape)).toBe(
      'npm run bench -- throughput [--seconds 10] [--in-flight 1,64] [--only covey,nats] [--profile …] [--json]',
    );
  });
});

test('a profile: time in a function itself, and with what it called, recursion once', () => {
  const frame = (functionName: string, url = '', lineNumber = 0) => ({
    functionName,
    url,
    lineNumber,
  });
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2] },
      { id: 2, callFrame: frame('walk', 'file:///home/x/covey/src/base/a.ts', 9), children: [3] },
      { id: 3, callFrame: frame('walk', 'file:///home/x/covey/src/base/a.ts', 9), children: [4] },
      { id: 4, callFrame: frame('', 'file:///x/node_modules/cborg/lib/decode.js', 4) },
    ],
    samples: [2, 3, 4],
    timeDeltas: [1_000, 2_000, 4_000],
  };
  expect(functionTimes(profile)).toEqual([
    { at: '(anonymous) cborg/lib/decode.js:5', selfMs: 4, inclusiveMs: 4 },
    { at: 'walk src/base/a.ts:10', selfMs: 3, inclusiveMs: 7 },
    { at: '(root)', selfMs: 0, inclusiveMs: 7 },
  ]);
});

test('targets: more is better for some, less for others, and what is missing is not met', () => {
  expect([
    atLeast('rate', 1.5, 1, 2).met,
    atLeast('rate', 0.5, 1, 2).met,
    atMost('time', 90, 180, 95).met,
    atMost('time', null, 180, 95).met,
    atMost('time', Number.NaN, 180, 95).met,
  ]).toEqual(['must', 'missed', 'aim', 'not measured', 'not measured']);
  expect(table([atMost('time', 90.12345, 180, 95)])).toMatch(/time +90\.123 +180 +95 {2}aim\n$/);
});

describe('the closed loop', () => {
  const nothing = async (): Promise<void> => undefined;
  const watch = { nowMs: () => performance.now(), opens: nothing, closes: nothing };
  const phase = { name: 'p', inFlight: 8, bulk: undefined, warmMs: 1, ms: 50 };

  test('keeps so many in flight, and counts what was done in its window', async () => {
    let inFlight = 0;
    let most = 0;
    const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
    const client: Client = {
      submit: async () => {
        inFlight += 1;
        most = Math.max(most, inFlight);
        await pause(1);
        return {
          done: pause(1).then(() => {
            inFlight -= 1;
          }),
        };
      },
      submitBulk: async (count) => Promise.all(Array.from({ length: count }, client.submit)),
    };
    const counts = await runPhase(client, phase, watch);
    expect(most).toBe(8);
    expect(counts).toMatchObject({ failed: 0, left: 0, failures: [] });
    expect(counts.done_per_s).toBeGreaterThan(0);
    expect(counts.end_to_end_ms.p50).toBeGreaterThanOrEqual(counts.ack_ms.p50 ?? Infinity);
    await runPhase(client, { ...phase, inFlight: 30, bulk: 10 }, watch);
    expect(most).toBe(30);
  });

  test('a refusal and a bad end are failures, and neither is counted as done', async () => {
    let calls = 0;
    const client: Client = {
      submit: async () => {
        calls += 1;
        if (calls % 2 === 0) throw new Error('BUSY');
        return { done: Promise.reject(new Error('a task is failed')) };
      },
      submitBulk: async () => [],
    };
    const counts = await runPhase(client, phase, watch);
    expect(counts).toMatchObject({ done_per_s: 0, left: 0 });
    expect(counts.failed).toBe(calls);
    expect(new Set(counts.failures)).toEqual(new Set(['Error: BUSY', 'Error: a task is failed']));
  });

  test('an end that is heard before the acknowledgement counts', async () => {
    const ends = new Ends();
    const { done } = ends.expect('t1');
    ends.heard('t1');
    await expect(done).resolves.toBeUndefined();
  });
});

test('payload and result are of 100 bytes', () => {
  expect([JSON.stringify(PAYLOAD).length, JSON.stringify(RESULT).length]).toEqual([100, 100]);
});

test('a ratio is of the best rates; without the other system there is none', () => {
  const system = (best: number) => ({ settings: {}, phases: {}, best_done_per_s: best });
  expect(ratiosOf({ covey: system(300), bullmq: system(200) })).toEqual({
    ratio_bullmq: 1.5,
    ratio_nats_r3: null,
  });
});

test('a memory profile: bytes of a function alone, and with what it called', () => {
  const frame = (functionName: string) => ({ functionName, url: '', lineNumber: 0 });
  const leaf = { callFrame: frame('encode'), selfSize: 4, children: [] };
  const inner = { callFrame: frame('walk'), selfSize: 2, children: [leaf] };
  const outer = { callFrame: frame('walk'), selfSize: 1, children: [inner] };
  expect(functionBytes({ head: outer })).toEqual([
    { at: 'encode', selfBytes: 4, inclusiveBytes: 4 },
    { at: 'walk', selfBytes: 3, inclusiveBytes: 7 },
  ]);
});

test('runners that print the same lines in another order have done the same', () => {
  expect(contentOf('b\na\n')).toEqual(contentOf('a\nb\n'));
  expect(contentOf('a\nb\n').lines).toBe(2);
  expect(contentOf('a\n').digest).not.toBe(contentOf('a\nb\n').digest);
});

test('a task that never started again took as long as it was waited for, at least', () => {
  const struck = (restartMs: number | undefined, needless = 0) => ({ restartMs, needless });
  expect(figuresOf([struck(30), struck(10), struck(20)], true)).toEqual({
    rounds: 3,
    p50_ms: 20,
    max_ms: 30,
    late: 0,
    needless: 0,
  });
  const late = figuresOf([struck(30), struck(undefined), struck(20, 1)], true);
  expect(late).toEqual({ rounds: 3, p50_ms: 30, max_ms: 60_000, late: 1, needless: 1 });
  // A pause is to restart nothing.
  expect(figuresOf([struck(undefined)], false)).toMatchObject({ late: 0, needless: 0 });
  const met = Object.fromEntries(targetsOf({ runner: late }).map((one) => [one.what, one.met]));
  expect(met['kill -9 of runner: started elsewhere, p50 ms']).toBe('aim');
  expect(met['kill -9 of runner: started elsewhere, max ms']).toBe('missed');
});

test('the owner of an id is known before it is submitted: the first of its home in its order', () => {
  const stores = new Map([1, 2, 3, 4].map((index) => [index, String(index).repeat(32)]));
  const all = [...stores.values()];
  for (let i = 0; i < 20; i += 1) {
    const home = all.filter((_, at) => at !== i % 4);
    const random = String(i).padStart(12, '0');
    const id = encodeTaskId({ createdMs: 1, random, fingerprints: home.map(fingerprintOf) });
    expect(stores.get(ownerOf(id, stores) ?? 0)).toBe(ownerOrder(id, home)[0]);
  }
});

test('calls of functions of the project alone; those of one name in one file together', () => {
  const called = (functionName: string, count: number) => ({
    functionName,
    ranges: [{ startOffset: 0, count }],
  });
  const files = [
    { url: 'file:///x/src/base/a.ts', functions: [called('', 2), called('f', 7), called('', 3)] },
    { url: 'file:///x/node_modules/cborg/src/b.js', functions: [called('g', 9)] },
  ];
  expect(functionCalls(files)).toEqual([
    { at: 'f src/base/a.ts', calls: 7 },
    { at: '(anonymous) src/base/a.ts', calls: 5 },
  ]);
});

test('a rate is of the time it took, and of every call a number of its own', async () => {
  const seen = new Set<number>();
  const rate = rateOf(20, (i) => seen.add(i));
  expect(rate).toBeGreaterThan(0);
  expect([seen.has(0), seen.has(seen.size - 1), seen.has(seen.size)]).toEqual([true, true, false]);
  let inFlight = 0;
  let most = 0;
  const act = async (): Promise<void> => {
    inFlight += 1;
    most = Math.max(most, inFlight);
    await new Promise((done) => setImmediate(done));
    inFlight -= 1;
  };
  expect(await rateAtOnce(20, 5, act)).toBeGreaterThan(0);
  expect(most).toBe(5);
});

test('the load of the fullest over the mean, of all members: also of those without a key', () => {
  expect(loadOf(['a', 'a', 'a', 'b'], 2)).toBe(1.5);
  expect(loadOf(['a', 'b'], 4)).toBe(2);
});

test('the samples are tasks that the product can read, and they end', () => {
  const before = started(created());
  expect(taskOf(before).final).toBeUndefined();
  expect(taskOf(ended(before)).final).toMatchObject({ state: 'completed' });
});
