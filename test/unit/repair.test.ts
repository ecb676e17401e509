/** A damaged record is not held until it was fetched again, and nobody counts on the copy meanwhile. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { CheckedStore } from '../../src/records/checked-store.ts';
import type { RecordState } from '../../src/records/record.ts';
import { ANSWERS_WITHIN_MS, Repair } from '../../src/records/repair.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import { factOf, finalOf, newRecord, withFacts } from '../support/task-records.ts';

const lines: string[] = [];

function repairOf({ clock }: StoreWorld, { store, replica, sharing, sync, view }: StoreHost) {
  if (!(store instanceof CheckedStore)) throw new Error('the store has no checksums');
  const log = { log: (_: string, message: string) => lines.push(message) };
  const { directory } = view;
  const shown: string[] = [];
  const kept: string[] = [];
  const visibility = () => ({
    hide: (id: string) => void shown.push(`hide ${id}`),
    keepHidden: async (ids: readonly string[]) => void kept.push(...ids),
    reveal: (id: string) => void shown.push(`show ${replica.get(id)?.facts.length}`),
  });
  const about = { store, replica, sharing, directory, log, clock, sync, visibility };
  const repair = new Repair(about);
  store.onDamaged = (key) => repair.found(key);
  return { store, repair, shown, kept };
}

const finalRecord = (...hosts: StoreHost[]): RecordState => {
  const [first] = hosts;
  if (first === undefined) throw new Error('a record has a home');
  const home = hosts.map(({ storeId }) => storeId).sort();
  return withFacts(newRecord(home), factOf(first.storeId, 1, finalOf()));
};

const take = (world: StoreWorld, host: StoreHost, record: RecordState) =>
  world.run(host.sharing.accept({ record, blob: undefined, fresh: false, standIn: false }));

/** Turns bits until the value is damaged. */
function damage(host: StoreHost, key: string): void {
  const random = new SeededRandom('flip');
  while (host.store.get(key) !== undefined) host.disk.flipBit(random);
}

test('the counter of its dots is written anew, not removed: the next start would find a store that went back', async () => {
  const world = await StoreWorld.of('a', 'b');
  const a = world.host('a');
  const { store, repair } = repairOf(world, a);
  await take(world, a, finalRecord(a));
  const counter = store.get('m/seq');
  expect(counter).toBeDefined();
  damage(a, 'm/seq');
  await world.run(repair.round());
  expect(store.get('m/seq')).toEqual(counter);
});

test('it is fetched again from a partner, and is no copy before', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { store, repair } = repairOf(world, a);
  const record = finalRecord(a, b);
  const { id } = record;
  await take(world, a, record);
  expect(await world.run(a.sharing.shareWith(id, b.storeId))).toMatchObject({ ok: true });
  expect(b.replica.get(id)).toEqual(record);

  damage(a, `r/${id}`);
  expect(a.replica.get(id)).toBeUndefined();
  expect(a.replica.ids({ limit: 10 })).toEqual([]);
  expect(await world.run(repair.round())).toBe(1);
  expect(a.replica.get(id)).toEqual(record);
  expect([store.damaged(), repair.repaired, a.replica.heldCount]).toEqual([[], 1, 1]);
  expect(lines).toContain('a damaged value was set aside');
});

test('what nobody has stays damaged, and is not counted as held', async () => {
  const world = await StoreWorld.of('a', 'b');
  const a = world.host('a');
  const { repair } = repairOf(world, a);
  const record = finalRecord(a);
  await take(world, a, record);
  damage(a, `r/${record.id}`);
  expect(await world.run(repair.round())).toBe(0);
  expect(repair.damaged).toBeGreaterThan(0);
  expect(a.replica.heldCount).toBe(0);
});

