/** Dedupe keys: one unfinished task a key, and what becomes of two that a partition let in. */
import { describe, expect, it } from 'vitest';
import { encodeTaskId } from '../../src/base/task-id.ts';
import { factsBeyond, joinRecords } from '../../src/records/record.ts';
import { CLAIM_TTL_MS, Dedupe, keyRecordId } from '../../src/tasks/dedupe.ts';
import { StoreWorld } from '../support/store-world.ts';

type Standing = 'final' | 'unfinished' | 'unknown';

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
        markDuplicate: async (id, of) => {
          duplicates.push([id, of]);
        },
      }),
  );
  let minted = 0;
  const mint = (): string => {
    minted += 1;
    const random = minted.toString(16).padStart(12, '0');
    return encodeTaskId({ createdMs: stores.clock.wallMs(), random, fingerprints: [] });
  };
  const claim = (at: number, id: string) => {
    const service = services[at];
    if (service === undefined) throw new Error(`there is no host ${at}`);
    return stores.run(service.claim('default', 'nightly', id));
  };
  return { stores, standings, duplicates, mint, claim };
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
    expect(duplicates).toContainEqual([late, early]);
    expect(duplicates.every(([loser]) => loser === late)).toBe(true);
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
