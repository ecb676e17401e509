/** Reading tasks from anywhere, waiting for their ends, and listing them over the whole mesh. */

import { describe, expect, it } from 'vitest';
import { taskViewSchema } from '../../src/api/task.ts';
import { utf8 } from '../../src/base/hash.ts';
import { fingerprintOf, parseTaskId } from '../../src/base/task-id.ts';
import { ReadRepair } from '../../src/records/read-repair.ts';
import { Lister } from '../../src/tasks/listing.ts';
import { Reader } from '../../src/tasks/reader.ts';
import { DROPPED } from '../../src/tasks/remains.ts';
import { Tails } from '../../src/tasks/tails.ts';
import { taskOf } from '../../src/tasks/task.ts';
import { viewOf } from '../../src/tasks/view.ts';
import { AttemptsWorld, type TaskHost } from '../support/attempts-world.ts';
import { endOf, factOf, finalOf, newRecord, withFacts } from '../support/task-records.ts';

/** Readers and listers at all hosts; `host(name)` gives those of one. */
async function world(...names: string[]) {
  const tasks = await AttemptsWorld.of(...names);
  const { clock } = tasks.stores;
  const homeOfId = (id: string): string[] => {
    const fingerprints = parseTaskId(id)?.fingerprints ?? [];
    return tasks.hosts
      .map((host) => host.storeId)
      .filter((store) => fingerprints.includes(fingerprintOf(store)));
  };
  const services = new Map<string, { reader: Reader; lister: Lister }>();
  for (const host of tasks.hosts) {
    const { messaging, replica, visibility, view, sharing } = host;
    const repair = new ReadRepair({ replica, messaging, sharing, directory: view.directory });
    const deps = { clock, messaging, replica, visibility, view, waitingReason: () => undefined };
    const reader = new Reader({
      ...deps,
      tails: new Tails(host.store),
      homeOfId,
      onVersions: (joined, copies) => repair.saw(joined, copies),
    });
    services.set(host.name, { reader, lister: new Lister(deps) });
    reader.startTimers();
  }
  const at = (name: string) => {
    const found = services.get(name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  };
  return { tasks, clock, stores: tasks.stores, at };
}

async function finish(tasks: AttemptsWorld, at: TaskHost, id: string): Promise<void> {
  const start = await tasks.place(at, id);
  await tasks.stores.run(at.attempts.take(id, endOf(start.run_id), undefined));
}

describe('reading a task', () => {
  it('joins what its home tells, from any peer', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c');
    const [a, b] = [tasks.host('a'), tasks.host('b')];
    const record = newRecord([a.storeId, b.storeId]);
    const plan = { home: record.firstHome, required: 2 };
    await stores.run(a.sharing.spread({ record, blob: undefined, fresh: true }, plan));
    await stores.run(
      a.attempts.note(record.id, () => ({ t: 'cancel', reason: '', by: '', at: 1 })),
    );
    const found = await stores.run(at('c').reader.find(record.id, false));
    expect(found?.record.facts).toHaveLength(1);
    expect(await stores.run(at('c').reader.find(newRecord([]).id, false))).toBeUndefined();
  });

  it('asks those too whom its home took in later: one of them may own it', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c');
    const [a, b] = [tasks.host('a'), tasks.host('b')];
    const record = newRecord([a.storeId]);
    const grown = withFacts(record, factOf(a.storeId, 1, { t: 'home', store: b.storeId, at: 1 }));
    const noted = factOf(b.storeId, 1, { t: 'cancel', reason: '', by: '', at: 1 });
    const copy = { blob: undefined, fresh: false, standIn: false };
    await stores.run(a.sharing.accept({ ...copy, record: grown }));
    await stores.run(b.sharing.accept({ ...copy, record: withFacts(grown, noted) }));
    const found = await stores.run(at('c').reader.find(record.id, false));
    expect(found?.record.facts).toHaveLength(2);
  });

  it('brings stale copies up to what it read, once, whoever reads', async () => {
    for (const reading of ['c', 'b']) {
      const { tasks, clock, stores, at } = await world('a', 'b', 'c');
      const [a, b] = [tasks.host('a'), tasks.host('b')];
      const record = newRecord([a.storeId, b.storeId], { blob: utf8('payload') });
      const newer = withFacts(
        record,
        factOf(a.storeId, 1, { t: 'cancel', reason: '', by: '', at: 1 }),
      );
      const blob = utf8('payload');
      const copy = { blob, fresh: false, standIn: false };
      await stores.run(a.sharing.accept({ ...copy, record: newer }));
      await stores.run(b.sharing.accept({ ...copy, record }));
      stores.mesh.sent.length = 0;
      // Several at once: all see the same, one tells.
      const reads = [1, 2, 3].map(() => at(reading).reader.find(record.id, false));
      await stores.run(Promise.all(reads));
      await clock.runFor(50);
      expect(b.replica.get(record.id)).toEqual(newer);
      expect(stores.mesh.count('rec.put')).toBe(reading === 'c' ? 1 : 0);
      await stores.run(at(reading).reader.find(record.id, false));
      await clock.runFor(50);
      expect(stores.mesh.count('rec.put')).toBe(reading === 'c' ? 1 : 0);
    }
  });

  it('is joined from as many stores of its home as are asked for, or refused', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c', 'd');
    const [a, b, c] = [tasks.host('a'), tasks.host('b'), tasks.host('c')];
    const record = newRecord([a.storeId, b.storeId, c.storeId]);
    const final = withFacts(record, factOf(a.storeId, 1, finalOf()));
    const newer = withFacts(
      record,
      factOf(b.storeId, 1, { t: 'cancel', reason: '', by: '', at: 1 }),
    );
    const copy = { blob: undefined, fresh: false, standIn: false };
    await stores.run(a.sharing.accept({ ...copy, record: final }));
    await stores.run(b.sharing.accept({ ...copy, record: newer }));
    const facts = async (reading: string, count: number | 'quorum') => {
      const read = await stores.run(at(reading).reader.findFrom(record.id, false, count));
      return read.ok ? read.value?.record.facts.length : read.error.message;
    };
    // It is over, as `a` has it: the usual read looks no further.
    expect((await stores.run(at('a').reader.find(record.id, false)))?.record).toEqual(final);
    for (const reading of ['a', 'b', 'd'])
      for (const count of [1, 2, 3, 'quorum'] as const) expect(await facts(reading, count)).toBe(2);
    const refused = (answered: number, required: number): string =>
      `Task ${record.id} was read from ${answered} of its 3 home stores; ${required} are asked for.`;
    expect(await facts('d', 4)).toBe(refused(3, 4));
    stores.kill('b');
    expect(await facts('a', 'quorum')).toBeGreaterThan(0);
    expect(await facts('a', 3)).toBe(refused(2, 3));
    stores.kill('c');
    expect(await facts('d', 'quorum')).toBe(refused(1, 2));
    expect(await facts('d', 1)).toBeGreaterThan(0);
    stores.status.set(b.peerId, 'removed');
    stores.status.set(c.peerId, 'removed');
    expect(await facts('d', 'quorum')).toBeGreaterThan(0);
    const unknown = newRecord([a.storeId]).id;
    const read = await stores.run(at('d').reader.findFrom(unknown, false, 1));
    expect(read).toMatchObject({ ok: true, value: undefined });
  });

  it('finds a stand-in copy when the home is out of reach', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c');
    const [b, c] = [tasks.host('b'), tasks.host('c')];
    const blob = utf8('');
    const record = newRecord([b.storeId]);
    await stores.run(c.sharing.accept({ record, blob, fresh: false, standIn: true }));
    stores.kill('b');
    expect((await stores.run(at('a').reader.find(record.id, true)))?.record).toEqual(record);
  });

  it('asks the stores of its home, and looks at nobody else of a thousand members', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c');
    const c = tasks.host('c');
    const { id } = await tasks.submit();
    c.view.peers = () => {
      throw new Error('all members were looked at');
    };
    expect((await stores.run(at('c').reader.find(id, false)))?.record.id).toBe(id);
    const heard: string[] = [];
    at('c').reader.watch([id], (record) => heard.push(record.id));
    await finish(tasks, tasks.host('a'), id);
    await stores.clock.runFor(100);
    expect(heard).toEqual([id]);
  });

  it('is not misled by answers that are no tasks', async () => {
    const { tasks, stores, at } = await world('a', 'b');
    const b = tasks.host('b');
    const record = newRecord([b.storeId]);
    const items = [1, {}, { record: utf8('x') }].map((item) => ({ items: [item] }));
    for (const answer of items) {
      b.messaging.onRequest('task.read', () => ({ ok: true, value: answer }));
      expect(await stores.run(at('a').reader.find(record.id, false))).toBeUndefined();
    }
  });
});

