/**
 * Merkle trees against a naive model: whatever was written, joined, dropped, forgotten and synchronised at three stores,
 * with clocks that go wrong, the sums are those of what is shared, and partners that hold the same see it by their
 * roots alone.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differingSums, leafOf, MerkleTree, SLOTS } from '../../src/records/merkle-tree.ts';
import { contentHash, type Fact, homeOf, type RecordState } from '../../src/records/record.ts';
import { keyRecordId } from '../../src/tasks/dedupe.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import { factOf, finalOf, newRecord, startOf, withFacts } from '../support/task-records.ts';

const NAMES = ['a', 'b', 'c'] as const;
const RECORDS = 5;
const HOUR_MS = 3_600_000;

const nameArb = fc.constantFrom(...NAMES);
const recordArb = fc.integer({ min: 0, max: RECORDS - 1 });
const opArb = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant('put'), nameArb, recordArb, fc.nat(63)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('drop'), nameArb, recordArb, fc.nat(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('sync'), nameArb, fc.nat(1), fc.nat(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('wait'), nameArb, fc.nat(2), fc.nat(0)) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant('clock'), nameArb, fc.integer({ min: -2, max: 2 }), fc.nat(0)),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant('restart'), nameArb, fc.nat(0), fc.nat(0)) },
);
/** Which of the three stores are in the first home of each record. */
const homesArb = fc.array(fc.subarray([0, 1, 2], { minLength: 1 }), {
  minLength: RECORDS,
  maxLength: RECORDS,
});

/** A task, or at 4 a key; and the facts that anybody may ever learn of it. A dot has one value. */
function universeOf(world: StoreWorld, at: number, home: readonly number[]) {
  const stores = world.hosts.map((host) => host.storeId);
  const [a = '', b = '', c = ''] = stores;
  const wall = world.clock.wallMs();
  const first = newRecord(home.map((i) => stores[i] ?? ''));
  const seq = at * 10 + 1_000;
  if (at === RECORDS - 1) {
    const id = keyRecordId('default', 'k');
    const key: RecordState = { ...first, id, kind: 'key', stamp: wall - 168 * HOUR_MS };
    const facts: Fact[] = [0, 1, 2].map((i) => ({
      store: stores[i] ?? '',
      seq: seq + i,
      value: { t: 'id', id: first.id, g: 1, at: wall - (168 - i) * HOUR_MS },
    }));
    return { record: key, facts };
  }
  const facts = [
    factOf(a, seq, startOf('run1')),
    factOf(b, seq, { t: 'cancel', reason: 'r', by: 'p', at: wall }),
    factOf(a, seq + 1, finalOf({ drop_at: wall + HOUR_MS })),
    factOf(b, seq + 1, { t: 'home', store: c, at: wall }),
    factOf(c, seq + 1, { t: 'home', store: b, at: wall }),
    factOf(c, seq + 2, { t: 'drop', drop_at: wall + 1 }),
  ];
  return { record: first, facts };
}

class Model {
  readonly world: StoreWorld;
  readonly records: ReturnType<typeof universeOf>[];

  constructor(world: StoreWorld, homes: readonly (readonly number[])[]) {
    this.world = world;
    this.records = homes.map((home, at) => universeOf(world, at, home));
  }

  wallOf(host: StoreHost): number {
    return this.world.clock.wallMs() + (this.world.wallOffsetMs.get(host.name) ?? 0);
  }

  async run(op: readonly [string, string, number, number]): Promise<void> {
    const { world } = this;
    const [what, name, n, mask] = op;
    const host = world.host(name);
    if (what === 'wait') await world.clock.runFor((n * HOUR_MS) / 2 + 7);
    if (what === 'clock') world.wallOffsetMs.set(name, n * HOUR_MS);
    if (what === 'restart') await world.restart(name);
    const universe = this.records[n];
    if (what === 'sync') {
      const other = world.hosts.filter((one) => one !== host)[n];
      if (other !== undefined) await world.run(host.sync.syncWith(other.storeId));
    } else if (what === 'put' && universe !== undefined) {
      const facts = universe.facts.filter((_, i) => (mask >> i) % 2 === 1);
      await world.run(
        host.sharing.accept({
          record: withFacts(universe.record, ...facts),
          blob: undefined,
          fresh: false,
          standIn: false,
        }),
      );
    } else if (what === 'drop' && universe !== undefined) await this.drop(host, universe.record.id);
  }

  /** As retention does. */
  async drop(host: StoreHost, id: string): Promise<void> {
    const record = host.replica.get(id);
    const wall = this.wallOf(host);
    const dropAt = record === undefined ? undefined : host.replica.dropAtMs(record);
    if (dropAt === undefined || dropAt > wall) return;
    const stone = { final: 'completed', digest: 'd', droppedWallMs: wall };
    await this.world.run(host.replica.drop(id, stone));
  }

