/** Dedupe keys: one unfinished task a key, and what becomes of two that a partition let in. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/hash.ts';
import { encodeTaskId } from '../../src/base/task-id.ts';
import { silentLogger } from '../../src/base/telemetry.ts';
import {
  factsBeyond,
  homeOf,
  joinRecords,
  type RecordState,
  withFact,
} from '../../src/records/record.ts';
import { CLAIM_TTL_MS, Dedupe, KEY_TTL_MS, keyRecordId, keyRules } from '../../src/tasks/dedupe.ts';
import { READ_PATIENCE_MS } from '../../src/tasks/key-reader.ts';
import { ownerOrder } from '../../src/tasks/ownership.ts';
import { StoreWorld } from '../support/store-world.ts';

type Standing = 'final' | 'unfinished' | 'unknown';

/** A key whose ids all came in at once, as after a partition. */
function withIds(store: string, id: string, at: number, ids: readonly string[]): RecordState {
  const key: RecordState = {
    id,
    kind: 'key',
    stamp: at,
    header: utf8('key'),
    blobDigest: '',
    firstHome: [store],
    facts: [],
  };
  return ids.reduce(
    (record, item, i) =>
      withFact(record, { store, seq: i + 1, value: { t: 'id', id: item, g: 1, at } }),
    key,
  );
}

async function world(...names: string[]) {
  const stores = await StoreWorld.of(...names);
  const standings = new Map<string, Standing>();
  const duplicates: [string, string][] = [];
  const services = stores.hosts.map(
    (host) =>
      new Dedupe({
        clock: stores.clock,
        messaging: host.messaging,
        replica: host.replica,
        sharing: host.sharing,
        view: host.view,
        copies: 3,
        copiesRequired: 2,
        standing: async (id) => standings.get(id) ?? 'unknown',
        log: silentLogger,
        markDuplicate: async (id, of) => {
          if (!standings.has(id)) return false;
          duplicates.push([id, of]);
          return true;
        },
      }),
  );
  let minted = 0;
  const mint = (): string => {
    minted += 1;
    const random = minted.toString(16).padStart(12, '0');
    return encodeTaskId({ createdMs: stores.clock.wallMs(), random, fingerprints: [] });
  };
  const claim = (at: number, id: string, key = 'nightly') => {
    const service = services[at];
    if (service === undefined) throw new Error(`there is no host ${at}`);
    return stores.run(service.claim('default', key, id));
  };
  /** A host dies or comes back, and all have seen it. */
  const turn = (name: string, to: 'dead' | 'alive') => {
    if (to === 'dead') stores.kill(name);
    else stores.revive(name);
    for (const service of services) service.membersChanged();
  };
  return { stores, standings, duplicates, mint, claim, turn };
}

