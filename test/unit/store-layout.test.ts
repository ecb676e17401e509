/** Stores of other versions: a newer one is refused with a sentence, an older one is brought here in one batch. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { prefixEnd, type Store, type StoreOp } from '../../src/ports/store.ts';
import { AsideRecords } from '../../src/records/aside.ts';
import { CheckedStore, seal } from '../../src/records/checked-store.ts';
import { LAYOUT, type Layout, migrationOps } from '../../src/records/layout.ts';
import { SHARED_COMPLETE_KEY } from '../../src/records/partner-index.ts';
import { decodeRecord, encodeRecord } from '../../src/records/record.ts';
import { StoreIdentity } from '../../src/records/store-identity.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';
import { decodeValue, encodeValue } from '../../src/wire/codec.ts';
import { factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

const text = (bytes: Uint8Array | undefined): unknown => {
  const decoded = bytes === undefined ? undefined : decodeValue(bytes);
  return decoded?.ok ? decoded.value : undefined;
};
const entries = (store: Pick<Store, 'range'>, prefix: string, limit = 100) =>
  store.range({ from: prefix, to: prefixEnd(prefix), limit });

const FIRST: Layout = { version: 1, migrations: {} };
/** Layout 2 moved `old/…` to `new/…`; layout 3 counts what lies under `new/`; the ones after it do nothing. */
const LATER: Layout = {
  version: LAYOUT.version + 1,
  migrations: {
    1: (store) =>
      entries(store, 'old/').flatMap(({ key, value }): StoreOp[] => [
        { del: key },
        { put: key.replace('old/', 'new/'), value },
      ]),
    2: (store) => [{ put: 'count', value: encodeValue(entries(store, 'new/').length) }],
    3: () => [],
  },
};

class World {
  readonly clock = new SimClock();
  readonly disk = new SimDisk({ clock: this.clock, random: new SeededRandom('disk') });

  /** A store of layout 1 with two entries. */
  async prepare(): Promise<Store> {
    const store = this.disk.openStore();
    await this.settle(StoreIdentity.load(store, new SeededRandom('store'), FIRST));
    await this.settle(
      store.append([
        { put: 'old/a', value: encodeValue('A') },
        { put: 'old/b', value: encodeValue('B') },
      ]),
    );
    return store;
  }

  async settle<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    void promise.then(() => {
      settled = true;
    });
    await this.clock.runUntil(() => settled, 10_000);
    return promise;
  }

  load(store: Store, layout: Layout) {
    return this.settle(StoreIdentity.load(store, new SeededRandom('boot'), layout));
  }
}

test('an older store is brought to this layout, step after step, and the boot is counted with it', async () => {
  const world = new World();
  const store = await world.prepare();
  const loaded = await world.load(store, LATER);
  expect(loaded).toMatchObject({ ok: true, value: { bootCount: 2 } });
  expect(entries(store, 'old/')).toEqual([]);
  expect(entries(store, 'new/').map(({ value }) => text(value))).toEqual(['A', 'B']);
  // The second step saw what the first had written.
  expect(text(store.get('count'))).toBe(2);
  expect(text(store.get('m/store'))).toMatchObject({ schema_version: LATER.version });
});

test('all of it is one batch: no crash leaves a store between two layouts', async () => {
  const world = new World();
  const store = await world.prepare();
  const batches: (readonly StoreOp[])[] = [];
  const spied: Store = {
    ...bound(store),
    append: (batch) => {
      batches.push(batch);
      return store.append(batch);
    },
  };
  await world.load(spied, LATER);
  expect(batches).toHaveLength(1);
  const keys = batches[0]?.map((op) => ('put' in op ? op.put : op.del));
  expect(keys).toEqual(['old/a', 'new/a', 'old/b', 'new/b', 'count', 'm/store']);
});

test('a crash before the batch is synced leaves the old store, which is migrated again', async () => {
  const world = new World();
  void StoreIdentity.load(await world.prepare(), new SeededRandom('lost'), LATER);
  world.disk.crash();
  const store = world.disk.openStore();
  const layout = (text(store.get('m/store')) as { schema_version: number }).schema_version;
  expect(entries(store, layout === 1 ? 'old/' : 'new/')).toHaveLength(2);
  expect(entries(store, layout === 1 ? 'new/' : 'old/')).toHaveLength(0);
  expect(await world.load(store, LATER)).toMatchObject({ ok: true });
  expect(text(store.get('count'))).toBe(2);
});

test('a newer store is refused with a sentence, and nothing is written', async () => {
  const world = new World();
  const store = await world.prepare();
  await world.load(store, LATER);
  const before = entries(store, '');
  expect(await world.load(store, LAYOUT)).toEqual({
    ok: false,
    error: {
      code: 'newer',
      detail:
        'the store was written by a newer Covey (layout 4, this one knows 3); upgrade this daemon',
    },
  });
  expect(entries(store, '')).toEqual(before);
});

