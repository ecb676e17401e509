/** Messages about runs from other members: whatever they hold, each is answered and nothing is thrown. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/hash.ts';
import { encodeFacts, encodeRecord } from '../../src/records/record.ts';
import type { StartFact } from '../../src/tasks/facts.ts';
import type { RunOrder } from '../../src/tasks/order.ts';
import { type RunMessagesDeps, serveRuns } from '../../src/tasks/run-messages.ts';
import { Tails } from '../../src/tasks/tails.ts';
import type { WireMap } from '../../src/wire/envelope.ts';
import { AttemptsWorld, type TaskHost } from '../support/attempts-world.ts';
import { endOf, factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

/** For how long host a has been in touch with any owner. */
let inTouchMs = Number.POSITIVE_INFINITY;

async function world() {
  inTouchMs = Number.POSITIVE_INFINITY;
  const tasks = await AttemptsWorld.of('a', 'b');
  const a = tasks.host('a');
  const orders: RunOrder[] = [];
  const known: ReadonlySet<string>[] = [];
  const runner = {
    start: (order: RunOrder, _credit: string, ended: ReadonlySet<string>) => {
      orders.push(order);
      known.push(ended);
      return { taken: true };
    },
    held: () => [],
    query: () => 'unknown',
    runs: () => [],
  };
  // What the handlers under test use of their room.
  const deps = {
    clock: tasks.stores.clock,
    messaging: a.messaging,
    replica: a.replica,
    attempts: a.attempts,
    tails: new Tails(a.store),
    runner,
    view: { inTouchForMs: () => inTouchMs, self: () => a.view.self() },
    owner: { heard: () => undefined },
    reader: {},
    spool: {},
  };
  serveRuns(deps as unknown as RunMessagesDeps);
  const call = (type: string, body: WireMap) =>
    tasks.stores.run(tasks.host('b').messaging.call('peer-a', type, body));
  return { tasks, a, orders, known, call };
}

/** An order for host `a`, unless `more` says otherwise. */
const placedAt = (a: TaskHost, more: Partial<StartFact> = {}, header?: Uint8Array) => {
  const { peerId, storeId, bootCount } = a.view.self();
  const runner = { runner: peerId, runner_store: storeId, runner_boot: bootCount };
  const start = startOf('run1', { ...runner, ...more });
  const record = withFacts(newRecord([a.storeId]), factOf(a.storeId, 1, start));
  return encodeRecord(header === undefined ? record : { ...record, header });
};

