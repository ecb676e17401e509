/** One queue per record: decide, write, then show. */
import { describe, expect, it } from 'vitest';
import type { RecordState } from '../../src/records/record.ts';
import { withFact } from '../../src/records/record.ts';
import { RECORD_QUEUE_MAX } from '../../src/records/replica.ts';
import { toWire } from '../../src/tasks/facts.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import {
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const put = (world: StoreWorld, host: StoreHost, record: RecordState) =>
  world.run(host.replica.change(record.id, () => ({ value: 'done', next: record })));

const finalRecord = (host: StoreHost): RecordState =>
  withFacts(newRecord([host.storeId]), factOf(host.storeId, 1, finalOf()));

describe('the replica', () => {
  it('shows a change when it is durable, and not before', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    const seen: (RecordState | undefined)[] = [];
    a.replica.onVisible((after, before) => seen.push(before, after));

    const change = a.replica.change(record.id, () => ({ value: 'done', next: record }));
    expect(a.replica.get(record.id)).toBeUndefined();
    expect(await world.run(change)).toEqual({ ok: true, value: 'done' });

    expect(a.replica.get(record.id)).toBe(record);
    expect([...a.replica.unfinished()]).toEqual([record]);
    expect(seen).toEqual([undefined, record]);
  });

  it('decides one change of a record after the other, each on what the last one made durable', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    await put(world, a, record);
    const seen: number[] = [];
    const changes = Array.from({ length: 5 }, (_, i) =>
      a.replica.change(record.id, ({ current, fact }) => {
        seen.push(current?.facts.length ?? -1);
        const next = withFact(current ?? record, fact(toWire(startOf(`run${i}`))));
        return { value: i, next };
      }),
    );
    const results = await world.run(Promise.all(changes));
    expect(results.map((result) => result.ok && result.value)).toEqual([0, 1, 2, 3, 4]);
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    const seqs = a.replica.get(record.id)?.facts.map((fact) => fact.seq) ?? [];
    expect(seqs.map((seq) => seq - (seqs[0] ?? 0))).toEqual([0, 1, 2, 3, 4]);
  });

  it('refuses more waiting changes of one record than its queue holds', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    const changes = Array.from({ length: RECORD_QUEUE_MAX + 1 }, () =>
      a.replica.change(record.id, () => ({ value: 0, next: record })),
    );
    const results = await world.run(Promise.all(changes));
    const refused = results.filter((result) => !result.ok);
    expect(refused).toMatchObject([{ error: { code: 'BUSY', details: { retry_after_ms: 100 } } }]);
  });

  it('answers STORE_FULL and changes nothing when the disk is full, and goes on when it is not', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const final = finalRecord(a);
    const standIn = newRecord([storeOf('b')]);
    await put(world, a, final);
    await put(world, a, standIn);
    a.disk.full = true;

    const record = newRecord([a.storeId]);
    expect(await put(world, a, record)).toMatchObject({ error: { code: 'STORE_FULL' } });
    expect(a.replica.room).toBe('full');
    expect(a.replica.get(record.id)).toBeUndefined();
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 1 };
    expect(await world.run(a.replica.drop(final.id, stone))).toMatchObject({
      error: { code: 'STORE_FULL' },
    });
    expect(await world.run(a.replica.releaseStandIn(standIn, false))).toMatchObject({
      error: { code: 'STORE_FULL' },
    });
    expect(a.replica.heldCount).toBe(2);
    expect([...a.replica.unfinished()]).toEqual([standIn]);
    expect(a.failures).toEqual([]);

    a.disk.full = false;
    expect(await put(world, a, record)).toMatchObject({ ok: true });
    expect(a.replica.room).toBe('ample');
  });

  it('says once that the disk failed, and acknowledges nothing afterwards', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    a.disk.failNextSync = true;
    const records = [newRecord([a.storeId]), newRecord([a.storeId])];
    for (const record of records) {
      expect(await put(world, a, record)).toMatchObject({ error: { code: 'STORE_FAILED' } });
    }
    expect(a.failures).toEqual(['the disk failed']);
    expect(a.replica.unfinishedCount).toBe(0);
  });

  it('reads its unfinished records back after a crash, and only those', async () => {
    const world = await StoreWorld.of('a');
    const before = world.host('a');
    const open = withFacts(newRecord([before.storeId]), factOf(before.storeId, 1, startOf('run1')));
    const final = finalRecord(before);
    await put(world, before, open);
    await put(world, before, final);
    const after = await world.restart('a');
    expect([...after.replica.unfinished()]).toEqual([open]);
    expect(after.replica.get(final.id)).toEqual(final);
    expect(after.replica.heldCount).toBe(2);
  });

  it('drops a final record, and leaves a tombstone until that is swept', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const final = finalRecord(a);
    const open = newRecord([a.storeId]);
    await put(world, a, final);
    await put(world, a, open);
    const dropAt = finalOf().drop_at;
    expect(a.replica.droppable(dropAt - 1, 10)).toEqual([]);
    expect(a.replica.droppable(dropAt + 1, 10)).toEqual([final.id]);

    const stone = { final: 'completed', digest: 'd', droppedWallMs: 77 };
    expect(await world.run(a.replica.drop(final.id, stone))).toEqual({ ok: true, value: true });
    expect(await world.run(a.replica.drop(open.id, stone))).toEqual({ ok: true, value: false });
    expect(a.replica.get(final.id)).toBeUndefined();
    expect(a.replica.tombstone(final.id)).toEqual(stone);
    expect(a.replica.droppable(dropAt + 1, 10)).toEqual([]);
    expect(a.replica.heldCount).toBe(1);

    // By the running time of the store, whatever wall clock the stone came from.
    await world.clock.runFor(5_000);
    expect(await world.run(a.replica.sweepTombstones(10_000, 10))).toBe(0);
    expect(await world.run(a.replica.sweepTombstones(4_000, 10))).toBe(1);
    expect(a.replica.tombstone(final.id)).toBeUndefined();
  });

  it('comes to every tombstone, though the first ones are not old yet', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const stone = { final: 'completed', digest: '', droppedWallMs: 5 };
    const finals = [1, 2, 3, 4].map(() => finalRecord(a));
    const ids = finals.map(({ id }) => id).sort();
    for (const final of finals) await put(world, a, final);
    const drop = (id: string | undefined) => world.run(a.replica.drop(id ?? '', stone));
    await drop(ids[3]);
    await world.clock.runFor(5_000);
    for (const id of ids.slice(0, 3)) await drop(id);
    // Two at a time: the fourth comes in the second sweep, the first ones again after the end.
    const sweep = (ageMs: number) => world.run(a.replica.sweepTombstones(ageMs, 2));
    expect([await sweep(4_000), await sweep(4_000)]).toEqual([0, 1]);
    await world.clock.runFor(1_000);
    expect([await sweep(900), await sweep(900), await sweep(900)]).toEqual([0, 2, 1]);
    expect(ids.filter((id) => a.replica.tombstone(id) !== undefined)).toEqual([]);
  });

  it('gives a stand-in copy up only in the version that was confirmed', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const confirmed = newRecord([storeOf('b'), storeOf('c')]);
    const marked = { record: confirmed, blob: undefined, fresh: false, standIn: true };
    await world.run(a.sharing.accept(marked));
    expect(a.replica.isStandIn(confirmed.id)).toBe(true);
    const changed = withFacts(confirmed, factOf(storeOf('b'), 1, startOf('run1')));
    await put(world, a, changed);

    expect(await world.run(a.replica.releaseStandIn(confirmed, false))).toEqual({
      ok: true,
      value: false,
    });
    expect(a.replica.get(confirmed.id)).toBe(changed);
    expect(await world.run(a.replica.releaseStandIn(changed, false))).toEqual({
      ok: true,
      value: true,
    });
    expect(a.replica.get(confirmed.id)).toBeUndefined();
    expect(a.replica.isStandIn(confirmed.id)).toBe(false);
    expect(a.replica.unfinishedCount).toBe(0);
  });

  it('keeps a released copy, unmarked, where this store has come into the home', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId, storeOf('b')]);
    await world.run(a.sharing.accept({ record, blob: undefined, fresh: false, standIn: true }));
    await world.run(a.replica.releaseStandIn(record, true));
    expect(a.replica.isStandIn(record.id)).toBe(false);
    expect(a.replica.get(record.id)).toEqual(record);
  });
});