test('an unfinished record is written again from memory', async () => {
  const world = await StoreWorld.of('a');
  const a = world.host('a');
  const { repair } = repairOf(world, a);
  const record = newRecord([a.storeId]);
  await take(world, a, record);
  damage(a, `r/${record.id}`);
  expect(await world.run(repair.round())).toBe(1);
  expect(a.store.get(`r/${record.id}`)).toBeDefined();
  expect(a.replica.get(record.id)).toEqual(record);
});

test('it is shown when all in sight have answered: one of them may have an older version', async () => {
  const world = await StoreWorld.of('a', 'b', 'c');
  const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
  const { repair, shown, kept } = repairOf(world, a);
  const record = finalRecord(a, b, c);
  const { id } = record;
  for (const host of [a, c]) await take(world, host, record);
  await take(world, b, { ...record, facts: [] });
  damage(a, `r/${id}`);
  expect(a.replica.get(id)).toBeUndefined();

  world.mesh.gone.add(c.peerId);
  await world.run(repair.round());
  expect(a.replica.get(id)?.facts).toEqual([]);
  expect([shown, kept]).toEqual([[`hide ${id}`], [id]]);
  world.mesh.gone.clear();
  await world.run(repair.round());
  expect(a.replica.get(id)).toEqual(record);
  expect(shown).toEqual([`hide ${id}`, 'show 1']);
});

test('a member in sight that does not answer is not waited for without end', async () => {
  const world = await StoreWorld.of('a', 'b');
  const a = world.host('a');
  const { repair, shown } = repairOf(world, a);
  const record = finalRecord(a, world.host('b'));
  await take(world, a, record);
  damage(a, `r/${record.id}`);
  world.mesh.gone.add(world.host('b').peerId);
  await world.run(repair.round());
  expect(shown).toHaveLength(1);
  await world.clock.runFor(ANSWERS_WITHIN_MS);
  await world.run(repair.round());
  expect(shown).toHaveLength(2);
});

test('what lies under a damaged key goes, when its record is back', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { store, repair } = repairOf(world, a);
  const record = finalRecord(a, b);
  const key = `r/${record.id}`;
  await take(world, a, record);
  await take(world, b, record);
  const sealed = a.disk.read().get(key);
  if (sealed === undefined) throw new Error('it is not on the disk');
  // The second bit of the last character but three.
  const turned = String.fromCharCode(key.charCodeAt(key.length - 4) ^ 2);
  const wrong = key.slice(0, -4) + turned + key.slice(-3);
  a.disk.read().set(wrong, sealed);
  await world.run(a.store.append([{ del: key }]));
  repair.scrub();
  expect(store.damaged()).toEqual([wrong]);
  await world.run(repair.round());
  expect(a.replica.get(record.id)).toEqual(record);
  await world.run(repair.round());
  repair.scrub();
  expect([store.damaged(), a.disk.read().get(wrong)]).toEqual([[], undefined]);
});

test('a record whose key is damaged is missed, and fetched again', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { repair } = repairOf(world, a);
  for (const record of [finalRecord(a, b), newRecord([a.storeId, b.storeId].sort())]) {
    const { id } = record;
    await take(world, a, record);
    expect(await world.run(a.sharing.shareWith(id, b.storeId))).toMatchObject({ ok: true });
    // Nothing lies under the key any more, and what the trees know of the record is as it was.
    await world.run(a.store.append([{ del: `r/${id}` }]));
    repair.scrub();
    expect(await world.run(repair.round())).toBe(1);
    expect(a.store.get(`r/${id}`)).toBeDefined();
    expect(a.replica.get(id)).toEqual(record);
    expect(await world.run(repair.round())).toBe(0);
  }
  // The mark of what is unfinished: without it a start would not run the task.
  const [unfinished] = [...a.replica.unfinished()];
  await world.run(a.store.append([{ del: `u/${unfinished?.id}` }]));
  repair.scrub();
  expect(await world.run(repair.round())).toBe(1);
  expect(a.store.get(`u/${unfinished?.id}`)).toBeDefined();
});
