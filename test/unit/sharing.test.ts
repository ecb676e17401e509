/** How records reach the stores of their home, and how many confirm. */
import { describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { utf8 } from '../../src/base/hash.ts';
import { err } from '../../src/base/result.ts';
import { STAND_IN_AFTER_MS } from '../../src/records/gather.ts';
import { encodeRecord, type RecordState, withFact } from '../../src/records/record.ts';
import { ASK_IDS_MAX } from '../../src/records/sharing.ts';
import { type TaskFactValue, toWire } from '../../src/tasks/facts.ts';
import type { WireMap } from '../../src/wire/envelope.ts';
import type { CallResult } from '../../src/wire/messaging.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import {
  endOf,
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const note = (world: StoreWorld, host: StoreHost, id: string, value: TaskFactValue) =>
  world.run(
    host.replica.change(id, ({ current, fact }) => {
      if (current === undefined) throw new Error(`${id} is not here`);
      return { value: 0, next: withFact(current, fact(toWire(value))) };
    }),
  );

const homeOfAll = (world: StoreWorld): string[] => world.hosts.map((host) => host.storeId);

const submit = (
  world: StoreWorld,
  at: StoreHost,
  record: RecordState,
  required: number,
  blob?: Uint8Array,
) =>
  world.run(at.sharing.spread({ record, blob, fresh: true }, { home: record.firstHome, required }));

describe('sharing', () => {
  it('brings a new record to the stores of its home, and its changes as their facts alone', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b] = [world.host('a'), world.host('b')];
    const blob = utf8('a payload');
    const record = newRecord(homeOfAll(world), { blob });
    const spread = await submit(world, a, record, 3, blob);
    expect(spread.storedOn).toHaveLength(3);
    expect(spread).toMatchObject({ standIns: [], existed: false, refusal: undefined });
    expect(b.replica.blob(record.id)).toEqual(blob);

    await note(world, a, record.id, startOf('run1'));
    world.mesh.sent.length = 0;
    expect(await world.run(a.sharing.share(record.id, 3))).toMatchObject({
      storedOn: homeOfAll(world),
    });
    expect(b.replica.get(record.id)?.facts).toHaveLength(1);
    for (const { body } of world.mesh.sent) {
      expect(body).toEqual({ id: record.id, base: {}, facts: [expect.anything()] });
    }
  });

  it('costs no message when the others have everything already', async () => {
    const world = await StoreWorld.of('a', 'b');
    const a = world.host('a');
    const record = newRecord(homeOfAll(world));
    await submit(world, a, record, 2);
    world.mesh.sent.length = 0;
    await world.run(a.sharing.share(record.id, 2));
    expect(world.mesh.sent).toEqual([]);
  });

  it('sends the whole record to a store that lacks what the facts build on', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = newRecord(homeOfAll(world));
    await submit(world, a, record, 2);
    await note(world, a, record.id, startOf('run1'));
    await world.run(a.sharing.share(record.id, 2));
    // What b holds is taken away behind a's back.
    await world.run(b.replica.change(record.id, () => ({ value: 0, forget: true })));
    await note(world, a, record.id, endOf('run1'));
    await world.run(a.sharing.share(record.id, 2));
    expect(b.replica.get(record.id)?.facts).toHaveLength(2);
  });

  it('sends what was filled in below the clock that another store confirmed', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord(homeOfAll(world));
    await submit(world, a, record, 3);
    // b learns a's third fact with an end from the runner, before a's first two.
    const [one, two, three] = [1, 2, 3].map((seq) => factOf(a.storeId, seq, startOf(`run${seq}`)));
    if (one === undefined || two === undefined || three === undefined) throw new Error('no facts');
    const at = (host: StoreHost, ...facts: (typeof one)[]) =>
      host.replica.change(record.id, ({ current = record }) => ({
        value: 0,
        next: withFacts(current, ...facts),
      }));
    await world.run(at(b, three));
    await world.run(b.sharing.shareWith(record.id, c.storeId));
    await world.run(at(b, one, two));
    expect(await world.run(b.sharing.shareWith(record.id, c.storeId))).toMatchObject({ ok: true });
    expect(c.replica.get(record.id)?.facts).toHaveLength(3);
  });

  it('marks every copy outside its home, whoever brings it', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord([a.storeId, b.storeId]);
    // As a takeover does with what it was answered, while a handoff has given the copy away.
    for (const at of [b, c]) {
      const copy = { record, blob: undefined, fresh: false, standIn: false };
      await world.run(at.sharing.accept(copy));
    }
    expect(b.replica.isStandIn(record.id)).toBe(false);
    expect(c.replica.isStandIn(record.id)).toBe(true);
  });

  it('stands in for a home store that is dead, and says so', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = newRecord([a.storeId, b.storeId]);
    world.kill('b');
    const spread = await submit(world, a, record, 2);
    expect(spread.storedOn).toHaveLength(2);
    expect(spread.standIns).toHaveLength(1);
    expect(spread.unreachable).toEqual([b.storeId]);
    const standIn = world.hosts.find((host) => host.storeId === spread.standIns[0]);
    expect(standIn?.replica.isStandIn(record.id)).toBe(true);
  });

  it('stands in for every home store that does not answer in time', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd', 'e');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    world.mesh.frozen.add(b.peerId).add(c.peerId);
    const record = newRecord([b.storeId, c.storeId]);
    const before = world.clock.nowMs();
    const spread = await submit(world, a, record, 2);
    expect(spread.standIns).toHaveLength(2);
    expect(world.clock.nowMs() - before).toBeGreaterThanOrEqual(STAND_IN_AFTER_MS);
    expect(world.clock.nowMs() - before).toBeLessThan(STAND_IN_AFTER_MS + 100);
  });

  it('asks no further stand-in when a store that was stood in for fails after all', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd', 'e');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = newRecord([a.storeId, b.storeId]);
    // b says after a while that it cannot; whoever stands in for it says nothing for longer.
    const slow = (afterMs: number) => () =>
      new Promise<CallResult>((resolve) => {
        world.clock.after(afterMs, () => resolve(err(coveyError('STORE_FULL', { peer: 'b' }))));
      });
    b.messaging.onRequest('rec.put', slow(STAND_IN_AFTER_MS + 500));
    for (const name of ['c', 'd', 'e'])
      world.host(name).messaging.onRequest('rec.put', slow(60_000));
    const reserve = world.hosts.slice(2).map((host) => host.peerId);
    await submit(world, a, record, 2);
    const asked = world.mesh.sent.filter((item) => reserve.includes(item.to));
    expect(asked).toHaveLength(1);
  });

  it('says how many it reached when that is fewer than required', async () => {
    const world = await StoreWorld.of('a', 'b');
    const a = world.host('a');
    world.kill('b');
    const record = newRecord(homeOfAll(world));
    const spread = await submit(world, a, record, 2);
    expect(spread).toMatchObject({ storedOn: [a.storeId], standIns: [], refusal: undefined });
  });

  it('asks a stand-in again, which may have given its copy up', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord([a.storeId, b.storeId]);
    world.kill('b');
    expect((await submit(world, a, record, 2)).standIns).toEqual([c.storeId]);
    const copy = c.replica.get(record.id);
    if (copy === undefined) throw new Error('no copy');
    await world.run(c.replica.releaseStandIn(copy, false));
    const again = await world.run(a.sharing.share(record.id, 2));
    expect(again?.storedOn).toEqual([a.storeId, c.storeId]);
    expect(c.replica.get(record.id)).toBeDefined();
    expect(c.replica.isStandIn(record.id)).toBe(true);
  });

  it('refuses another request under the same id, and takes the same one again', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = newRecord(homeOfAll(world));
    await submit(world, a, record, 2);
    expect(await submit(world, b, { ...record, stamp: record.stamp + 1 }, 2)).toMatchObject({
      existed: true,
      refusal: undefined,
    });
    const other = newRecord(homeOfAll(world), { id: record.id, header: { digest: 'other' } });
    expect((await submit(world, b, other, 2)).refusal).toMatchObject({ code: 'ID_CONFLICT' });
  });

  it('keeps the payload that belongs to the creation that stands', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [late, early] = [utf8('late'), utf8('early')];
    const mine = newRecord(homeOfAll(world), { blob: late, stamp: 2 });
    const theirs = newRecord(homeOfAll(world), { blob: early, stamp: 1, id: mine.id });
    world.mesh.gone.add(b.peerId).add(a.peerId);
    await submit(world, a, mine, 1, late);
    await submit(world, b, theirs, 1, early);
    world.mesh.gone.clear();
    await world.run(b.sharing.share(mine.id, 2));
    expect(a.replica.get(mine.id)?.blobDigest).toBe(theirs.blobDigest);
    expect(a.replica.blob(mine.id)).toEqual(early);
  });

  describe('a record that was dropped after its final', () => {
    const dropped = async () => {
      const world = await StoreWorld.of('a', 'b');
      const [a, b] = [world.host('a'), world.host('b')];
      const record = newRecord(homeOfAll(world));
      await submit(world, a, record, 2);
      await note(world, b, record.id, finalOf());
      const stone = { final: 'completed', digest: 'd', droppedWallMs: 5 };
      await world.run(b.replica.drop(record.id, stone));
      return { world, a, b, record, stone };
    };

    it('is buried where a copy is pushed from that is not final', async () => {
      const { world, a, record, stone } = await dropped();
      await note(world, a, record.id, startOf('run1'));
      await world.run(a.sharing.share(record.id, 2));
      expect(a.replica.get(record.id)).toBeUndefined();
      expect(a.replica.tombstone(record.id)).toEqual(stone);
      expect(a.replica.unfinishedCount).toBe(0);
      expect(a.replica.heldCount).toBe(0);
    });

    it('is buried where it is asked about, by a takeover', async () => {
      const { world, a, b, record, stone } = await dropped();
      expect(await world.run(a.sharing.ask(b.peerId, [record.id], false))).toEqual({
        ok: true,
        value: [],
      });
      expect(a.replica.tombstone(record.id)).toEqual(stone);
    });

    it('is taken for the same task when its request comes again', async () => {
      const { world, b, record } = await dropped();
      expect(await submit(world, b, record, 1)).toMatchObject({ existed: true });
      expect(b.replica.get(record.id)).toBeUndefined();
    });

    it('keeps a final copy for its own time', async () => {
      const { world, a, record } = await dropped();
      await note(world, a, record.id, finalOf());
      await world.run(a.sharing.share(record.id, 2));
      expect(a.replica.get(record.id)).toBeDefined();
    });
  });

  it('reads pages of what another store holds, with payloads if wanted', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const blob = utf8('payload');
    const records = Array.from({ length: ASK_IDS_MAX + 5 }, () => newRecord([b.storeId], { blob }));
    for (const record of records) {
      void b.sharing.accept({ record, blob, fresh: true, standIn: false });
    }
    await world.clock.runFor(200);
    const ids = records.map((record) => record.id);
    const copies = await world.run(a.sharing.ask(b.peerId, ids, true));
    expect(copies.ok && copies.value.map((copy) => copy.record.id)).toEqual(ids);
    expect(copies.ok && copies.value.every((copy) => copy.blob?.length === blob.length)).toBe(true);
    world.kill('b');
    expect(await world.run(a.sharing.ask(b.peerId, ids, true))).toMatchObject({
      error: { code: 'UNREACHABLE' },
    });
  });

  const record = newRecord([storeOf('h')], { blob: utf8('payload') });
  const encoded = encodeRecord(record);
  it.each<[string, string, WireMap]>([
    ['no record', 'rec.put', {}],
    ['a record of no kind', 'rec.put', { record: { ...encoded, kind: 'thing' } }],
    ['a header that is no header', 'rec.put', { record: { ...encoded, header: utf8('x') } }],
    ['a payload of another digest', 'rec.put', { record: encoded, blob: utf8('other') }],
    ['a record without its payload', 'rec.put', { record: encoded }],
    [
      'a fact that says nothing',
      'rec.put',
      { record: { ...encoded, blob_digest: '', facts: [[storeOf('s'), 1, { t: 'end' }]] } },
    ],
    ['facts that are none', 'rec.put', { id: record.id, base: {}, facts: [1] }],
    [
      'a dot below 1',
      'rec.put',
      { id: record.id, base: {}, facts: [[storeOf('s'), 0, { t: 'x' }]] },
    ],
    [
      'a store that is none',
      'rec.put',
      { id: record.id, base: {}, facts: [['constructor', 1, {}]] },
    ],
    [
      'one dot twice',
      'rec.put',
      { id: record.id, base: {}, facts: [1, 1].map((seq) => [storeOf('s'), seq, { t: 'x' }]) },
    ],
    ['a task under the id of a key', 'rec.put', { record: { ...encoded, id: 'key-1' } }],
    ['a delta without a base', 'rec.put', { id: record.id, facts: [] }],
    ['ids that are none', 'rec.ask', { ids: [1] }],
    ['too many ids', 'rec.ask', { ids: Array.from({ length: ASK_IDS_MAX + 1 }, () => 'x') }],
  ])('answers %s with INVALID_PARAMS and goes on', async (_, type, body) => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    expect(await world.run(a.messaging.call(b.peerId, type, body))).toMatchObject({
      error: { code: 'INVALID_PARAMS' },
    });
    expect(b.replica.heldCount).toBe(0);
  });

  it('does not let malformed facts into a record that it holds', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const held = newRecord(homeOfAll(world));
    await submit(world, a, held, 2);
    const facts = [[a.storeId, 1, { t: 'final', state: 'completed' }]];
    const body = { id: held.id, base: {}, facts };
    expect(await world.run(a.messaging.call(b.peerId, 'rec.put', body))).toMatchObject({
      error: { code: 'INVALID_PARAMS' },
    });
    expect(b.replica.get(held.id)?.facts).toEqual([]);
  });
});
