/** Stand-in copies: delivered home, and given up when enough have them. */
import { describe, expect, it } from 'vitest';
import { HANDOFF_ROUND_MAX, Handoff } from '../../src/records/handoff.ts';
import type { RecordState } from '../../src/records/record.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import { factOf, newRecord, startOf, storeOf, withFacts } from '../support/task-records.ts';

const standIn = (world: StoreWorld, host: StoreHost, record: RecordState) =>
  world.run(host.sharing.accept({ record, blob: undefined, fresh: false, standIn: true }));

const handoffOf = (world: StoreWorld, host: StoreHost) => {
  const { replica, sharing, view } = host;
  const handoff = new Handoff({ replica, sharing, directory: view.directory });
  return (required: number) => world.run(handoff.round(required));
};

describe('handoff', () => {
  it('delivers a stand-in copy, and gives it up when enough of the home confirmed it', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord([b.storeId, c.storeId]);
    await standIn(world, a, record);
    expect(await handoffOf(world, a)(2)).toBe(1);
    expect(a.replica.get(record.id)).toBeUndefined();
    expect(b.replica.get(record.id)).toEqual(record);
    expect(c.replica.isStandIn(record.id)).toBe(false);
  });

  it('keeps the copy while too few of the home are in reach', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord([b.storeId, c.storeId]);
    await standIn(world, a, record);
    const round = handoffOf(world, a);
    world.kill('c');
    expect(await round(2)).toBe(0);
    expect(b.replica.get(record.id)).toEqual(record);
    expect(a.replica.get(record.id)).toEqual(record);
    world.revive('c');
    expect(await round(2)).toBe(1);
    expect(c.replica.get(record.id)).toEqual(record);
  });

  it('keeps a copy that changed while it was delivered', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = newRecord([b.storeId]);
    await standIn(world, a, record);
    const round = handoffOf(world, a);
    const changed = withFacts(record, factOf(storeOf('c'), 1, startOf('run1')));
    world.clock.after(2, () => {
      void a.replica.change(record.id, () => ({ value: 0, next: changed }));
    });
    expect(await round(1)).toBe(0);
    expect(a.replica.get(record.id)).toBe(changed);
    expect(await round(1)).toBe(1);
    expect(b.replica.get(record.id)).toEqual(changed);
  });

  it('keeps the copy without its mark where this store came into the home', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = withFacts(
      newRecord([b.storeId]),
      factOf(b.storeId, 1, { t: 'home', store: a.storeId, at: 1 }),
    );
    await standIn(world, a, record);
    expect(await handoffOf(world, a)(1)).toBe(1);
    expect(a.replica.get(record.id)).toEqual(record);
    expect(a.replica.isStandIn(record.id)).toBe(false);
  });

  it('reads who came into the home where stores of it are gone for good', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const record = newRecord([b.storeId, storeOf('reminted')]);
    await standIn(world, a, record);
    const round = handoffOf(world, a);
    expect(await round(2)).toBe(0);
    // The home grows without a word to the stand-in, and what it offers is confirmed already.
    const grown = withFacts(record, factOf(b.storeId, 1, { t: 'home', store: c.storeId, at: 1 }));
    for (const host of [b, c])
      await world.run(
        host.sharing.accept({ record: grown, blob: undefined, fresh: false, standIn: false }),
      );
    expect(await round(2)).toBe(0);
    expect(await round(2)).toBe(1);
    expect(a.replica.get(record.id)).toBeUndefined();
  });

  it('reads who came into the home where stores of it were removed', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd');
    const [a, b, c, d] = [world.host('a'), world.host('b'), world.host('c'), world.host('d')];
    const record = newRecord([b.storeId, d.storeId]);
    await standIn(world, a, record);
    const round = handoffOf(world, a);
    world.mesh.gone.add(d.peerId);
    const grown = withFacts(record, factOf(b.storeId, 1, { t: 'home', store: c.storeId, at: 1 }));
    for (const host of [b, c])
      await world.run(
        host.sharing.accept({ record: grown, blob: undefined, fresh: false, standIn: false }),
      );
    world.status.set(d.peerId, 'dead');
    expect([await round(2), await round(2)]).toEqual([0, 0]);
    world.status.set(d.peerId, 'removed');
    expect([await round(2), await round(2)]).toEqual([0, 1]);
  });

  it('comes to every copy, though the first ones cannot be delivered', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const stuck = Array.from({ length: HANDOFF_ROUND_MAX }, () => newRecord([storeOf('gone')]));
    const due = newRecord([b.storeId]);
    for (const record of [...stuck, due]) {
      void a.sharing.accept({ record, blob: undefined, fresh: false, standIn: true });
    }
    await world.clock.runFor(1_000);
    const round = handoffOf(world, a);
    const released = [await round(1), await round(1), await round(1)];
    expect(released.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(b.replica.get(due.id)).toEqual(due);
  });

  it('waits once for a store that is linked and does not answer, not once for each copy', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd');
    const [a, b, c, d] = [world.host('a'), world.host('b'), world.host('c'), world.host('d')];
    const records = Array.from({ length: 100 }, () => newRecord([b.storeId, c.storeId, d.storeId]));
    for (const record of records)
      void a.sharing.accept({ record, blob: undefined, fresh: false, standIn: true });
    await world.clock.runFor(1_000);
    world.mesh.frozen.add(c.peerId);
    const startedMs = world.clock.nowMs();
    expect(await handoffOf(world, a)(2)).toBe(records.length);
    expect(world.clock.nowMs() - startedMs).toBeLessThan(6_000);
    expect(b.replica.get(records.at(-1)?.id ?? '')).toEqual(records.at(-1));
  });

  it('keeps the copy that was counted in place of a sender whose disk is full', async () => {
    const world = await StoreWorld.of('p', 'b', 'c', 'd');
    const [p, b, c, d] = ['p', 'b', 'c', 'd'].map((name) => world.host(name));
    if (!p || !b || !c || !d) throw new Error('no hosts');
    const record = newRecord([p.storeId, b.storeId, c.storeId]);
    p.disk.full = true;
    world.kill('c');
    const plan = { home: record.firstHome, required: 2 };
    const created = { record, blob: undefined, fresh: true, isFirst: true };
    const spread = await world.run(p.sharing.spread(created, plan));
    expect(new Set(spread.storedOn)).toEqual(new Set([b.storeId, d.storeId]));
    const round = handoffOf(world, d);
    expect(await round(2)).toBe(0);
    expect(d.replica.get(record.id)).toEqual(record);
    p.disk.full = false;
    expect(await round(2)).toBe(1);
    expect(p.replica.get(record.id)).toEqual(record);
  });
});
