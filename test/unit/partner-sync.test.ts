/** Anti-entropy between two stores: cheap when equal, right when not. */
import { describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/units.ts';
import { contentHash, type RecordState } from '../../src/records/record.ts';
import { ITEMS_MAX } from '../../src/records/sync-items.ts';
import { KEY_TTL_MS, keyRecordId } from '../../src/tasks/dedupe.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import {
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const put = async (world: StoreWorld, host: StoreHost, records: readonly RecordState[]) => {
  const changes = records.map((record) =>
    host.replica.change(record.id, () => ({ value: 0, next: record })),
  );
  await world.run(Promise.all(changes));
};

const shared = (world: StoreWorld, count: number): RecordState[] =>
  Array.from({ length: count }, () => newRecord(world.hosts.map((host) => host.storeId)));

const contentsOf = (host: StoreHost): string[] =>
  host.replica.ids({ limit: 10_000 }).map((id) => {
    const record = host.replica.get(id);
    return record === undefined ? '' : `${id} ${contentHash(record)}`;
  });

describe('anti-entropy between partners', () => {
  it('costs one message when both hold the same', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const records = shared(world, 3);
    await put(world, a, records);
    await put(world, b, [...records].reverse());
    await put(world, a, [newRecord([a.storeId, storeOf('elsewhere')])]);
    world.mesh.sent.length = 0;
    const round = await world.run(a.sync.syncWith(b.storeId));
    expect(round).toEqual({ ok: true, value: { equal: true, pulled: 0, pushed: 0 } });
    expect(world.mesh.sent.map((item) => item.type)).toEqual(['sync.root']);
  });

  it('brings differences both ways, and leaves alone what is not shared', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [one, two, both] = shared(world, 3);
    if (one === undefined || two === undefined || both === undefined) throw new Error('no records');
    const alone = newRecord([a.storeId]);
    await put(world, a, [one, both, alone]);
    await put(world, b, [two, both]);
    await put(world, a, [withFacts(both, factOf(a.storeId, 1, startOf('run1')))]);
    await put(world, b, [withFacts(both, factOf(b.storeId, 1, startOf('run2')))]);

    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: false } });
    expect(b.replica.get(both.id)?.facts).toHaveLength(2);
    expect(b.replica.get(alone.id)).toBeUndefined();
    expect(contentsOf(a).filter((line) => !line.startsWith(alone.id))).toEqual(contentsOf(b));
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: true } });
    expect(await world.run(b.sync.syncWith(a.storeId))).toMatchObject({ value: { equal: true } });
  });

  it('finds differences on every page of many records, in either direction', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const records = shared(world, 2 * ITEMS_MAX + 7);
    await put(
      world,
      a,
      records.filter((_, i) => i % 400 !== 3),
    );
    await put(
      world,
      b,
      records.filter((_, i) => i % 400 !== 5),
    );
    const round = await world.run(a.sync.syncWith(b.storeId));
    expect(round).toEqual({ ok: true, value: { equal: false, pulled: 3, pushed: 3 } });
    expect(a.replica.heldCount).toBe(records.length);
    expect(b.replica.heldCount).toBe(records.length);
    expect(await world.run(b.sync.syncWith(a.storeId))).toMatchObject({ value: { equal: true } });
  });

  it.each(['a', 'b'])(
    'fills an empty partner in one round, whoever of them asks: %s',
    async (asking) => {
      const world = await StoreWorld.of('a', 'b');
      const [a, b] = [world.host('a'), world.host('b')];
      const [one, other] = asking === 'a' ? [a, b] : [b, a];
      await put(world, a, shared(world, 2 * ITEMS_MAX + 20));
      await world.run(one.sync.syncWith(other.storeId));
      expect(contentsOf(b)).toEqual(contentsOf(a));
      expect(await world.run(b.sync.syncWith(a.storeId))).toMatchObject({ value: { equal: true } });
    },
  );

  it.each(['a', 'b'])(
    'does not send all again and again to a partner whose disk has no room: %s asks',
    async (asking) => {
      const world = await StoreWorld.of('a', 'b');
      const [a, b] = [world.host('a'), world.host('b')];
      const [one, other] = asking === 'a' ? [a, b] : [b, a];
      await put(world, a, shared(world, 2 * ITEMS_MAX + 20));
      b.disk.space = { freeBytes: 20 * MIB, totalBytes: 1e12, reusableBytes: 0 };
      expect(b.replica.room).toBe('scarce');
      world.mesh.sent.length = 0;
      await world.run(one.sync.syncWith(other.storeId));
      expect(b.replica.heldCount).toBe(0);
      expect(world.mesh.count('rec.put')).toBeLessThanOrEqual(64);
      expect(world.mesh.count('rec.ask')).toBe(0);
      b.disk.space = { freeBytes: 1e12, totalBytes: 1e12, reusableBytes: 0 };
      await world.run(one.sync.syncWith(other.storeId));
      expect(contentsOf(b)).toEqual(contentsOf(a));
    },
  );

  it('counts what it held before a restart, and not what was dropped since', async () => {
    const world = await StoreWorld.of('a', 'b');
    const b = world.host('b');
    const [one, two] = shared(world, 2);
    if (one === undefined || two === undefined) throw new Error('no records');
    const final = withFacts(two, factOf(b.storeId, 1, finalOf()));
    await put(world, world.host('a'), [one, final]);
    await put(world, b, [one, final]);
    const a = await world.restart('a');
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: true } });
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 1 };
    for (const host of [a, b]) await world.run(host.replica.drop(final.id, stone));
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: true } });
  });

  it('buries a copy that is not final where the partner dropped the record', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [record] = shared(world, 1);
    if (record === undefined) throw new Error('no record');
    await put(world, a, [record]);
    await put(world, b, [withFacts(record, factOf(b.storeId, 1, finalOf()))]);
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 1 };
    await world.run(b.replica.drop(record.id, stone));
    await world.run(a.sync.syncWith(b.storeId));
    expect(a.replica.get(record.id)).toBeUndefined();
    expect(a.replica.tombstone(record.id)).toEqual(stone);
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: true } });
  });

  it('says who cannot be reached, and refuses strangers and pages too large', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const stranger = world.mesh.join('peer-stranger');
    const sum = { cut: 1, sum: new Uint8Array(8) };
    expect(await world.run(stranger.call(a.peerId, 'sync.root', sum))).toMatchObject({
      error: { code: 'NOT_ALLOWED' },
    });
    const items = Array.from({ length: ITEMS_MAX + 1 }, (_, i) => [`${i}`, new Uint8Array(8)]);
    const page = { cut: 1, leaves: [0], items };
    expect(await world.run(b.messaging.call(a.peerId, 'sync.items', page))).toMatchObject({
      error: { code: 'INVALID_PARAMS' },
    });
    world.kill('b');
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({
      error: { code: 'UNREACHABLE' },
    });
  });

  it('lets a key that one of them has forgotten go at the other too', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const home = [a.storeId, b.storeId].sort();
    const id = keyRecordId('default', 'nightly');
    const stamp = world.clock.wallMs();
    const key: RecordState = { ...newRecord(home), id, kind: 'key', stamp };
    for (const host of [a, b]) await put(world, host, [key]);
    await world.clock.runFor(KEY_TTL_MS + 1);
    const stone = { final: 'key', digest: '', droppedWallMs: world.clock.wallMs() };
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      await world.run(one.replica.drop(id, stone));
      await world.run(one.sync.syncWith(other.storeId));
      await world.run(other.sync.syncWith(one.storeId));
      expect(one.replica.get(id)).toBeUndefined();
    }
    expect(a.replica.get(id)).toBeUndefined();
    expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({ value: { equal: true } });
    const refused = await world.run(
      a.sharing.accept({ record: key, blob: undefined, fresh: false, standIn: false }),
    );
    expect(refused.ok).toBe(false);
  });
});
