/** Merkle trees between partners at their edges: built anew, wrong, old, and where clocks or dots went wrong. */
import { describe, expect, it, vi } from 'vitest';
import type { Store } from '../../src/ports/store.ts';
import { leafOf, MerkleTree } from '../../src/records/merkle-tree.ts';
import { PartnerSync, SECOND_LOOK_FROM, SUSPECT_ROUNDS } from '../../src/records/partner-sync.ts';
import { PartnerTrees } from '../../src/records/partner-trees.ts';
import { contentHash, type RecordState } from '../../src/records/record.ts';
import { Replica } from '../../src/records/replica.ts';
import { keyRules } from '../../src/tasks/dedupe.ts';
import { taskRules } from '../../src/tasks/task.ts';
import { type StoreHost, StoreWorld } from '../support/store-world.ts';
import {
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const HOUR_MS = 3_600_000;
const EQUAL = { ok: true, value: { equal: true, pulled: 0, pushed: 0 } };

const write = (host: StoreHost, records: readonly RecordState[]): Promise<unknown> =>
  Promise.all(
    records.map((record) => host.replica.change(record.id, () => ({ value: 0, next: record }))),
  );

const shared = (world: StoreWorld, count: number): RecordState[] =>
  Array.from({ length: count }, () => newRecord(world.hosts.map((host) => host.storeId)));

const finalAt = (host: StoreHost, record: RecordState, dropAtMs: number): RecordState =>
  withFacts(record, factOf(host.storeId, 5, finalOf({ drop_at: dropAtMs })));

describe('trees of partners', () => {
  it('are built anew, beside changes, when there are more partners than trees', async () => {
    const world = new StoreWorld();
    world.treesMax.set('a', 1);
    for (const name of ['a', 'b', 'c']) await world.add(name);
    const [a, b, c] = [world.host('a'), world.host('b'), world.host('c')];
    const records = shared(world, 2_500);
    for (const host of [a, b, c]) await world.run(write(host, records));
    await world.run(a.sync.syncWith(c.storeId));
    const changed = records
      .filter((_, i) => i % 10 === 0)
      .map((record) => withFacts(record, factOf(a.storeId, 1, startOf('run1'))));
    const writing = [a, b, c].map((host) => write(host, changed));
    await world.run(Promise.all([...writing, a.sync.syncWith(b.storeId)]));
    expect(a.sync.trees.count).toBe(1);
    for (const other of [b, c])
      expect(await world.run(a.sync.syncWith(other.storeId))).toEqual(EQUAL);
  });

  it('are kept for all partners of a large mesh, which is silent when all agree', async () => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const partners = Array.from({ length: 300 }, (_, i) => storeOf(`partner${i}`));
    const records = partners.map((partner) => newRecord([a.storeId, partner]));
    await world.run(write(a, records));
    let sent = 0;
    const sync = new PartnerSync({
      ...a,
      clock: world.clock,
      directory: { ...a.view.directory, peerOf: (store) => store },
      messaging: {
        ...{ onRequest: () => undefined, onMessage: () => undefined, cast: () => true },
        call: async (_to, _type, body) => {
          sent += 1;
          return { ok: true, value: { equal: true, cut: body.cut ?? 0 } };
        },
      },
    });
    await world.run(sync.load());
    expect(sync.trees.count).toBe(300);
    for (const partner of partners) expect(await world.run(sync.syncWith(partner))).toEqual(EQUAL);
    expect(sent).toBe(300);
    const read = vi.spyOn(a.replica.shared, 'page');
    for (const partner of partners) await world.run(sync.syncWith(partner));
    expect([sent, read.mock.calls.length]).toEqual([300, 0]);
  });

  it('are mended when sums differ and no record does', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    for (const host of [a, b]) await world.run(write(host, shared(world, 1)));
    await world.run(a.sync.syncWith(b.storeId));
    await world.run(a.sync.trees.at(b.storeId, 1, (sums: MerkleTree) => sums.add(77, 1n)));
    for (let round = 0; round < SUSPECT_ROUNDS; round++)
      expect(await world.run(a.sync.syncWith(b.storeId))).toMatchObject({
        value: { equal: false },
      });
    expect(await world.run(a.sync.syncWith(b.storeId))).toEqual(EQUAL);
  });

  it('come from the records themselves at the first start on an older store', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const records = shared(world, 5);
    for (const host of [a, b]) await world.run(write(host, records));
    const entries = a.store.range({ from: 'x/', to: 'x0', limit: 100 });
    expect(entries).toHaveLength(5);
    const removal = [...entries.map(({ key }) => ({ del: key })), { del: 'm/shared' }];
    await world.run(a.store.append(removal));
    const again = await world.restart('a');
    expect(again.store.range({ from: 'x/', to: 'x0', limit: 100 })).toEqual(entries);
    expect(await world.run(again.sync.syncWith(b.storeId))).toEqual(EQUAL);
  });

  it('are compared once more before many leaves are listed: changes may be on their way', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const records = shared(world, 2 * SECOND_LOOK_FROM);
    await world.run(write(a, records));
    world.clock.after(100, () => void write(b, records));
    const round = await world.run(a.sync.syncWith(b.storeId));
    expect(round).toEqual({ ok: true, value: { equal: false, pulled: 0, pushed: 0 } });
    expect(world.mesh.count('sync.items')).toBe(0);
  });
});

