/** Who a store is: minted once, every boot counted, no dot used twice. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import type { Store } from '../../src/ports/store.ts';
import { withFact } from '../../src/records/record.ts';
import { BOOT_IDS_KEPT, StoreIdentity } from '../../src/records/store-identity.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';
import { toWire } from '../../src/tasks/facts.ts';
import { encodeValue, type WireValue } from '../../src/wire/codec.ts';
import { checkedIdentity } from '../support/checked-identity.ts';
import { StoreWorld } from '../support/store-world.ts';
import { newRecord, startOf } from '../support/task-records.ts';

describe('the identity of a store', () => {
  it('is minted once, counts every boot, and remembers the boots before', async () => {
    const world = await StoreWorld.of('a');
    const first = world.host('a').identity;
    expect(first.storeId).toMatch(/^[0-9a-f]{32}$/);
    expect([first.bootCount, first.bootIds]).toEqual([1, [first.bootId]]);
    const second = (await world.restart('a')).identity;
    expect(second.storeId).toBe(first.storeId);
    expect(second.bootCount).toBe(2);
    expect(second.bootIds).toHaveLength(2);
  });

  it('keeps the last boots only', async () => {
    const world = await StoreWorld.of('a');
    for (let i = 0; i < BOOT_IDS_KEPT; i++) await world.restart('a');
    const { identity } = world.host('a');
    expect(identity.bootCount).toBe(BOOT_IDS_KEPT + 1);
    expect(identity.bootIds).toHaveLength(BOOT_IDS_KEPT);
  });

  it('never uses a dot twice, wherever it crashes', async () => {
    const world = await StoreWorld.of('a');
    const used: number[] = [];
    const record = newRecord([world.host('a').storeId]);
    for (let round = 0; round < 20; round++) {
      const host = await world.restart('a');
      for (let i = 0; i <= round % 3; i++) {
        const id = `${record.id}${round % 2}`;
        void host.replica.change(id, ({ current, fact }) => {
          const dot = fact(toWire(startOf(`run${round}`)));
          return { value: dot, next: withFact(current ?? { ...record, id }, dot) };
        });
      }
      // A crash at any moment of the sync: before, during and after it.
      await world.clock.runFor(round % 4);
      used.push(...[0, 1].flatMap((i) => dotsOf(host.replica.get(`${record.id}${i}`))));
    }
    const last = await world.restart('a');
    const kept = [0, 1].flatMap((i) => dotsOf(last.replica.get(`${record.id}${i}`)));
    expect(new Set(kept).size).toBe(kept.length);
    expect(kept.length).toBeGreaterThan(10);
    expect(kept).toEqual(expect.arrayContaining(used));
    expect(last.identity.nextSeq()).toBeGreaterThan(Math.max(...kept));
  });

  it('tells others only a seq that is durable: a crash must not look like a rollback', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const record = newRecord([a.storeId]);
    const change = a.replica.change(record.id, ({ fact }) => ({
      value: 0,
      next: withFact(record, fact(toWire(startOf('run1')))),
    }));
    expect(a.identity.seq()).toBe(0);
    await world.run(change);
    const told = a.identity.seq();
    expect(told).toBeGreaterThan(0);
    expect((await world.restart('a')).identity.seq()).toBe(told);
  });

  const over = async (key: string, value: WireValue | Uint8Array) => {
    const clock = new SimClock();
    const disk = new SimDisk({ clock, random: new SeededRandom('disk') });
    const bytes = value instanceof Uint8Array ? value : encodeValue(value);
    disk.restore([...(await imageOfNew(clock, disk)), [key, bytes]]);
    return settle(clock, disk.openStore());
  };

  it('never uses a dot twice, though an older copy of the disk is put back', async () => {
    const world = await StoreWorld.of('a');
    const { disk } = world.host('a');
    const image = disk.snapshot();
    const first = world.host('a').identity;
    const used = Array.from({ length: 100 }, () => first.nextSeq());
    disk.crash();
    disk.restore(image);
    const again = (await world.restart('a')).identity;
    expect(again.storeId).toBe(first.storeId);
    expect(used).not.toContain(again.nextSeq());
    // Others see that the dots that it has forgotten lie in none of its boots.
    const [span] = again.spans;
    expect(span).toEqual({ start: first.spans[0]?.start, end: span?.start });
  });

  it.each([
    ['a newer layout', 'm/store', checkedIdentity({ schema_version: 4 }), /newer Covey \(layout 4/],
    [
      'an older layout without a way',
      'm/store',
      { schema_version: 0 },
      /no way from store layout 0/,
    ],
    ['bytes that are no identity', 'm/store', new Uint8Array([0xff]), /unreadable/],
    ['an identity without its parts', 'm/store', { schema_version: 1 }, /unreadable/],
    [
      'an unreadable counter, whose dots would be used again',
      'm/seq',
      'x',
      /counter .* unreadable/,
    ],
  ])('refuses %s', async (_, key, value, why) => {
    const loaded = await over(key, value);
    expect(loaded).toMatchObject({ ok: false, error: { detail: expect.stringMatching(why) } });
  });
});

const dotsOf = (record: { facts: readonly { seq: number }[] } | undefined): number[] =>
  record?.facts.map((fact) => fact.seq) ?? [];

async function settle(clock: SimClock, store: Store) {
  let settled = false;
  const loading = StoreIdentity.load(store, new SeededRandom('store'));
  void loading.then(() => {
    settled = true;
  });
  await clock.runUntil(() => settled, 1_000);
  return loading;
}

async function imageOfNew(clock: SimClock, disk: SimDisk) {
  const store = disk.openStore();
  await settle(clock, store);
  disk.crash();
  return disk.snapshot();
}
