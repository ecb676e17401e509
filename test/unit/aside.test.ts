/** Records that are set aside: out of everybody's way, and not lost. */
import { describe, expect, it } from 'vitest';
import type { RecordState } from '../../src/records/record.ts';
import { releaseAside, setAside } from '../../src/records/set-aside.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import {
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const put = (world: StoreWorld, host: StoreHost, record: RecordState, blob?: Uint8Array) =>
  world.run(
    host.replica.change(record.id, () => ({
      value: 'done',
      next: record,
      ...(blob === undefined ? {} : { blob }),
    })),
  );
const incoming = (record: RecordState) =>
  ({ record, blob: undefined, fresh: false, standIn: false }) as const;

describe('a record that was set aside', () => {
  it('is gone for all who read, keeps its payload, and is there after a crash', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    const blob = new Uint8Array([1, 2]);
    await put(world, a, record, blob);
    const gone: string[] = [];
    a.replica.onGone(({ id }) => gone.push(id));
    expect(await world.run(setAside(a.replica, record.id))).toEqual({ ok: true, value: true });
    expect(gone).toEqual([record.id]);
    expect([a.replica.get(record.id), a.replica.unfinishedCount]).toEqual([undefined, 0]);
    expect(a.replica.ids({ limit: 10 })).toEqual([]);
    expect([a.replica.aside.get(record.id), a.replica.aside.count]).toEqual([record, 1]);
    expect(a.replica.blob(record.id)).toEqual(blob);
    const { replica } = await world.restart('a');
    expect([replica.aside.ids(), replica.aside.get(record.id)]).toEqual([[record.id], record]);
  });

  it('is no more than unfinished tasks: a final one stays', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const final = withFacts(newRecord([a.storeId]), factOf(a.storeId, 1, finalOf()));
    await put(world, a, final);
    expect(await world.run(setAside(a.replica, final.id))).toEqual({ ok: true, value: false });
    expect(a.replica.get(final.id)).toEqual(final);
    expect(await world.run(setAside(a.replica, 'nobody'))).toEqual({ ok: true, value: false });
  });

  it('is not taken back while it is held; then with what only this store knew', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const plain = newRecord([a.storeId, storeOf('b')]);
    const mine = withFacts(plain, factOf(a.storeId, 1, startOf('run1')));
    await put(world, a, mine);
    await world.run(setAside(a.replica, mine.id));
    let isHeld = true;
    a.replica.aside.isHeld = () => isHeld;
    const refused = await world.run(a.sharing.accept(incoming(plain)));
    expect(refused).toMatchObject({ ok: false, error: { code: 'ID_EXPIRED' } });
    isHeld = false;
    expect(await world.run(a.sharing.accept(incoming(plain)))).toMatchObject({ ok: true });
    expect(a.replica.get(mine.id)).toEqual(mine);
    expect([a.replica.aside.count, a.replica.unfinishedCount]).toEqual([0, 1]);
    const { replica } = await world.restart('a');
    expect([replica.aside.count, replica.get(mine.id)]).toEqual([0, mine]);
  });

  it('is buried by a tombstone', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    await put(world, a, record, new Uint8Array([1]));
    await world.run(setAside(a.replica, record.id));
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 7 };
    expect(await world.run(a.replica.bury(record.id, stone))).toEqual({ ok: true, value: true });
    expect([a.replica.aside.count, a.replica.tombstone(record.id)]).toEqual([0, stone]);
    expect(a.replica.blob(record.id)).toBeUndefined();
    expect((await world.restart('a')).replica.aside.count).toBe(0);
  });

  it('is given up when another store holds all of it, and not for an older copy', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const plain = newRecord([storeOf('b')]);
    const known = withFacts(plain, factOf(storeOf('b'), 1, startOf('run1')));
    await put(world, a, known);
    await world.run(setAside(a.replica, known.id));
    const release = (held: RecordState) => world.run(releaseAside(a.replica, held));
    expect(await release(plain)).toEqual({ ok: true, value: false });
    expect(await release(newRecord([storeOf('b')]))).toEqual({ ok: true, value: false });
    const newer = withFacts(known, factOf(storeOf('b'), 2, finalOf()));
    expect(await release(newer)).toEqual({ ok: true, value: true });
    expect([a.replica.aside.count, a.replica.get(known.id)]).toEqual([0, undefined]);
    expect((await world.restart('a')).replica.aside.count).toBe(0);
  });
});