describe('waiting for a task', () => {
  it('hears its final from the home, once, wherever it is waited for', async () => {
    const { tasks, clock, at } = await world('a', 'b', 'c');
    const { id } = await tasks.submit();
    const heard: string[] = [];
    for (const name of ['a', 'c']) {
      at(name).reader.watch([id], (record) => heard.push(`${name} ${taskOf(record).final?.state}`));
    }
    await clock.runFor(100);
    expect(heard).toEqual([]);
    await finish(tasks, tasks.host('a'), id);
    await clock.runFor(100);
    expect(heard.sort()).toEqual(['a completed', 'c completed']);
    await clock.runFor(20_000);
    expect(heard).toHaveLength(2);
  });

  it('asks the rest of the home when the wait is shorter than a renewal would take', async () => {
    const { tasks, clock, stores, at } = await world('a', 'b');
    const [a, b] = [tasks.host('a'), tasks.host('b')];
    const record = newRecord([a.storeId, b.storeId].sort());
    const final = withFacts(record, factOf(a.storeId, 1, finalOf()));
    const copy = { blob: undefined, fresh: false, standIn: false };
    await stores.run(a.sharing.accept({ ...copy, record: final }));
    await stores.run(b.sharing.accept({ ...copy, record }));
    const heard: string[] = [];
    at('b').reader.watch([record.id], ({ id }) => heard.push(id), 500);
    await clock.runFor(100);
    expect(heard).toEqual([record.id]);
  });

  it('answers a wait for what is final already, and none that was given up', async () => {
    const { tasks, clock, at } = await world('a', 'b');
    const { id } = await tasks.submit();
    const heard: string[] = [];
    const giveUp = at('b').reader.watch([id], () => heard.push('given up'));
    giveUp();
    await finish(tasks, tasks.host('a'), id);
    at('b').reader.watch([id], (record) => heard.push(record.id));
    await clock.runFor(100);
    expect(heard).toEqual([id]);
  });

  it('hears how a task ended whose record was dropped long ago, and reads the same', async () => {
    const { tasks, clock, stores, at } = await world('a', 'b', 'c');
    const [a, b] = [tasks.host('a'), tasks.host('b')];
    const record = newRecord([a.storeId, b.storeId]);
    const plan = { home: record.firstHome, required: 2 };
    await stores.run(a.sharing.spread({ record, blob: undefined, fresh: true }, plan));
    await finish(tasks, a, record.id);
    const { final } = tasks.task(a, record.id);
    const stone = { final: 'completed', digest: final?.digest ?? '', droppedWallMs: 5 };
    for (const host of [a, b]) await stores.run(host.replica.drop(record.id, stone));

    for (const name of ['a', 'c']) {
      const heard: unknown[] = [];
      at(name).reader.watch([record.id], (told) => heard.push(taskOf(told).final));
      await clock.runFor(100);
      const ended = { state: 'completed', reason: DROPPED, digest: final?.digest };
      expect(heard).toEqual([expect.objectContaining(ended)]);
      const found = await stores.run(at(name).reader.findOrRemains(record.id, true));
      expect(found && taskOf(found.record).final).toMatchObject(ended);
      const view = found && viewOf(found.record, clock.wallMs());
      expect(taskViewSchema.safeParse(view)).toMatchObject({ success: true });
      expect(view).toMatchObject({ id: record.id, state: 'completed', reason: DROPPED });
      // Nothing but its end is known: nobody may take it for a record.
      expect(await stores.run(at(name).reader.find(record.id, false))).toBeUndefined();
    }
    expect(tasks.host('c').replica.get(record.id)).toBeUndefined();
  });

  it('prefers a result that a home store still has to what others remember of it', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c');
    const { id } = await tasks.submit();
    await finish(tasks, tasks.host('a'), id);
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 5 };
    for (const name of ['a', 'b']) await stores.run(tasks.host(name).replica.drop(id, stone));
    const found = await stores.run(at('a').reader.findOrRemains(id, false));
    expect(found && taskOf(found.record).attempts).toHaveLength(1);
  });

  it('asks again, so that a lost message costs time alone', async () => {
    const { tasks, clock, stores, at } = await world('a', 'b', 'c');
    const [a, b] = [tasks.host('a'), tasks.host('b')];
    const record = newRecord([a.storeId, b.storeId]);
    const plan = { home: record.firstHome, required: 2 };
    await stores.run(a.sharing.spread({ record, blob: undefined, fresh: true }, plan));
    const heard: string[] = [];
    at('c').reader.watch([record.id], () => heard.push('final'));
    await clock.runFor(100);
    stores.mesh.frozen.add('peer-c');
    await finish(tasks, a, record.id);
    await clock.runFor(100);
    stores.mesh.frozen.clear();
    expect(heard).toEqual([]);
    await clock.runFor(3_000);
    expect(heard).toEqual(['final']);
  });
});