  /** What a store shares with another and neither of them takes for past. */
  shared(host: StoreHost, other: StoreHost): Map<string, string> {
    const cut = Math.max(this.wallOf(host), this.wallOf(other));
    const shared = new Map<string, string>();
    for (const { record } of this.records) {
      const mine = host.replica.get(record.id);
      const home = mine === undefined ? [] : homeOf(mine);
      const isShared = home.includes(host.storeId) && home.includes(other.storeId);
      if (mine === undefined || !isShared) continue;
      if ((host.replica.dropAtMs(mine) ?? Number.POSITIVE_INFINITY) > cut)
        shared.set(record.id, contentHash(mine));
    }
    return shared;
  }
}

describe('Merkle trees of partners', () => {
  it('come to the same after any history, and say so by their roots', async () => {
    await fc.assert(
      fc.asyncProperty(
        homesArb,
        fc.array(opArb, { maxLength: 40 }),
        fc.constantFrom(1, 2, 256),
        async (homes, ops, treesMax) => {
          const world = new StoreWorld();
          world.treesMax.set('a', treesMax);
          world.agreedMs = 0;
          for (const name of NAMES) await world.add(name);
          const model = new Model(world, homes);
          for (const op of ops) await model.run(op);
          const pairs = NAMES.flatMap((a) =>
            NAMES.filter((b) => b !== a).map((b) => [a, b] as const),
          );
          for (let round = 0; round < 4; round++)
            for (const [a, b] of pairs)
              await world.run(world.host(a).sync.syncWith(world.host(b).storeId));
          world.mesh.sent.length = 0;
          for (const [a, b] of pairs) {
            const [one, other] = [world.host(a), world.host(b)];
            const round = await world.run(one.sync.syncWith(other.storeId));
            expect(round).toEqual({ ok: true, value: { equal: true, pulled: 0, pushed: 0 } });
          }
          expect(new Set(world.mesh.sent.map(({ type }) => type))).toEqual(new Set(['sync.root']));
          for (const [a, b] of pairs) {
            const [one, other] = [world.host(a), world.host(b)];
            const dropped = (id: string) =>
              other.replica.get(id) === undefined && other.replica.tombstone(id);
            const mine = [...model.shared(one, other)].filter(([id]) => !dropped(id));
            const theirs = model.shared(other, one);
            for (const [id, hash] of mine) expect([id, theirs.get(id)]).toEqual([id, hash]);
          }
        },
      ),
      { numRuns: 300 },
    );
  }, 120_000);

  it('hold the sums of what is shared, without a partner that dropped something', async () => {
    await fc.assert(
      fc.asyncProperty(
        homesArb,
        fc.array(
          opArb.filter(([what]) => what !== 'sync'),
          { maxLength: 30 },
        ),
        fc.constantFrom(1, 256),
        async (homes, ops, treesMax) => {
          const world = new StoreWorld();
          for (const name of NAMES) {
            world.treesMax.set(name, treesMax);
            await world.add(name);
          }
          const model = new Model(world, homes);
          for (const op of ops) {
            await model.run(op);
            const [host, other] = [world.host(op[1]), world.host(op[1] === 'a' ? 'b' : 'a')];
            const cut = Math.max(model.wallOf(host), model.wallOf(other));
            const tree = await world.run(
              host.sync.trees.at(
                other.storeId,
                cut,
                (sums) => [sums.root, sums.slotSums()] as const,
              ),
            );
            const naive = new MerkleTree();
            for (const [id, hash] of model.shared(host, other))
              naive.add(leafOf(id), BigInt(`0x${hash.slice(0, 16)}`));
            expect(tree).toEqual([naive.root, naive.slotSums()]);
          }
        },
      ),
      { numRuns: 150 },
    );
  }, 120_000);
});

describe('a Merkle tree', () => {
  const itemArb = fc.tuple(fc.nat(SLOTS * 256 - 1), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));

  it('has sums that do not depend on the order, and forgets what is taken out', () => {
    fc.assert(
      fc.property(fc.array(itemArb), fc.array(itemArb), (kept, removed) => {
        const [one, other] = [new MerkleTree(), new MerkleTree()];
        for (const [leaf, hash] of [...removed, ...kept]) one.add(leaf, hash);
        for (const [leaf, hash] of [...kept].reverse()) other.add(leaf, hash);
        for (const [leaf, hash] of removed) one.subtract(leaf, hash);
        expect(one.root).toBe(other.root);
        expect(differingSums(one.slotSums(), other.slotSums())).toEqual([]);
        for (let slot = 0; slot < SLOTS; slot++)
          expect(differingSums(one.leafSums(slot), other.leafSums(slot))).toEqual([]);
      }),
    );
  });

  it('puts tasks of one hour into one or two slots, and their leaves apart', () => {
    const tasks = Array.from({ length: 2_000 }, (_, i) =>
      leafOf(newRecord([], { stamp: 1_767_225_600_000 + i * 1_800 }).id),
    );
    expect(new Set(tasks.map((leaf) => Math.floor(leaf / 256))).size).toBeLessThanOrEqual(2);
    expect(new Set(tasks).size).toBeGreaterThan(200);
  });
});
