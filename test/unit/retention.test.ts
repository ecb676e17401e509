/** How final tasks are forgotten: by age, by count, with a tombstone. */
import { describe, expect, it } from 'vitest';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import { withFact } from '../../src/records/record.ts';
import { SimSpool } from '../../src/sim/spool.ts';
import { KEY_TTL_MS, keyRecordId } from '../../src/tasks/dedupe.ts';
import { ownerOf } from '../../src/tasks/ownership.ts';
import { Retention, SWEEP_INTERVAL_MS, SWEEP_MAX } from '../../src/tasks/retention.ts';
import { Tails } from '../../src/tasks/tails.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { AttemptsWorld, type TaskHost } from '../support/attempts-world.ts';
import { endOf, factOf, finalOf, newRecord, withFacts } from '../support/task-records.ts';

const RETENTION_MS = 60_000;
const TOMBSTONE_TTL_MS = 600_000;

function retentionAt(world: AttemptsWorld, host: TaskHost, countMax = 1_000) {
  const spool = new SimSpool();
  const log = new RecordingLogger();
  const tails = new Tails(host.store);
  const retention = new Retention({
    clock: world.stores.clock,
    log,
    replica: host.replica,
    attempts: host.attempts,
    view: host.view,
    tails,
    spool,
    countMax,
    tombstoneTtlMs: TOMBSTONE_TTL_MS,
  });
  const sweep = () => world.stores.run(retention.sweep());
  return { log, spool, tails, retention, sweep };
}

async function finished(world: AttemptsWorld): Promise<string> {
  const [a] = world.hosts;
  if (a === undefined) throw new Error('no host');
  const { id } = await world.submit();
  const start = await world.place(a, id);
  await world.stores.run(a.attempts.take(id, endOf(start.run_id), undefined));
  return id;
}

/** Finished tasks whose time has passed. */
async function putPast(world: AttemptsWorld, host: TaskHost, count: number): Promise<void> {
  const final = factOf(host.storeId, 1, finalOf({ drop_at: 1 }));
  const puts = Array.from({ length: count }, () => {
    const next = withFacts(newRecord([host.storeId]), final);
    return host.replica.change(next.id, () => ({ value: 0, next }));
  });
  await world.stores.run(Promise.all(puts));
}