describe('listing', () => {
  const idsOf = (listing: { tasks: readonly { id: string }[] }) =>
    listing.tasks.map(({ id }) => id);

  it('merges what all peers hold, the newest first, in pages', async () => {
    const { tasks, clock, stores, at } = await world('a', 'b');
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      const home = tasks.hosts.filter((_, j) => i % 3 !== j).map((host) => host.storeId);
      const record = newRecord(home, { stamp: clock.wallMs() + i });
      const plan = { home, required: home.length };
      const [a] = tasks.hosts;
      if (a === undefined) throw new Error('no host');
      await stores.run(a.sharing.spread({ record, blob: undefined, fresh: true }, plan));
      ids.unshift(record.id);
    }
    const first = await stores.run(at('b').lister.list({ limit: 3 }));
    const before = ids[2] ?? '';
    expect([idsOf(first), first.cursor, first.unreachable]).toEqual([ids.slice(0, 3), before, []]);
    const second = await stores.run(at('b').lister.list({ limit: 3, before }));
    expect([idsOf(second), second.cursor]).toEqual([ids.slice(3), undefined]);
    const one = await stores.run(
      at('a').lister.list({ limit: 9, suffix: ids[2]?.slice(-24) ?? '' }),
    );
    expect(idsOf(one)).toContain(ids[2]);
  });

  it('shows a task as far along as any copy is, and chooses by state, queue and type', async () => {
    const { tasks, stores, at } = await world('a', 'b');
    const done = await tasks.submit({ queue: 'night' });
    const open = await tasks.submit({ type: 'print' });
    await finish(tasks, tasks.host('a'), done.id);
    const list = async (query: object) =>
      idsOf(await stores.run(at('b').lister.list({ limit: 10, ...query })));
    expect(await list({})).toEqual([open.id, done.id]);
    expect(await list({ state: 'completed' })).toEqual([done.id]);
    expect(await list({ state: 'waiting' })).toEqual([open.id]);
    expect(await list({ queue: 'night' })).toEqual([done.id]);
    expect(await list({ type: 'print' })).toEqual([open.id]);
  });

  it('names who did not answer', async () => {
    const { tasks, stores, at } = await world('a', 'b', 'c', 'd');
    const { id } = await tasks.submit();
    stores.kill('b');
    stores.mesh.frozen.add('peer-c');
    const listing = await stores.run(at('a').lister.list({ limit: 10 }));
    expect([idsOf(listing), listing.unreachable]).toEqual([[id], ['b', 'c']]);
  });
});
