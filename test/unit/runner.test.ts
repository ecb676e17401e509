/** The runner on simulated time: starts once, delivers ends, times out, reports, and stops taking. */
import { describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { err, ok } from '../../src/base/result.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import type { RunHandlers, StopReason } from '../../src/executors/executor.ts';
import { SimClock } from '../../src/sim/clock.ts';
import type { TaskHeader } from '../../src/tasks/facts.ts';
import type { RunOrder } from '../../src/tasks/order.ts';
import { ORPHAN_MS } from '../../src/tasks/run-report.ts';
import { EARLIER_RUN, Runner } from '../../src/tasks/runner.ts';
import { PAUSE_TTL_MS, Slots } from '../../src/tasks/slots.ts';
import type { WireMap } from '../../src/wire/envelope.ts';
import { MemoryMesh } from '../support/memory-messaging.ts';
import { factOf, headerOf, startOf, storeOf } from '../support/task-records.ts';

const OWNER = storeOf('owner');
const OTHER = storeOf('other');

/** The two home stores, as far as a runner talks to them. */
function homeOn(mesh: MemoryMesh) {
  const done: { at: string; body: WireMap }[] = [];
  const tails: WireMap[] = [];
  const stale: string[] = [];
  for (const at of ['owner', 'other']) {
    const end = mesh.join(at);
    end.onRequest('run.done', (_from, body) => {
      done.push({ at, body });
      return ok({ taken: true });
    });
    end.onRequest('run.report', () => ok({ stale: [...stale] }));
    end.onMessage('run.tail', (_from, body) => tails.push(body));
  }
  return { done, tails, stale };
}

function world() {
  const clock = new SimClock();
  const mesh = new MemoryMesh(clock);
  const messaging = mesh.join('me');
  const slots = new Slots({
    clock,
    random: new SeededRandom('slots'),
    messaging,
    execSlots: 2,
    workerCapacity: () => ({ total: 9, free: 9 }),
    directoryExists: async () => true,
    closed: () => undefined,
    onChange: () => undefined,
    offerLocally: () => undefined,
  });
  const started: RunHandlers[] = [];
  const stops: [StopReason, number][] = [];
  let takes = true;
  const execution = {
    stop: (reason: StopReason, graceMs: number) => stops.push([reason, graceMs]),
  };
  const runner = new Runner({
    clock,
    log: silentLogger,
    messaging,
    slots,
    killGraceMs: 5_000,
    bootCount: () => 7,
    peerOfStore: (store) => (store === OWNER ? 'owner' : store === OTHER ? 'other' : undefined),
    execute: (_request, _demand, handlers) => {
      if (!takes) return undefined;
      started.push(handlers);
      return execution;
    },
  });
  const home = homeOn(mesh);
  const order = (runId: string, header: Partial<TaskHeader> = {}): RunOrder => ({
    // Each of a task of its own, but for the second and third attempt of one.
    id: runId.startsWith('run1') ? 'TASK' : `TASK of ${runId}`,
    n: 1,
    runId,
    header: headerOf({ type: 'exec', argv: ['true'], cwd: '/', ...header }),
    blob: {},
    home: [OWNER, OTHER],
    ownerStore: OWNER,
    startFact: factOf(OWNER, 1, startOf(runId)),
  });
  const start = (runId: string, header: Partial<TaskHeader> = {}) =>
    runner.start(order(runId, header), slots.reserve('exec:/') ?? 'none');
  return {
    clock,
    mesh,
    runner,
    slots,
    started,
    stops,
    ...home,
    order,
    start,
    execution,
    refuse: () => {
      takes = false;
    },
  };
}

describe('the runner', () => {
  it('carries an attempt out and brings its end to the owner', async () => {
    const { clock, runner, slots, started, done, start } = world();
    expect(start('run1')).toEqual({ taken: true });
    expect([runner.activeCount, slots.execBusy]).toEqual([1, 1]);
    started[0]?.ended({ out: 'completed', exit: 0 });
    await clock.runFor(10);
    expect(done).toMatchObject([
      {
        at: 'owner',
        body: { id: 'TASK', end: { t: 'end', run_id: 'run1', out: 'completed', exit: 0 } },
      },
    ]);
    expect(done[0]?.body.start).toHaveLength(1);
    expect([runner.activeCount, slots.execBusy]).toEqual([0, 0]);
    expect(runner.query('run1', OWNER)).toBe('ended');
  });

  it('starts an attempt once, however often it is asked', async () => {
    const { clock, runner, started, start, order } = world();
    expect([start('run1'), start('run1')]).toEqual([{ taken: true }, { taken: true }]);
    started[0]?.ended({ out: 'completed' });
    await clock.runFor(10);
    expect(runner.start(order('run1'), 'none')).toEqual({ taken: true });
    expect(started).toHaveLength(1);
  });

  it('starts no other attempt of a task while it holds one that the owner has not heard of', async () => {
    const { clock, mesh, runner, slots, started, done, start, order } = world();
    mesh.gone.add('owner');
    mesh.frozen.add('other');
    start('run1');
    expect(runner.held('TASK')).toEqual([order('run1').startFact]);
    expect(start('run1 again')).toEqual({ taken: false, code: EARLIER_RUN });
    started[0]?.ended({ out: 'completed', exit: 0 });
    await clock.runFor(10);
    mesh.gone.delete('owner');
    // Its delivery waits for the store that does not answer; whoever asks gets it at once.
    expect(start('run1 again')).toEqual({ taken: false, code: EARLIER_RUN });
    expect([started.length, slots.execFree]).toEqual([1, 2]);
    await clock.runFor(10);
    expect(done).toMatchObject([{ at: 'owner', body: { end: { run_id: 'run1' } } }]);
    expect([runner.activeCount, runner.held('TASK')]).toEqual([0, []]);
    await clock.runFor(20_000);
    expect(done).toHaveLength(1);
    expect(start('run1 later')).toEqual({ taken: true });
  });

  it('starts the next attempt while the answer to the end of the last one is still on its way', () => {
    const { runner, slots, started, start, order } = world();
    start('run1');
    started[0]?.ended({ out: 'failed', exit: 1 });
    const credit = slots.reserve('exec:/') ?? 'none';
    expect(runner.start(order('run1 again'), credit, new Set(['run1']))).toEqual({ taken: true });
    expect(started).toHaveLength(2);
  });

  it('never starts what it was asked about and did not know', () => {
    const { runner, started, start } = world();
    expect(runner.query('run1', OWNER)).toBe('unknown');
    expect(start('run1')).toEqual({ taken: false, code: 'void' });
    expect(started).toEqual([]);
  });

  it('refuses what it has no room for, what no executor takes, and everything when it stops', () => {
    const { runner, slots, start, order, refuse } = world();
    start('run1');
    start('run2');
    expect(runner.start(order('run3'), 'no credit')).toEqual({
      taken: false,
      code: 'no_free_slot',
    });
    runner.stopTaking();
    expect(start('run4')).toEqual({ taken: false, code: 'stopping' });
    const other = world();
    other.refuse();
    expect(other.start('run1')).toEqual({ taken: false, code: 'no_worker' });
    expect([other.slots.execBusy, other.runner.activeCount]).toEqual([0, 0]);
    refuse();
    expect(slots.execBusy).toBe(2);
  });

  it('brings an end to another home store when the owner cannot be reached, for as long as it takes', async () => {
    const { clock, mesh, runner, started, done, start } = world();
    start('run1');
    mesh.gone.add('owner').add('other');
    started[0]?.ended({ out: 'failed', exit: 1 });
    await clock.runFor(20_000);
    expect(done).toEqual([]);
    expect(runner.activeCount).toBe(1);
    mesh.gone.delete('other');
    await clock.runFor(4_000);
    expect(done).toMatchObject([{ at: 'other', body: { end: { out: 'failed' } } }]);
    expect(runner.activeCount).toBe(0);
  });

  it('keeps an end that a store did not take', async () => {
    const { clock, mesh, runner, started, start } = world();
    const answers = [ok({ taken: false }), err(coveyError('STORE_FULL', { peer: 'x' }))];
    for (const at of ['owner', 'other']) {
      mesh.end(at)?.onRequest('run.done', () => answers.pop() ?? ok({ taken: true }));
    }
    start('run1');
    started[0]?.ended({ out: 'completed' });
    await clock.runFor(100);
    expect(runner.activeCount).toBe(1);
    await clock.runFor(1_000);
    expect(runner.activeCount).toBe(0);
  });

  it('ends an attempt at its timeout, also one that was resumed', async () => {
    const { clock, runner, stops, start, order, execution } = world();
    start('run1', { run_timeout_ms: 1_000 });
    await clock.runFor(999);
    expect(stops).toEqual([]);
    await clock.runFor(2);
    expect(stops).toEqual([['timeout', 5_000]]);
    expect(runner.resume(order('run2', { run_timeout_ms: 1_000 }), () => execution)).toBe(true);
    await clock.runFor(1_001);
    expect(stops).toHaveLength(2);
  });

  it('resumes an attempt once', () => {
    const { runner, order, execution } = world();
    expect(runner.resume(order('run1'), () => undefined)).toBe(false);
    expect(runner.activeCount).toBe(0);
    expect(runner.resume(order('run1'), () => execution)).toBe(true);
    expect(runner.resume(order('run1'), () => undefined)).toBe(true);
    expect(runner.activeCount).toBe(1);
  });

  it('reports what runs, and ends what a home store knows to be over', async () => {
    const { clock, mesh, runner, stops, start, stale } = world();
    start('run1');
    start('run2');
    stale.push('run2', 'unknown');
    void runner.report();
    await clock.runFor(10);
    expect(mesh.sent.filter(({ type }) => type === 'run.report')).toMatchObject([
      { body: { runs: [{ run_id: 'run1' }, { run_id: 'run2' }] } },
      { body: { runs: [{ run_id: 'run1' }, { run_id: 'run2' }] } },
    ]);
    expect(new Set(stops.map(([reason]) => reason))).toEqual(new Set(['stale']));
  });

  it('ends a run that is given up, and keeps its end for nobody', async () => {
    const { clock, mesh, runner, stops, started, start } = world();
    for (const at of ['owner', 'other']) {
      const end = mesh.end(at);
      end?.onRequest('run.report', () => ok({ stale: [], unknown: ['run1'] }));
      end?.onRequest('run.done', () => err(coveyError('NOT_FOUND', { what: 'task TASK' })));
    }
    start('run1');
    const report = async () => {
      void runner.report();
      await clock.runFor(10);
    };
    await report();
    await clock.runFor(ORPHAN_MS);
    await report();
    expect(stops).toEqual([['stale', 5_000]]);
    started[0]?.ended({ out: 'canceled' });
    await clock.runFor(10_000);
    expect(runner.activeCount).toBe(1);
    await report();
    expect(runner.activeCount).toBe(0);
  });

  it('sends the last output to the home while it runs, only when there is something new', async () => {
    const { clock, runner, started, tails, start } = world();
    runner.startTimers();
    start('run1');
    started[0]?.output('stdout', new Uint8Array(100_000).fill(1));
    started[0]?.output('stdout', new Uint8Array([2]));
    started[0]?.progress(50);
    await clock.runFor(3_500);
    runner.close();
    expect(tails).toHaveLength(2);
    expect(tails[0]).toMatchObject({ id: 'TASK', n: 1, run_id: 'run1', boot: 7, progress: 50 });
    const stdout = tails[0]?.stdout;
    expect(stdout instanceof Uint8Array && [stdout.length, stdout.at(-1)]).toEqual([65_536, 2]);
  });

  it('gives out no slot for a while when the system starts no command', async () => {
    const { clock, slots, started, done, start } = world();
    start('run1');
    started[0]?.ended({ out: 'refused', code: 'cannot_start', err: 'spawn EMFILE' });
    expect([slots.execBusy, slots.execFree]).toEqual([0, 0]);
    await clock.runFor(10);
    expect(done).toMatchObject([{ body: { end: { out: 'refused', code: 'cannot_start' } } }]);
    await clock.runFor(PAUSE_TTL_MS);
    expect(slots.execFree).toBe(2);
  });

  it('takes no more ends before its last boot ends, and brings home those it took', async () => {
    const { clock, mesh, runner, started, done, start } = world();
    start('run1');
    start('run2');
    mesh.gone.add('owner').add('other');
    started[0]?.ended({ out: 'completed' });
    expect(runner.takesEnds).toBe(true);
    let isDrained = false;
    void runner.drain(5_000).then(() => {
      isDrained = true;
    });
    expect(runner.takesEnds).toBe(false);
    await clock.runFor(2_000);
    expect(isDrained).toBe(false);
    mesh.gone.clear();
    await clock.runFor(2_000);
    expect([isDrained, done.length, runner.activeCount]).toEqual([true, 1, 1]);
  });

  it('waits for no store that stays away', async () => {
    const { clock, mesh, runner, started, start } = world();
    start('run1');
    mesh.gone.add('owner').add('other');
    started[0]?.ended({ out: 'completed' });
    let isDrained = false;
    void runner.drain(5_000).then(() => {
      isDrained = true;
    });
    await clock.runFor(5_100);
    expect([isDrained, runner.activeCount]).toEqual([true, 1]);
  });

  it('calls an attempt lost when its worker program is gone', async () => {
    const { clock, started, done, start } = world();
    start('run1');
    started[0]?.lost();
    await clock.runFor(10);
    expect(done).toMatchObject([{ body: { end: { out: 'lost', loss: 1, proven: true } } }]);
  });
});
