/** Workers of one daemon: registration, hand-out, loss and resumption. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import type { RunOutcome, RunRequest } from '../../src/executors/executor.ts';
import { WORKERS_MAX, type WorkerLink, WorkerRegistry } from '../../src/executors/worker.ts';
import { WORKER_TYPES_TOLD_MAX } from '../../src/membership/limits.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { headerOf } from '../support/task-records.ts';

const request = (id: string, n = 1): RunRequest => ({
  id,
  n,
  runId: `run-${id}-${n}`,
  header: headerOf({ run_timeout_ms: 9_000 }),
  blob: { payload: '{"to":"me"}' },
});

function world() {
  const clock = new SimClock();
  let offers = 0;
  const registry = new WorkerRegistry({
    clock,
    random: new SeededRandom('workers'),
    onCapacity: () => {
      offers += 1;
    },
  });
  const said: unknown[] = [];
  const link: WorkerLink = {
    send: (task) => said.push(task) > 0,
    cancel: (run) => said.push({ cancel: run }),
    stopping: (holdMs) => said.push({ stopping: holdMs }),
    close: () => undefined,
  };
  const register = (concurrency: number, at = link): string => {
    const types = [{ type: 'mail', concurrency }];
    const registered = registry.register(at, types, 'worker', (offer) => offer());
    if (!registered.ok) throw new Error(registered.error.message);
    return registered.value;
  };
  const outcomes: (RunOutcome | 'lost')[] = [];
  const handlers = {
    output: () => undefined,
    progress: (value: unknown) => said.push({ progress: value }),
    ended: (outcome: RunOutcome) => outcomes.push(outcome),
    lost: () => outcomes.push('lost'),
  };
  return { clock, registry, link, said, register, outcomes, handlers, offers: () => offers };
}

describe('the registry of workers', () => {
  it('hands attempts to connected workers and hears their ends', () => {
    const { registry, register, said, outcomes, handlers } = world();
    const worker = register(2);
    expect(registry.capacity('mail')).toEqual({ total: 2, free: 2 });
    expect(registry.start(request('t1'), handlers)).toBeDefined();
    expect(said).toEqual([
      {
        id: 't1',
        attempt: 1,
        run_id: 'run-t1-1',
        type: 'mail',
        payload: { to: 'me' },
        deadline_ms: 9_000,
      },
    ]);
    expect(registry.capacity('mail')).toEqual({ total: 2, free: 1 });
    expect(registry.progress(worker, 't1', 1, 50)).toBe(true);
    expect(registry.finish(worker, 't1', 1, { out: 'completed', res: '1' })).toBe(true);
    expect(outcomes).toEqual([{ out: 'completed', res: '1' }]);
    expect(registry.finish(worker, 't1', 1, { out: 'completed' })).toBe(false);
    expect(registry.capacity('mail')).toEqual({ total: 2, free: 2 });
  });

  it('chooses the worker with most room, and says so when there is none', () => {
    const { registry, register, handlers, link } = world();
    const sent: string[] = [];
    const named = (name: string): WorkerLink => ({ ...link, send: () => sent.push(name) > 0 });
    register(1, named('small'));
    register(3, named('large'));
    for (let i = 0; i < 4; i++) expect(registry.start(request(`t${i}`), handlers)).toBeDefined();
    expect(registry.start(request('t4'), handlers)).toBeUndefined();
    expect(sent.filter((name) => name === 'small')).toHaveLength(1);
    expect(registry.capacity('other')).toEqual({ total: 0, free: 0 });
  });

  it('does not count on a worker that takes nothing more to read, until it has read', () => {
    const { registry, register, handlers, link, offers } = world();
    let takes = false;
    const worker = register(1, { ...link, send: () => takes });
    expect(registry.start(request('t1'), handlers)).toBeUndefined();
    expect(registry.capacity('mail')).toEqual({ total: 1, free: 0 });
    takes = true;
    expect(registry.start(request('t1'), handlers)).toBeUndefined();
    const before = offers();
    registry.drained(worker);
    registry.drained(worker);
    expect(offers()).toBe(before + 1);
    expect(registry.start(request('t1'), handlers)).toBeDefined();
  });

  it('hands to another what the worker with most room does not take', () => {
    const { registry, register, said, handlers, link } = world();
    register(8, { ...link, send: () => false });
    register(1);
    expect(registry.start(request('t1'), handlers)).toBeDefined();
    expect(said).toMatchObject([{ id: 't1' }]);
    expect(registry.capacity('mail')).toEqual({ total: 9, free: 0 });
  });

  it('loses the attempts of a connection that ended, unless the daemon is stopping', () => {
    const { registry, register, outcomes, handlers } = world();
    const worker = register(1);
    registry.start(request('t1'), handlers);
    registry.gone(worker, false);
    registry.gone(worker, false);
    expect(outcomes).toEqual(['lost']);
    expect(registry.has(worker)).toBe(false);

    const other = register(1);
    registry.start(request('t2'), handlers);
    registry.gone(other, true);
    expect(outcomes).toEqual(['lost']);
  });

  it('gives nothing more to a worker that unregistered, also when its attempts end', () => {
    const { registry, register, outcomes, handlers } = world();
    const worker = register(2);
    registry.start(request('t1'), handlers);
    registry.unregister(worker);
    expect(registry.start(request('t2'), handlers)).toBeUndefined();
    expect(registry.finish(worker, 't1', 1, { out: 'completed' })).toBe(true);
    expect(outcomes).toHaveLength(1);
    expect(registry.capacity('mail')).toEqual({ total: 0, free: 0 });
    expect(registry.start(request('t3'), handlers)).toBeUndefined();
  });

  it('insists on a stop after its grace, however often it is repeated', async () => {
    const { clock, registry, register, said, outcomes, handlers } = world();
    register(1);
    const execution = registry.start(request('t1'), handlers);
    said.length = 0;
    // The owner repeats itself every two seconds; the grace is five.
    for (let second = 0; second < 8; second += 2) {
      clock.after(second * 1_000, () => execution?.stop(second === 0 ? 'cancel' : 'stale', 5_000));
    }
    await clock.runFor(4_900);
    expect(outcomes).toEqual([]);
    await clock.runFor(200);
    expect(outcomes).toEqual([{ out: 'canceled', err: 'the worker did not end it after cancel' }]);
    expect(said).toEqual([{ cancel: { id: 't1', attempt: 1, reason: 'cancel', graceMs: 5_000 } }]);
    expect(registry.capacity('mail').free).toBe(1);
  });

  it('shortens the grace when a stop is repeated with less', async () => {
    const { clock, registry, register, outcomes, handlers } = world();
    register(1);
    const execution = registry.start(request('t1'), handlers);
    execution?.stop('timeout', 5_000);
    execution?.stop('timeout', 100);
    await clock.runFor(101);
    expect(outcomes).toMatchObject([{ out: 'timeout' }]);
  });

  it('calls what a stopped worker answers by the reason of the stop, except a result', () => {
    const { registry, register, outcomes, handlers } = world();
    const worker = register(2);
    registry.start(request('t1'), handlers)?.stop('timeout', 1_000);
    registry.start(request('t2'), handlers)?.stop('cancel', 1_000);
    registry.finish(worker, 't1', 1, { out: 'failed', err: 'aborted' });
    registry.finish(worker, 't2', 1, { out: 'completed', res: '1' });
    expect(outcomes).toEqual([
      { out: 'timeout', err: 'aborted' },
      { out: 'completed', res: '1' },
    ]);
  });

  it('lets a worker that came back go on, once for each attempt', () => {
    const { registry, register, outcomes, handlers } = world();
    const worker = register(2);
    expect(registry.resume(worker, request('t1'), handlers)).toBeDefined();
    expect(registry.resume(worker, request('t1'), handlers)).toBeUndefined();
    expect(registry.resume('nobody', request('t2'), handlers)).toBeUndefined();
    expect(registry.capacity('mail').free).toBe(1);
    expect([registry.holds(worker, 't1'), registry.holds(worker, 't2')]).toEqual([true, false]);
    expect(registry.running().map((run) => run.id)).toEqual(['t1']);
    registry.finish(worker, 't1', 1, { out: 'completed' });
    expect(outcomes).toHaveLength(1);
    expect(registry.capacity('mail').free).toBe(2);
  });

  it('offers a worker no task before its answer is out', () => {
    const { registry, link, handlers, offers } = world();
    const later: (() => void)[] = [];
    registry.register(link, [{ type: 'mail', concurrency: 1 }], 'w', (offer) => later.push(offer));
    expect(registry.capacity('mail')).toEqual({ total: 1, free: 0 });
    expect(registry.start(request('t1'), handlers)).toBeUndefined();
    for (const offer of later) offer();
    expect(offers()).toBe(1);
    expect(registry.start(request('t1'), handlers)).toBeDefined();
  });

  it('takes a limited number of workers', () => {
    const { registry, register, link } = world();
    for (let i = 0; i < WORKERS_MAX; i++) register(1);
    expect(registry.register(link, [], 'one more', (offer) => offer())).toMatchObject({
      error: { code: 'BUSY', details: { retry_after_ms: 1_000 } },
    });
    expect(registry.types()).toEqual(['mail']);
  });

  it('takes as many types as others can be told of, and no more', () => {
    const { registry, link } = world();
    const register = (...types: string[]) => {
      const offered = types.map((type) => ({ type, concurrency: 1 }));
      return registry.register(link, offered, 'worker', (offer) => offer());
    };
    const most = Array.from({ length: WORKER_TYPES_TOLD_MAX }, (_, i) => `t${i}`);
    expect(register(...most).ok).toBe(true);
    // The same types again are no more of them.
    expect(register('t0', 't1').ok).toBe(true);
    expect(register('t0', 'one more')).toMatchObject({
      error: { code: 'BUSY', details: { what: 'types of workers' } },
    });
    expect(registry.types()).toEqual(most);
  });
});
