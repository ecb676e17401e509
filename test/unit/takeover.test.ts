/** Takeover sync: read before you own. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { RecordingLogger } from '../../src/base/telemetry.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Fact } from '../../src/records/record.ts';
import { serveHeld } from '../../src/tasks/held.ts';
import { ROUND_IDS_MAX, Takeover } from '../../src/tasks/takeover.ts';
import { openAttempts, taskOf } from '../../src/tasks/task.ts';
import { StoreWorld } from '../support/store-world.ts';
import {
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const PATIENCE_MS = 5_000;

/** By host and id: the starts of runs that the host holds. */
const held = new Map<string, Fact[]>();

const runnerOf = (name: string) => ({ held: (id: string) => held.get(`${name} ${id}`) ?? [] });

async function takeoverAt(world: StoreWorld, name: string, clock: Clock = world.clock) {
  const host = world.host(name);
  for (const each of world.hosts)
    serveHeld({ messaging: each.messaging, runner: runnerOf(each.name) });
  const log = new RecordingLogger();
  const done = new Map<string, boolean>();
  const batches: { readonly atMs: number; readonly ids: readonly string[] }[] = [];
  const takeover = new Takeover({
    clock,
    random: new SeededRandom(`takeover ${name}`),
    log,
    replica: host.replica,
    sharing: host.sharing,
    messaging: host.messaging,
    runner: runnerOf(name),
    view: host.view,
    copiesRequired: 2,
    patienceMs: () => PATIENCE_MS,
    done: (ids, complete) => {
      batches.push({ atMs: world.clock.nowMs(), ids });
      for (const id of ids) done.set(id, complete(id));
    },
  });
  const request = async (id: string): Promise<boolean | undefined> => {
    done.delete(id);
    takeover.request(id);
    await world.clock.runUntil(() => done.has(id), 60_000);
    return done.get(id);
  };
  return { host, log, request, takeover, done, batches };
}

/** Of a process that stands still from one time to the other: what is due then fires at the end of it. */
const stillClock = ({ clock }: StoreWorld, fromMs: number, toMs: number): Clock => ({
  nowMs: () => clock.nowMs(),
  wallMs: () => clock.wallMs(),
  after: (ms, fire) => {
    const dueMs = clock.nowMs() + ms;
    const isStill = dueMs >= fromMs && dueMs < toMs;
    return clock.after(isStill ? toMs - clock.nowMs() : ms, fire);
  },
});

const stored = async (world: StoreWorld, home: readonly string[], more = 0) => {
  const record = newRecord([...home, ...Array.from({ length: more }, (_, i) => storeOf(`x${i}`))]);
  for (const host of world.hosts) {
    if (!home.includes(host.storeId)) continue;
    await world.run(host.replica.change(record.id, () => ({ value: 0, next: record })));
  }
  return record;
};