test('layout 2 adds a checksum to every value, and the counter goes on', async () => {
  const world = new World();
  const store = await world.prepare();
  await world.settle(store.append([{ put: 'm/seq', value: encodeValue(7) }]));
  const loaded = await world.load(store, LAYOUT);
  expect(loaded.ok && loaded.value.seq()).toBe(7);
  const checked = new CheckedStore(store);
  expect(['old/a', 'old/b'].map((key) => text(checked.get(key)))).toEqual(['A', 'B']);
  expect(text(checked.get('m/store'))).toMatchObject({
    schema_version: LAYOUT.version,
    boot_count: 2,
  });
  expect(checked.damaged()).toEqual([]);
  expect(await world.load(store, LAYOUT)).toMatchObject({ ok: true, value: { bootCount: 3 } });
});

test('layout 3 keeps the parts of a record apart, also of what is set aside, and makes the trees anew', async () => {
  const world = new World();
  const store = world.disk.openStore();
  const asMap: Layout = { ...LAYOUT, version: 2 };
  expect(await world.load(store, asMap)).toMatchObject({ ok: true });
  const record = withFacts(
    { ...newRecord([storeOf('a'), storeOf('b')]), later: { x: [1] } },
    factOf(storeOf('a'), 7, startOf('run1')),
  );
  const map = encodeValue({
    ...record.later,
    ...{ id: record.id, kind: record.kind, stamp: record.stamp, header: record.header },
    ...{ blob_digest: record.blobDigest, home: record.firstHome },
    facts: record.facts.map(({ store: author, seq, value }) => [author, seq, value]),
  });
  const key = `r/${record.id}`;
  const damaged = Uint8Array.from(seal('r/z', map)).fill(0, 3, 5);
  await world.settle(
    store.append([
      { put: key, value: seal(key, map) },
      { put: 'r/z', value: damaged },
      { put: `q/${record.id}`, value: seal(`q/${record.id}`, seal(key, map)) },
      { put: SHARED_COMPLETE_KEY, value: new Uint8Array(0) },
    ]),
  );
  expect(await world.load(store, LAYOUT)).toMatchObject({ ok: true });
  const checked = new CheckedStore(store);
  const aside = new AsideRecords(checked);
  aside.load();
  expect([decodeRecord(checked.get(key)), aside.get(record.id)]).toEqual([record, record]);
  expect(checked.get(key)).toEqual(encodeRecord(record));
  expect(store.get('r/z')).toEqual(damaged);
  expect(store.get(SHARED_COMPLETE_KEY)).toBeUndefined();
});

test('a gap between two layouts is named', () => {
  const store = { get: () => undefined, range: () => [] };
  expect(migrationOps(store, 1, { version: 3, migrations: { 1: () => [] } })).toEqual({
    ok: false,
    error: 'there is no way from store layout 2 to 3',
  });
});

test('a step reads the store as the steps before it leave it, also in part and backwards', () => {
  const world = new World();
  world.disk.restore(['k1', 'k2', 'k3', 'k5'].map((key) => [key, encodeValue(key)] as const));
  const seen: string[][] = [];
  const layout: Layout = {
    version: 2,
    migrations: {
      0: () => [{ del: 'k1' }, { del: 'k5' }, { put: 'k4', value: encodeValue('k4') }],
      1: (store) => {
        const query = { from: 'k', to: prefixEnd('k'), limit: 2 };
        seen.push(store.range(query).map(({ key }) => key));
        seen.push(store.range({ ...query, reverse: true }).map(({ key }) => key));
        seen.push(['k1', 'k3', 'k4'].filter((key) => store.get(key) !== undefined));
        return [];
      },
    },
  };
  migrationOps(world.disk.openStore(), 0, layout);
  expect(seen).toEqual([
    ['k2', 'k3'],
    ['k4', 'k3'],
    ['k3', 'k4'],
  ]);
});

test('every layout since the first has a way to this one', () => {
  for (let version = 1; version < LAYOUT.version; version++) {
    expect(LAYOUT.migrations[version]).toBeTypeOf('function');
  }
  expect(LAYOUT.migrations[LAYOUT.version]).toBeUndefined();
});

/** Methods of a class instance as own members, to spread. */
function bound(store: Store): Store {
  return {
    get: (key) => store.get(key),
    range: (query) => store.range(query),
    append: (batch) => store.append(batch),
    room: () => store.room(),
    usedBytes: () => store.usedBytes(),
    close: () => store.close(),
  };
}