/** A disk that has what is appended at once, and says so when it is told to. */
function lateDisk(below: Store) {
  let open: (() => void) | undefined;
  const gate = { isShut: false };
  const store: Store = {
    get: (key) => below.get(key),
    range: (query) => below.range(query),
    usedBytes: () => below.usedBytes(),
    room: () => below.room(),
    close: () => below.close(),
    append: async (batch, purpose) => {
      const result = await below.append(batch, purpose);
      if (gate.isShut) await new Promise<void>((resolve) => (open = resolve));
      return result;
    },
  };
  const release = (): void => {
    gate.isShut = false;
    open?.();
  };
  return { store, gate, release };
}

describe('sums of what everybody sees, while the disk shows more', () => {
  it.each([
    ['moved over it', false],
    ['made anew', true],
  ])('are right when a record was dropped and the tree is %s', async (_, isNew) => {
    const world = await StoreWorld.of('a');
    const a = world.host('a');
    const { store, gate, release } = lateDisk(a.store);
    const replica = new Replica({
      store,
      identity: a.identity,
      rules: { task: taskRules, key: keyRules },
      onFailed: () => undefined,
      runningMs: () => 0,
    });
    const trees = new PartnerTrees(replica, world.clock);
    const partner = storeOf('b');
    const now = world.clock.wallMs();
    const stay = newRecord([a.storeId, partner]);
    const going = withFacts(
      newRecord([a.storeId, partner]),
      factOf(a.storeId, 5, finalOf({ drop_at: now + HOUR_MS })),
    );
    for (const record of [stay, going])
      await world.run(replica.change(record.id, () => ({ value: 0, next: record })));
    const rootAt = (cutMs: number) => world.run(trees.at(partner, cutMs, (tree) => tree.root));
    await rootAt(now);
    gate.isShut = true;
    const stone = { final: 'completed', digest: 'd', droppedWallMs: now + HOUR_MS };
    const dropping = replica.drop(going.id, stone);
    await world.clock.runFor(100);
    if (isNew) trees.distrustAll();
    const using = rootAt(isNew ? now : now + 2 * HOUR_MS);
    world.clock.after(10, release);
    await using;
    await world.run(dropping);
    const alone = new MerkleTree();
    alone.add(leafOf(stay.id), BigInt(`0x${contentHash(stay).slice(0, 16)}`));
    expect(await rootAt(now + 2 * HOUR_MS)).toBe(alone.root);
  });
});

describe('partners that differ', () => {
  it('get back what they had confirmed and lost', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [record] = shared(world, 1);
    if (record === undefined) throw new Error('no record');
    await world.run(write(a, [record]));
    await world.run(a.sharing.share(record.id, 2));
    await world.run(b.replica.change(record.id, () => ({ value: 0, forget: true })));
    await world.run(a.sync.syncWith(b.storeId));
    expect(b.replica.get(record.id)).toEqual(record);
  });

  it('agree on one value of a dot that was used twice', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [record] = shared(world, 1);
    if (record === undefined) throw new Error('no record');
    await world.run(write(a, [withFacts(record, factOf(a.storeId, 1, startOf('run1')))]));
    await world.run(write(b, [withFacts(record, factOf(a.storeId, 1, startOf('run2')))]));
    await world.run(a.sync.syncWith(b.storeId));
    const [mine, theirs] = [a, b].map((host) => host.replica.get(record.id));
    if (mine === undefined || theirs === undefined) throw new Error('a copy is gone');
    expect(contentHash(mine)).toBe(contentHash(theirs));
    expect(await world.run(b.sync.syncWith(a.storeId))).toEqual(EQUAL);
  });

  it('in what one has dropped early learn its drop time, and let go as well', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [record] = shared(world, 1);
    if (record === undefined) throw new Error('no record');
    const now = world.clock.wallMs();
    const final = finalAt(a, record, now + 24 * HOUR_MS);
    for (const host of [a, b]) await world.run(write(host, [final]));
    await world.run(
      a.replica.drop(final.id, { final: 'completed', digest: 'd', droppedWallMs: now }),
    );
    await world.run(b.sync.syncWith(a.storeId));
    expect(b.replica.droppable(now + 1, 10)).toEqual([final.id]);
    expect(await world.run(a.sync.syncWith(b.storeId))).toEqual(EQUAL);
  });

  it('in what one has dropped by a clock that was fast leave it out, and keep the other copy', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const [record, other] = shared(world, 2);
    if (record === undefined || other === undefined) throw new Error('no record');
    const now = world.clock.wallMs();
    const final = finalAt(a, record, now + HOUR_MS);
    for (const host of [a, b]) await world.run(write(host, [final, other]));
    const fast = now + 2 * HOUR_MS;
    await world.run(
      a.replica.drop(final.id, { final: 'completed', digest: 'd', droppedWallMs: fast }),
    );
    await world.run(a.sync.syncWith(b.storeId));
    for (const [one, partner] of [
      [a, b],
      [b, a],
    ] as const)
      expect(await world.run(one.sync.syncWith(partner.storeId))).toEqual(EQUAL);
    expect(b.replica.get(final.id)).toEqual(final);
    const noted = withFacts(final, factOf(b.storeId, 9, startOf('run9')));
    await world.run(write(b, [noted]));
    expect(await world.run(b.sync.syncWith(a.storeId))).toEqual(EQUAL);
    await world.run(
      b.replica.drop(final.id, { final: 'completed', digest: 'd', droppedWallMs: fast }),
    );
    expect(await world.run(b.sync.syncWith(a.storeId))).toEqual(EQUAL);
  });
});