describe('takeover', () => {
  it('ends with its peer: nothing is owned, and nobody is missed', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = await stored(world, [a.storeId, b.storeId]);
    const { takeover, done, log } = await takeoverAt(world, 'a');
    world.mesh.gone.add(b.peerId);
    takeover.request(record.id);
    await world.clock.runFor(1_000);
    takeover.close();
    takeover.request(record.id);
    await world.clock.runFor(2 * PATIENCE_MS);
    expect([done.size, log.lines]).toEqual([0, []]);
  });

  it('comes to the youngest task in the next round, however many wait and are asked for anew', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const records = Array.from({ length: 4 * ROUND_IDS_MAX }, () =>
      newRecord([a.storeId, b.storeId]),
    );
    const { takeover, done, batches } = await takeoverAt(world, 'a');
    for (const { id } of records) takeover.request(id);
    await world.clock.runUntil(() => batches.length > 0, 60_000);
    const latest = newRecord([a.storeId, b.storeId], { stamp: Date.UTC(2027, 0) }).id;
    takeover.request(latest);
    // All that were read are to be read once more.
    for (const id of [...done.keys()]) takeover.request(id);
    const again = done.size;
    await world.clock.runUntil(() => done.has(latest), 60_000);
    expect(done.size).toBeLessThanOrEqual(2 * ROUND_IDS_MAX);
    const all = records.length + again + 1;
    await world.clock.runUntil(() => batches.flatMap(({ ids }) => ids).length === all, 60_000);
    expect(done.size).toBe(records.length + 1);
  });

  it('does not lose patience while its own process stands still', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = await stored(world, [a.storeId, b.storeId]);
    const stillMs = world.clock.nowMs() + 1_000;
    const clock = stillClock(world, stillMs, stillMs + PATIENCE_MS);
    const { request, log } = await takeoverAt(world, 'a', clock);
    world.mesh.gone.add(b.peerId);
    world.clock.after(PATIENCE_MS + 2_000, () => void world.mesh.gone.delete(b.peerId));
    expect(await request(record.id)).toBe(true);
    expect(log.lines).toEqual([]);
  });

  it('has patience for three times as long, and no longer, when it stands still again and again', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const record = await stored(world, [a.storeId, b.storeId]);
    world.mesh.gone.add(b.peerId);
    const startedMs = world.clock.nowMs();
    const crawling: Clock = {
      nowMs: () => world.clock.nowMs(),
      wallMs: () => world.clock.wallMs(),
      after: (ms, fire) => world.clock.after(Math.max(ms, 1_000), fire),
    };
    const { request } = await takeoverAt(world, 'a', crawling);
    expect(await request(record.id)).toBe(false);
    expect(world.clock.nowMs() - startedMs).toBeLessThan(3 * PATIENCE_MS + 3_000);
  });

  it('owns what was lost first, then what runs, then what waits: not all in one moment', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = world.hosts;
    if (!a || !b || !c) throw new Error('no hosts');
    const ids: Record<'lost' | 'running' | 'waiting', string[]> = {
      lost: [],
      running: [],
      waiting: [],
    };
    const add = async (what: keyof typeof ids, count: number) => {
      for (let i = 0; i < count; i++) {
        const record = newRecord([a.storeId, b.storeId, c.storeId]);
        const runner = what === 'lost' ? c : b;
        const about = { runner: runner.peerId, runner_store: runner.storeId };
        const start = factOf(c.storeId, ids.lost.length + i + 1, { ...startOf('run1'), ...about });
        const next = what === 'waiting' ? record : withFacts(record, start);
        await world.run(a.replica.change(record.id, () => ({ value: 0, next })));
        ids[what].push(record.id);
      }
    };
    await add('waiting', 30);
    await add('running', 100);
    await add('lost', 100);
    world.kill('c');
    const { takeover, done, batches } = await takeoverAt(world, 'a');
    const startedMs = world.clock.nowMs();
    const all = Object.values(ids).flat();
    for (const id of all) takeover.request(id);
    await world.clock.runUntil(() => done.size === all.length, 60_000);
    const order = batches.flatMap((batch) => batch.ids);
    expect(order.toSorted()).toEqual(all.toSorted());
    expect(order.slice(0, 100).toSorted()).toEqual(ids.lost.toSorted());
    expect(order.slice(-30).toSorted()).toEqual(ids.waiting.toSorted());
    expect(Math.max(...batches.map((batch) => batch.ids.length))).toBeLessThan(all.length / 3);
    for (const [i, { atMs }] of batches.entries())
      expect(atMs - (batches[i - 1]?.atMs ?? 0)).toBeGreaterThan(25);
    expect(world.clock.nowMs() - startedMs).toBeLessThan(1_000);
  });

  it('joins what every member holds, stand-ins included, and is complete when all have answered', async () => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd');
    const [a, b, c, d] = world.hosts;
    if (!a || !b || !c || !d) throw new Error('no hosts');
    const record = await stored(world, [a.storeId, b.storeId, c.storeId]);
    const placed = withFacts(record, factOf(c.storeId, 1, startOf('run1')));
    const ended = withFacts(
      record,
      factOf(d.storeId, 1, { t: 'cancel', reason: '', by: '', at: 1 }),
    );
    await world.run(c.replica.change(record.id, () => ({ value: 0, next: placed })));
    await world.run(
      d.sharing.accept({ record: ended, blob: undefined, fresh: false, standIn: true }),
    );
    const { request } = await takeoverAt(world, 'a');
    expect(await request(record.id)).toBe(true);
    expect(a.replica.get(record.id)?.facts).toHaveLength(2);
  });

  // n stores of the home, W = 2: complete needs n − min(W, n) + 1 of them, this one included.
  it.each([
    { home: 3, dead: 0, complete: true },
    { home: 3, dead: 1, complete: true },
    { home: 3, dead: 2, complete: false },
    { home: 2, dead: 0, complete: true },
    { home: 2, dead: 1, complete: true },
    { home: 1, dead: 0, complete: true },
    { home: 4, dead: 1, complete: true },
    { home: 4, dead: 2, complete: false },
  ])('of a home of $home with $dead dead is complete: $complete', async (wanted) => {
    const world = await StoreWorld.of('a', 'b', 'c', 'd', 'e');
    const home = world.hosts.slice(0, wanted.home).map((host) => host.storeId);
    const record = await stored(world, home);
    for (const host of world.hosts.slice(wanted.home - wanted.dead, wanted.home))
      world.kill(host.name);
    const { request } = await takeoverAt(world, 'a');
    expect(await request(record.id)).toBe(wanted.complete);
  });

  it('is not complete when a member outside the home did not answer', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = world.hosts;
    if (!a || !b || !c) throw new Error('no hosts');
    const record = await stored(world, [a.storeId, b.storeId]);
    world.mesh.frozen.add(c.peerId);
    const { request, log } = await takeoverAt(world, 'a');
    const before = world.clock.nowMs();
    expect(await request(record.id)).toBe(false);
    expect(world.clock.nowMs() - before).toBeGreaterThanOrEqual(PATIENCE_MS);
    expect(log.lines).toMatchObject([{ level: 'warn', fields: { unheard: ['c'] } }]);
  });

  it('waits for members that come into reach, and for none that turns out dead', async () => {
    const world = await StoreWorld.of('a', 'b', 'c');
    const [a, b, c] = world.hosts;
    if (!a || !b || !c) throw new Error('no hosts');
    const record = await stored(world, [a.storeId, b.storeId, c.storeId]);
    world.mesh.gone.add(b.peerId).add(c.peerId);
    world.clock.after(1_000, () => world.revive('b'));
    world.clock.after(2_000, () => world.kill('c'));
    const { request } = await takeoverAt(world, 'a');
    expect(await request(record.id)).toBe(true);
    expect(world.clock.nowMs()).toBeLessThan(PATIENCE_MS);
  });

  it('counts the home as joined: a store that was added there is asked for too', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = world.hosts;
    if (!a || !b) throw new Error('no hosts');
    const record = await stored(world, [a.storeId, b.storeId]);
    const grown = ['x', 'y'].map((name, i) =>
      factOf(b.storeId, i + 1, { t: 'home', store: storeOf(name), at: 1 }),
    );
    const larger = withFacts(record, ...grown);
    await world.run(b.replica.change(record.id, () => ({ value: 0, next: larger })));
    const { request } = await takeoverAt(world, 'a');
    // Two of four were heard; three are needed.
    expect(await request(record.id)).toBe(false);
  });

  it.each(['a', 'c'])(
    'learns of what runs on %s, though nobody in reach knows that it was started',
    async (runner) => {
      const world = await StoreWorld.of('a', 'b', 'c');
      const [a, b] = world.hosts;
      if (!a || !b) throw new Error('no hosts');
      const record = await stored(world, [a.storeId, b.storeId, storeOf('far')]);
      held.set(`${runner} ${record.id}`, [factOf(storeOf('far'), 1, startOf('run1'))]);
      const { request } = await takeoverAt(world, 'a');
      expect(await request(record.id)).toBe(true);
      const kept = a.replica.get(record.id);
      expect(kept && openAttempts(taskOf(kept)).map(({ start }) => start.run_id)).toEqual(['run1']);
      const { seq } = a.identity;
      expect(await request(record.id)).toBe(true);
      // What is known is not written again.
      expect(a.identity.seq).toBe(seq);
    },
  );

  it('learns that a task is long over from a tombstone', async () => {
    const world = await StoreWorld.of('a', 'b');
    const [a, b] = world.hosts;
    if (!a || !b) throw new Error('no hosts');
    const record = await stored(world, [a.storeId, b.storeId]);
    const final = withFacts(record, factOf(b.storeId, 1, finalOf()));
    await world.run(b.replica.change(record.id, () => ({ value: 0, next: final })));
    await world.run(
      b.replica.drop(record.id, { final: 'completed', digest: 'd', droppedWallMs: 1 }),
    );
    const { request } = await takeoverAt(world, 'a');
    expect(await request(record.id)).toBe(false);
    expect(a.replica.get(record.id)).toBeUndefined();
    expect(a.replica.unfinishedCount).toBe(0);
  });

  it('lets many requests travel together', async () => {
    const world = await StoreWorld.of('a', 'b');
    const home = world.hosts.map((host) => host.storeId);
    const records = [await stored(world, home), await stored(world, home)];
    const { takeover, done } = await takeoverAt(world, 'a');
    world.mesh.sent.length = 0;
    for (const record of records) takeover.request(record.id);
    await world.clock.runUntil(() => done.size === 2, 10_000);
    expect(world.mesh.count('rec.ask')).toBe(1);
  });
});