describe('retention', () => {
  it('forgets a final task at its time, with its output, and leaves a tombstone', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { spool, tails, sweep } = retentionAt(world, a);
    const id = await finished(world);
    const open = await world.submit();
    const runId = world.task(a, id).attempts[0]?.start.run_id ?? '';
    spool.append(runId, 'stdout', new Uint8Array([1]));
    const tail = {
      n: 1,
      run_id: runId,
      seq: 1,
      stdout: new Uint8Array(),
      stderr: new Uint8Array(),
    };
    await world.stores.run(tails.put(id, tail));

    expect(await sweep()).toBe(0);
    await world.stores.clock.runFor(RETENTION_MS);
    expect(await sweep()).toBe(1);
    expect(a.replica.get(id)).toBeUndefined();
    expect(a.replica.tombstone(id)).toMatchObject({ final: 'completed' });
    expect([await spool.list(), tails.get(id)]).toEqual([[], undefined]);
    expect(a.replica.get(open.id)).toBeDefined();

    await world.stores.clock.runFor(TOMBSTONE_TTL_MS + 1);
    await sweep();
    expect(a.replica.tombstone(id)).toBeUndefined();
  });

  it('says so when a task was started here that others had ended and forgotten', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const { log } = retentionAt(world, b);
    const [started, waiting] = [await world.submit(), await world.submit()];
    const start = await world.place(a, started.id);
    const stone = { final: 'canceled', digest: '', droppedWallMs: 1 };
    await world.stores.run(b.replica.bury(waiting.id, stone));
    expect(log.lines).toEqual([]);
    await world.stores.run(b.replica.bury(started.id, stone));
    expect(log.lines).toMatchObject([
      {
        level: 'warn',
        message: 'a task that others had ended and forgotten was started on this side',
        fields: { task: started.id, final: 'canceled', runs: [start.run_id] },
      },
    ]);
  });

  it('goes on when output cannot be deleted, and says so', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { log, spool, sweep } = retentionAt(world, a);
    const ids = [await finished(world), await finished(world)];
    const runId = world.task(a, ids[0] ?? '').attempts[0]?.start.run_id ?? '';
    spool.append(runId, 'stdout', new Uint8Array([1]));
    spool.breakRun(runId);
    await world.stores.clock.runFor(RETENTION_MS);
    expect(await sweep()).toBe(2);
    expect(ids.map((id) => a.replica.get(id))).toEqual([undefined, undefined]);
    expect(log.lines).toMatchObject([
      { level: 'warn', fields: { why: expect.stringContaining('cannot be deleted') } },
    ]);
  });

  it('lets the oldest go when there are too many, by their owners', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) {
      ids.push(await finished(world));
      await world.stores.clock.runFor(10);
    }
    const sweeps = world.hosts.map((host) => retentionAt(world, host, 2).sweep);
    for (let i = 0; i < 4; i++) for (const sweep of sweeps) await sweep();
    for (const host of world.hosts) {
      expect(ids.filter((id) => host.replica.get(id) !== undefined)).toEqual(ids.slice(-2));
    }
  });

  it('leaves it to the owner to shorten', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const id = await finished(world);
    const [a, b] = [world.host('a'), world.host('b')];
    const owner = ownerOf(taskOf(a.replica.get(id) ?? newRecord([])), a.view);
    const other = owner === a.storeId ? b : a;
    expect(await retentionAt(world, other, 0).sweep()).toBe(0);
    expect(world.task(other, id).dropAt).toBeGreaterThan(world.stores.clock.wallMs());
  });

  it('never forgets what is not final, however many there are', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    for (let i = 0; i < 5; i++) await world.submit();
    await world.stores.clock.runFor(RETENTION_MS * 100);
    expect(await retentionAt(world, a, 0).sweep()).toBe(0);
    expect(a.replica.unfinishedCount).toBe(5);
  });

  it('forgets dedupe keys that nobody uses, without a tombstone', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const id = keyRecordId('default', 'nightly');
    const at = world.stores.clock.wallMs();
    const key = { ...newRecord([a.storeId]), id, kind: 'key' as const };
    await world.stores.run(
      a.replica.change(id, ({ fact }) => ({
        value: 0,
        next: withFact(key, fact({ t: 'id', id: 'X', g: 1, at })),
      })),
    );
    const { sweep } = retentionAt(world, a);
    await sweep();
    expect(a.replica.get(id)).toBeDefined();
    await world.stores.clock.runFor(8 * 86_400_000);
    await sweep();
    expect([a.replica.get(id), a.replica.tombstone(id)]).toEqual([undefined, undefined]);
  });

  it('goes on at once while more has to be dropped than a sweep drops', async () => {
    const world = await AttemptsWorld.of('a');
    const a = world.host('a');
    await putPast(world, a, SWEEP_MAX + 100);
    const { retention } = retentionAt(world, a);
    retention.start();
    await world.stores.clock.runFor(SWEEP_INTERVAL_MS * 1.9);
    expect(a.replica.heldCount).toBe(0);
    retention.close();
  });

  it('keeps a dedupe key that is claimed while the sweep is on its way to it', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const id = keyRecordId('default', 'nightly');
    const key = { ...newRecord([a.storeId]), id, kind: 'key' as const };
    const claim = (task: string, g: number) =>
      a.replica.change(id, ({ current, fact }) => {
        const at = world.stores.clock.wallMs();
        return { value: 0, next: withFact(current ?? key, fact({ t: 'id', id: task, g, at })) };
      });
    await world.stores.run(claim('X', 1));
    await world.stores.clock.runFor(8 * 86_400_000);
    const { sweep } = retentionAt(world, a);
    const claiming = claim('Y', 2);
    await sweep();
    await world.stores.run(claiming);
    expect(a.replica.get(id)?.facts).toHaveLength(2);
  });

  it('lets no results go for the sake of dedupe keys, however many and however old', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const at = world.stores.clock.wallMs();
    const putKey = async (name: string, usedMs: number) => {
      const id = keyRecordId('default', name);
      const key = { ...newRecord([a.storeId]), id, kind: 'key' as const, stamp: usedMs };
      await world.stores.run(a.replica.change(id, () => ({ value: 0, next: key })));
    };
    for (let i = 0; i < 5; i++) await putKey(`new ${i}`, at);
    const ids = [await finished(world), await finished(world)];
    const { sweep } = retentionAt(world, a, 2);
    await sweep();
    await sweep();
    expect(ids.filter((id) => a.replica.get(id) !== undefined)).toEqual(ids);

    // Keys that are due before the tasks do not hide those that are too many.
    for (let i = 0; i < 5; i++) await putKey(`old ${i}`, at - KEY_TTL_MS + 30_000);
    const more = [await finished(world), await finished(world)];
    const sweeps = world.hosts.map((host) => retentionAt(world, host, 2).sweep);
    for (let i = 0; i < 3; i++) for (const one of sweeps) await one();
    expect([...ids, ...more].filter((id) => a.replica.get(id) !== undefined)).toEqual(more);
  });

  it('writes nothing any more once it is closed, in the middle of a sweep too', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    // More than two groups: the second is under way when the first is seen.
    await putPast(world, a, 120);
    const { retention } = retentionAt(world, a);
    retention.start();
    const held = a.replica.heldCount;
    await world.stores.clock.runUntil(() => a.replica.heldCount < held, SWEEP_INTERVAL_MS + 1_000);
    retention.close();
    const left = a.replica.heldCount;
    expect(left).toBeGreaterThan(0);
    await world.stores.clock.runFor(20);
    const settled = a.replica.heldCount;
    await world.stores.clock.runFor(3 * SWEEP_INTERVAL_MS);
    expect(a.replica.heldCount).toBe(settled);
    expect(settled).toBeGreaterThan(0);
  });
});