describe('a dedupe key', () => {
  it('belongs to one unfinished task at a time, asked through any peer', async () => {
    const { standings, mint, claim } = await world('a', 'b', 'c');
    const [first, second, third] = [mint(), mint(), mint()];
    expect(await claim(0, first)).toEqual({ ok: true, value: first });
    standings.set(first, 'unfinished');
    expect(await claim(1, second)).toEqual({ ok: true, value: first });
    expect(await claim(2, first)).toEqual({ ok: true, value: first });
    standings.set(first, 'final');
    expect(await claim(1, third)).toEqual({ ok: true, value: third });
  });

  it('is free again when the task that claimed it was never submitted', async () => {
    const { stores, mint, claim } = await world('a', 'b');
    const [first, second, third] = [mint(), mint(), mint()];
    await claim(0, first);
    expect(await claim(1, second)).toEqual({ ok: true, value: first });
    await stores.clock.runFor(CLAIM_TTL_MS + 1);
    expect(await claim(1, third)).toEqual({ ok: true, value: third });
  });

  it('does not grow with the tasks that had it', async () => {
    const { stores, standings, mint, claim } = await world('a', 'b');
    for (let i = 0; i < 20; i++) {
      const id = mint();
      expect(await claim(i % 2, id)).toEqual({ ok: true, value: id });
      standings.set(id, 'final');
    }
    const record = stores.host('a').replica.get(keyRecordId('default', 'nightly'));
    expect(record?.facts.length).toBeLessThanOrEqual(2);
  });

  it('ends the later of two tasks that a partition let in', async () => {
    const { stores, standings, duplicates, mint, claim } = await world('a', 'b', 'c', 'd');
    const [early, late] = [mint(), mint()];
    const [a, b, c, d] = stores.hosts;
    if (!a || !b || !c || !d) throw new Error('no hosts');
    for (const host of [c, d]) stores.mesh.gone.add(host.peerId);
    expect(await claim(1, late)).toMatchObject({ value: late });
    stores.mesh.gone.clear();
    for (const host of [a, b]) stores.mesh.gone.add(host.peerId);
    expect(await claim(3, early)).toMatchObject({ value: early });
    stores.mesh.gone.clear();
    for (const id of [early, late]) standings.set(id, 'unfinished');

    const id = keyRecordId('default', 'nightly');
    const copies = stores.hosts
      .map((host) => host.replica.get(id))
      .filter((copy) => copy !== undefined);
    const [one, ...rest] = copies;
    if (one === undefined) throw new Error('no copy');
    const joined = rest.reduce(joinRecords, one);
    expect(factsBeyond(joined, {})).toHaveLength(2);
    await stores.run(a.replica.change(id, () => ({ value: 0, next: joined })));
    await stores.clock.runFor(100);
    expect(duplicates).toContainEqual([late, early]);
    expect(duplicates.every(([loser]) => loser === late)).toBe(true);
  });

  it('ends the later one also when its task comes after the sets have joined', async () => {
    const { stores, standings, duplicates, mint } = await world('a', 'b');
    const [early, late, gone] = [mint(), mint(), mint()];
    const a = stores.host('a');
    const id = keyRecordId('default', 'nightly');
    const joined = withIds(a.storeId, id, stores.clock.wallMs(), [early, late, gone]);
    await stores.run(a.replica.change(id, () => ({ value: 0, next: joined })));
    standings.set(late, 'unfinished');
    await stores.clock.runFor(5_000);
    // Nobody gives way to a task that may never come.
    expect(duplicates).toEqual([]);
    standings.set(early, 'unfinished');
    await stores.clock.runFor(5_000);
    expect([...new Set(duplicates.map(String))]).toEqual([`${late},${early}`]);
  });

  it('does not end a task for the sake of one that is over or was never submitted', async () => {
    const { stores, standings, duplicates, mint } = await world('a', 'b');
    const [over, never, only] = [mint(), mint(), mint()];
    const a = stores.host('a');
    const id = keyRecordId('default', 'nightly');
    const joined = withIds(a.storeId, id, stores.clock.wallMs(), [over, never, only]);
    standings.set(over, 'final').set(only, 'unfinished');
    await stores.run(a.replica.change(id, () => ({ value: 0, next: joined })));
    await stores.clock.runFor(CLAIM_TTL_MS * 2);
    expect(duplicates).toEqual([]);
  });

  it.each(['a', 'b', 'c', 'd', 'e'])(
    'is remembered when %s goes, and when it comes back',
    async (name) => {
      const { stores, standings, mint, claim, turn } = await world('a', 'b', 'c', 'd', 'e');
      const at = name === 'a' ? 1 : 0;
      const keys = Array.from({ length: 12 }, (_, i) => `k${i}`);
      const claimAll = async () => {
        const ids: string[] = [];
        for (const key of keys) {
          const id = mint();
          const holder = await claim(at, id, key);
          if (!holder.ok) throw new Error(holder.error.message);
          ids.push(holder.value);
          if (!standings.has(holder.value)) standings.set(holder.value, 'unfinished');
        }
        return ids;
      };
      const first = await claimAll();
      turn(name, 'dead');
      expect(await claimAll()).toEqual(first);
      for (const id of first) standings.set(id, 'final');
      // What its disk says is out of date when it comes back, before any anti-entropy.
      const second = await claimAll();
      expect(second.filter((id) => first.includes(id))).toEqual([]);
      // Whoever decides now is of the home, so that anti-entropy keeps its copy up to date.
      for (const id of keys.map((key) => keyRecordId('default', key))) {
        const { directory } = stores.host(at === 0 ? 'a' : 'b').view;
        const [leader] = ownerOrder(id, directory.preference(id, 3));
        const record = stores.hosts.find((host) => host.storeId === leader)?.replica.get(id);
        expect(record && homeOf(record)).toContain(leader);
      }
      turn(name, 'alive');
      expect(await claimAll()).toEqual(second);
      // Whoever came in for it stays so long as it is needed, and no key grows.
      for (const host of stores.hosts) {
        const facts = host.replica.ids({ limit: 100 }).map((id) => host.replica.get(id)?.facts);
        expect(Math.max(0, ...facts.map((list) => list?.length ?? 0))).toBeLessThanOrEqual(4);
      }
    },
  );

  it('is claimed in time when a member does not answer', async () => {
    const { stores, standings, mint, claim } = await world('a', 'b', 'c', 'd');
    const id = keyRecordId('default', 'nightly');
    const order = stores.host('a').view.directory.preference(id, 4);
    const outside = stores.hosts.find((host) => host.storeId === order[3]);
    if (outside === undefined) throw new Error('no host');
    stores.mesh.frozen.add(outside.peerId);
    const at = outside.name === 'a' ? 1 : 0;
    const first = mint();
    const before = stores.clock.nowMs();
    expect(await claim(at, first)).toEqual({ ok: true, value: first });
    expect(stores.clock.nowMs() - before).toBeLessThan(READ_PATIENCE_MS + 100);
    standings.set(first, 'unfinished');
    expect(await claim(at, mint())).toEqual({ ok: true, value: first });
  });

  it('lives on while it is used, and is forgotten when it is not', async () => {
    const { stores, standings, mint, claim } = await world('a', 'b');
    const first = mint();
    await claim(0, first);
    standings.set(first, 'unfinished');
    for (let i = 0; i < 4; i++) {
      await stores.clock.runFor(KEY_TTL_MS * 0.6);
      expect(await claim(i % 2, mint())).toEqual({ ok: true, value: first });
    }
    const record = stores.host('a').replica.get(keyRecordId('default', 'nightly'));
    const dropAt = record === undefined ? 0 : keyRules.dropAtMs(record);
    expect(dropAt).toBeGreaterThan(stores.clock.wallMs() + KEY_TTL_MS / 2);
  });

  it('is refused when its home is out of reach, or a claim is malformed', async () => {
    const { stores, mint, claim } = await world('a', 'b');
    const [a, b] = stores.hosts;
    if (!a || !b) throw new Error('no hosts');
    stores.mesh.gone.add(b.peerId);
    expect(await claim(0, mint())).toMatchObject({ error: { code: 'NOT_ENOUGH_COPIES' } });
    const home = [a.storeId];
    for (const body of [
      {},
      { record: 'key-1', home, id: 'x' },
      { record: 'x', home, id: mint() },
    ]) {
      expect(await stores.run(a.messaging.call(a.peerId, 'key.claim', body))).toMatchObject({
        error: { code: 'INVALID_PARAMS' },
      });
    }
  });
});