describe('messages about runs', () => {
  it('bring an attempt to its runner, and its end to the home', async () => {
    const { tasks, a, orders, call } = await world();
    const body = { record: placedAt(a), run_id: 'run1', owner: a.storeId, credit: 'c' };
    expect(await call('run.start', body)).toEqual({ ok: true, value: { taken: true } });
    expect(orders).toMatchObject([{ runId: 'run1', n: 1, ownerStore: a.storeId }]);

    const { id } = await tasks.submit();
    const start = await tasks.place(a, id);
    const end = { ...endOf(start.run_id) };
    expect(await call('run.done', { id, end })).toEqual({ ok: true, value: { taken: true } });
    expect(tasks.task(a, id).final?.state).toBe('completed');
  });

  it('are said again after a silence, since the network may have kept them', async () => {
    const { tasks, a, orders, call } = await world();
    inTouchMs = 100;
    const body = { record: placedAt(a), run_id: 'run1', owner: storeOf('a'), credit: 'c' };
    const kept = await call('run.start', body);
    const since = kept.ok ? kept.value.since_ms : undefined;
    expect(kept).toMatchObject({ ok: true, value: { taken: false, code: 'say_again' } });
    expect(await call('run.start', { ...body, again: Number(since) - 5_000 })).toMatchObject({
      value: { code: 'say_again' },
    });
    expect(orders).toEqual([]);
    inTouchMs += tasks.stores.clock.nowMs() - Number(since) - 100;
    expect(await call('run.start', { ...body, again: Number(since) })).toMatchObject({
      value: { taken: true },
    });
    expect(orders).toHaveLength(1);
  });

  it('say with an order which runs of the task the owner knows to be over', async () => {
    const { a, known, call } = await world();
    const body = { record: placedAt(a), run_id: 'run1', owner: a.storeId, credit: 'c' };
    await call('run.start', body);
    await call('run.start', { ...body, known: ['run0'] });
    expect(known).toEqual([new Set(), new Set(['run0'])]);
  });

  it('let a home store learn of a run whose start it has not heard of, from the report of its runner', async () => {
    const { tasks, a, call } = await world();
    const { id } = await tasks.submit();
    const fact = factOf(storeOf('far'), 1, startOf('run7', { runner: 'peer-b' }));
    const asked: WireMap[] = [];
    tasks.host('b').messaging.onRequest('run.held', (_from, body) => {
      asked.push(body);
      return {
        ok: true,
        value: {
          runs: [
            [id, encodeFacts([fact])],
            ['not asked for', []],
          ],
        },
      };
    });
    const runs = [{ id, run_id: 'run7' }];
    expect(await call('run.report', { runs })).toMatchObject({ value: { stale: [] } });
    await tasks.stores.clock.runFor(100);
    expect(tasks.task(a, id).attempts.map(({ start }) => start.run_id)).toEqual(['run7']);
    await call('run.report', { runs });
    await tasks.stores.clock.runFor(100);
    expect(asked).toEqual([{ ids: [id] }]);
  });

  it.each<[string, (a: TaskHost) => Partial<StartFact>]>([
    ['an earlier boot', (a) => ({ runner_boot: a.view.self().bootCount - 1 })],
    ['a later boot, as a store that was set back would have it', () => ({ runner_boot: 99 })],
    ['a store that was wiped since', () => ({ runner_store: storeOf('wiped') })],
    ['another peer', () => ({ runner: 'peer-b' })],
  ])('start nothing that was placed on %s', async (_, more) => {
    const { a, orders, call } = await world();
    const record = placedAt(a, more(a));
    const body = { record, run_id: 'run1', owner: a.storeId, credit: 'c' };
    expect(await call('run.start', body)).toEqual({
      ok: true,
      value: { taken: false, code: 'other_boot' },
    });
    expect(orders).toEqual([]);
  });

  it.each<[string, string, (a: TaskHost) => WireMap]>([
    ['no record', 'run.start', () => ({ run_id: 'run1' })],
    ['another run', 'run.start', (a) => ({ record: placedAt(a), run_id: 'run2' })],
    [
      'an unreadable header',
      'run.start',
      (a) => ({ record: placedAt(a, {}, utf8('x')), run_id: 'run1' }),
    ],
    ['an end that is none', 'run.done', () => ({ id: 'x', end: { t: 'end', run_id: 'run1' } })],
    ['no end', 'run.done', () => ({ id: 'x' })],
    ['another fact', 'run.done', () => ({ id: 'x', end: { ...startOf('run1') } })],
  ])('are refused when they hold %s', async (_, type, bodyAt) => {
    const { a, orders, call } = await world();
    expect(await call(type, bodyAt(a))).toMatchObject({ error: { code: 'INVALID_PARAMS' } });
    expect(orders).toEqual([]);
  });

  it('report runs of tasks, and say nothing about what is no task', async () => {
    const { tasks, a, call } = await world();
    const { id } = await tasks.submit();
    const start = await tasks.place(a, id);
    await tasks.stores.run(a.attempts.take(id, endOf(start.run_id), undefined));
    const key = { ...newRecord([a.storeId]), id: 'key-1', kind: 'key' as const, header: utf8('k') };
    await tasks.stores.run(a.replica.change(key.id, () => ({ value: 0, next: key })));
    const runs = [{ id, run_id: start.run_id }, { id: key.id, run_id: 'r' }, { id: 7 }, 'x'];
    const answer = await call('run.report', { runs });
    expect(answer.ok && answer.value).toEqual({ stale: [start.run_id], unknown: [] });
    // Of one nothing is known; the other one was dropped here a moment ago.
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 7 };
    const gone = newRecord([a.storeId]);
    await tasks.stores.run(a.replica.change(gone.id, () => ({ value: 0, next: gone })));
    await tasks.stores.run(a.replica.bury(gone.id, stone));
    const others = [
      { id: 'NOWHERE', run_id: 'run8' },
      { id: gone.id, run_id: 'run9' },
    ];
    expect(await call('run.report', { runs: others })).toMatchObject({
      value: { stale: ['run9'], unknown: ['run8'] },
    });
    expect(await call('run.report', {})).toMatchObject({ ok: true });
  });
});