it('marks what it finds unfinished and unmarked with its next change: a start would forget it', async () => {
  const world = await StoreWorld.of('a');
  const record = newRecord([world.host('a').storeId]);
  await put(world, world.host('a'), record);
  // A bit of the key has turned.
  await world.run(world.host('a').store.append([{ del: `u/${record.id}` }]));
  let a = await world.restart('a');
  expect(a.replica.isUnfinished(record.id)).toBe(false);
  const noted = factOf(a.storeId, 1, { t: 'cancel', reason: '', by: '', at: 1 });
  await put(world, a, withFact(record, noted));
  a = await world.restart('a');
  expect(a.replica.isUnfinished(record.id)).toBe(true);
});

it('writes nothing that it could not read again: two copies within the limits whose join is not', async () => {
  const world = await StoreWorld.of('a');
  const a = world.host('a');
  const record = newRecord([a.storeId]);
  const rich = (name: string): RecordState =>
    withFacts(
      record,
      ...Array.from({ length: 1_000 }, (_, i) => ({
        store: storeOf(name),
        seq: i + 1,
        value: { t: 'later', list: new Array<number>(150).fill(0) },
      })),
    );
  const take = (copy: RecordState) =>
    world.run(a.sharing.accept({ record: copy, blob: undefined, fresh: false, standIn: false }));
  expect(await take(rich('b'))).toMatchObject({ ok: true });
  expect(await take(rich('c'))).toMatchObject({ ok: false, error: { code: 'INVALID_PARAMS' } });
  expect((await world.restart('a')).replica.get(record.id)?.facts).toHaveLength(1_000);
});
