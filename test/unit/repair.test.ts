/** A damaged record is not held until it was fetched again, and nobody counts on the copy meanwhile. */
import { expect, test } from 'vitest';
import { digestOf, utf8 } from '../../src/base/hash.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { prefixEnd } from '../../src/ports/store.ts';
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

test.each(['value', 'key'])(
  'what nobody has, for a damaged %s, is not created anew by a client that repeats itself',
  async (what) => {
    const world = await StoreWorld.of('a', 'b');
    const a = world.host('a');
    const { store, repair } = repairOf(world, a);
    const record = finalRecord(a, world.host('b'));
    await take(world, a, record);
    if (what === 'value') damage(a, `r/${record.id}`);
    else await world.run(store.append([{ del: `r/${record.id}` }]));
    await world.run(repair.round());
    expect(store.get(`r/${record.id}`)).toBeUndefined();
    const again = {
      record: { ...record, facts: [] },
      blob: undefined,
      fresh: true,
      standIn: false,
    };
    expect(await world.run(a.sharing.accept(again))).toMatchObject({
      ok: false,
      error: { code: 'UNREACHABLE' },
    });
    // From a store that has it still, it is taken.
    expect(await take(world, a, record)).toMatchObject({ ok: true });
    expect(await world.run(a.sharing.accept(again))).toMatchObject({
      ok: true,
      value: { existed: true },
    });
  },
);

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

/** One bit of a key has turned: its value lies under another one, and nothing under its own. */
async function misplace(world: StoreWorld, host: StoreHost, key: string, at: number, bit: number) {
  const sealed = host.disk.read().get(key);
  if (sealed === undefined) throw new Error('it is not on the disk');
  const turned = String.fromCharCode(key.charCodeAt(at) ^ bit);
  host.disk.read().set(key.slice(0, at) + turned + key.slice(at + 1), sealed);
  await world.run(host.store.append([{ del: key }]));
}

test('what belongs to a record and lies under a damaged key is written again, wherever the bit was', async () => {
  const payload = utf8('payload');
  for (const [prefix, at, bit] of [
    // In the id, where the key names a record that nobody has; …
    ['x/', -4, 2],
    ['b/', -4, 2],
    // … and in what says of which kind the value is.
    ['x/', 0, 8],
    ['b/', 0, 1],
  ] as const) {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const { store, repair } = repairOf(world, a);
    const record = { ...finalRecord(a, b), blobDigest: digestOf(payload) };
    for (const host of [a, b])
      await world.run(host.sharing.accept({ record, blob: payload, fresh: false, standIn: false }));
    const [entry] = a.store.range({ from: prefix, to: prefixEnd(prefix), limit: 1 });
    const key = entry?.key ?? '';
    await misplace(world, a, key, at < 0 ? key.length + at : at, bit);
    repair.scrub();
    await world.run(repair.round());
    expect([prefix, at, store.get(key) !== undefined, store.damaged()]).toEqual([
      prefix,
      at,
      true,
      [],
    ]);
    expect(a.replica.shared.get(record.id)?.partners).toEqual([b.storeId]);
    expect(a.replica.blob(record.id)).toEqual(payload);
  }
});

test('what the trees lacked is in them once it is written again, though they were compared meanwhile', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { repair } = repairOf(world, a);
  const record = newRecord([a.storeId, b.storeId].sort());
  await take(world, a, record);
  const [entry] = a.store.range({ from: 'x/', to: prefixEnd('x/'), limit: 1 });
  a.disk.read().set(entry?.key ?? '', Uint8Array.of(1, 2, 3, 4, 5));
  expect(a.store.get(entry?.key ?? '')).toBeUndefined();
  // Between the word of the damage and the writing: both lack it, and agree.
  const recount = a.sync.recount.bind(a.sync);
  let compared: Promise<unknown> | undefined;
  a.sync.recount = () => {
    recount();
    compared ??= a.sync.syncWith(b.storeId);
  };
  const change = a.replica.change.bind(a.replica);
  a.replica.change = async (...args) => {
    await compared;
    return change(...args);
  };
  await world.run(repair.round());
  expect(compared).toBeDefined();
  await world.run(a.sync.syncWith(b.storeId));
  expect(b.replica.get(record.id)).toEqual(record);
});

test('what nobody has does not keep from its turn what others have', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { store, repair } = repairOf(world, a);
  const ids = Array.from({ length: 1_100 }, (_, i) => `r/0000${String(i).padStart(4, '0')}`);
  for (const id of ids) a.disk.read().set(id, Uint8Array.of(1, 2, 3, 4, 5));
  const record = finalRecord(a, b);
  await take(world, b, record);
  a.disk.read().set(`r/${record.id}`, Uint8Array.of(1, 2, 3, 4, 5));
  a.replica.recount();
  expect(store.damaged().length).toBe(1_101);
  // Nobody was there who has it.
  world.kill('b');
  for (let rounds = 0; rounds < 2; rounds++) await world.run(repair.round());
  world.revive('b');
  for (let rounds = 0; rounds < 2; rounds++) await world.run(repair.round());
  expect(a.replica.get(record.id)).toEqual(record);
});

test('a member that does not answer keeps nobody else waiting', async () => {
  const world = await StoreWorld.of('a', 'b', 'c');
  const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
  const { repair } = repairOf(world, a);
  const record = finalRecord(a, b, c);
  for (const host of [a, c]) await take(world, host, record);
  damage(a, `r/${record.id}`);
  const asked: string[] = [];
  const ask = a.sharing.ask.bind(a.sharing);
  a.sharing.ask = (peer, ...rest) => {
    asked.push(peer);
    return peer === b.peerId ? new Promise(() => undefined) : ask(peer, ...rest);
  };
  expect(a.replica.get(record.id)).toBeUndefined();
  void repair.round();
  await world.clock.runFor(100);
  expect(asked).toEqual([b.peerId, c.peerId]);
});

test('what was lost here, and dropped by all others meanwhile, is let go', async () => {
  const world = await StoreWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const base = newRecord([a.storeId, b.storeId].sort());
  const record = withFacts(base, factOf(a.storeId, 1, finalOf()));
  const { id } = record;
  for (const h of [a, b])
    await world.run(h.sharing.accept({ record, blob: undefined, fresh: false, standIn: false }));
  // A bit of the key has turned.
  await world.run(a.store.append([{ del: `r/${id}` }]));
  await world.run(b.replica.drop(id, { final: 'completed', digest: '', droppedWallMs: 1 }));
  const { repair } = repairOf(world, a);
  repair.scrub();
  await world.run(repair.round());
  const all = a.store.range({ from: ' ', to: prefixEnd(''), limit: 100 });
  const left = all.map(({ key }) => key).filter((key) => key.endsWith(id));
  expect(left).toEqual([`t/${id}`]);
  expect(await world.run(repair.round())).toBe(0);
});
