/** A store that was refused becomes another one with what it holds, however much that is and wherever it is interrupted. */
import { expect, it } from 'vitest';
import { toHex } from '../../src/base/hash.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { fingerprintOf } from '../../src/base/task-id.ts';
import type { Store, StoreOp } from '../../src/ports/store.ts';
import type { RecordState } from '../../src/records/record.ts';
import { renew } from '../../src/records/renewal.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import { newRecord, storeOf } from '../support/task-records.ts';

/** What the seed draws first. */
const FIRST_MINT = toHex(new SeededRandom('another').bytes(16));

async function holding(world: StoreWorld, count: number): Promise<RecordState[]> {
  const a = world.host('a');
  const records = Array.from({ length: count }, () => newRecord([a.storeId, storeOf('b')]));
  for (const record of records) {
    const written = a.replica.change(record.id, () => ({ value: 0, next: record }));
    await world.run(written);
  }
  a.disk.crash();
  return records;
}

const about = (forgotten: readonly string[] = []) => ({
  why: 'rolled back',
  isTaken: (fingerprint: string) => fingerprint === fingerprintOf(FIRST_MINT),
  isForgotten: (id: string) => forgotten.includes(id),
});

/** The disk below, which takes so many batches more; and how large they were. */
function heeded(host: StoreHost, appendsMax = Number.POSITIVE_INFINITY) {
  const store = host.disk.openStore();
  const sizes: number[] = [];
  const append = async (batch: readonly StoreOp[]) => {
    if (sizes.length >= appendsMax) return { ok: false, code: 'full', detail: 'full' } as const;
    sizes.push(batch.length);
    return store.append(batch);
  };
  const below: Store = { ...bound(store), append };
  return { store: below, sizes };
}

const bound = (store: Store): Store => ({
  get: (key) => store.get(key),
  range: (query) => store.range(query),
  append: (batch, purpose) => store.append(batch, purpose),
  usedBytes: () => store.usedBytes(),
  room: () => store.room(),
  close: () => store.close(),
});

it('has another id, and its records are stand-in copies that are shared with nobody', async () => {
  const world = await StoreWorld.of('a');
  const before = world.host('a');
  const [kept, old] = await holding(world, 2);
  if (kept === undefined || old === undefined) throw new Error('two records');
  const { store } = heeded(before);
  const renewed = await world.run(renew(store, new SeededRandom('another'), about([old.id])));
  const again = await world.restart('a');
  expect(renewed).toEqual({ ok: true, value: { storeId: again.storeId, records: 2 } });
  expect(again.storeId).not.toBe(FIRST_MINT);
  expect(again.identity).toMatchObject({
    bootCount: 1,
    former: { storeId: before.storeId, why: 'rolled back' },
  });
  expect([...again.replica.unfinished()]).toEqual([kept]);
  expect(again.replica.isStandIn(kept.id)).toBe(true);
  expect(again.replica.aside.ids()).toEqual([old.id]);
  expect(again.replica.shared.page('', 10).entries).toEqual([]);
});

it('is written in batches that find room on a disk which is nearly full', async () => {
  const world = await StoreWorld.of('a');
  await holding(world, 1_100);
  const { store, sizes } = heeded(world.host('a'));
  await world.run(renew(store, new SeededRandom('another'), about()));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
  const again = await world.restart('a');
  expect(again.replica.standIns('', 2_000)).toHaveLength(1_100);
});

it('is the old one until all is done, and begins again', async () => {
  for (let appends = 0; appends < 4; appends++) {
    const world = await StoreWorld.of('a');
    const before = world.host('a');
    const records = await holding(world, 3);
    const { store } = heeded(before, appends);
    const failed = await world.run(renew(store, new SeededRandom('another'), about()));
    expect(failed).toMatchObject({ ok: false, error: { code: 'failed' } });
    const same = await world.restart('a');
    expect(same.storeId).toBe(before.storeId);
    // Opened once more it knows what it shares, as if nothing had happened.
    expect(same.replica.shared.page('', 10).entries).toHaveLength(3);
    expect(new Set(same.replica.unfinished())).toEqual(new Set(records));
    same.disk.crash();
    const renewed = await world.run(renew(heeded(same).store, new SeededRandom('x'), about()));
    expect(renewed).toMatchObject({ ok: true, value: { records: 3 } });
    expect((await world.restart('a')).replica.standIns('', 10)).toHaveLength(3);
  }
});
