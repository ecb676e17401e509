/** Attempts: secured before they start, ended once, lost with proof or without. */
import { describe, expect, it } from 'vitest';
import { encodeFacts, FACTS_MAX } from '../../src/records/record.ts';
import { EARLIER_OUTPUT_BYTES_MAX } from '../../src/tasks/attempts.ts';
import type { EndFact, StartFact } from '../../src/tasks/facts.ts';
import { acceptedEnd, taskOf } from '../../src/tasks/task.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';
import { endOf, factOf, startOf, storeOf, withFacts } from '../support/task-records.ts';

const endFor = (start: StartFact, more: Partial<EndFact> = {}): EndFact =>
  endOf(start.run_id, { n: start.n, ...more });

describe('attempts', () => {
  it('lie on enough stores before they start, and end with the final that they call for', async () => {
    const world = await AttemptsWorld.of('a', 'b', 'c');
    const [a, b] = [world.host('a'), world.host('b')];
    const { id } = await world.submit();
    const start = await world.place(a, id, b);
    expect(start).toMatchObject({ n: 1, runner: b.peerId, runner_store: b.storeId, dbl: false });
    const holders = world.hosts.filter((host) => world.task(host, id).attempts.length === 1);
    expect(holders.length).toBeGreaterThanOrEqual(2);

    const end = endFor(start, { exit: 0, stdout: new Uint8Array([1]) });
    expect(await world.stores.run(a.attempts.take(id, end, undefined))).toEqual({
      ok: true,
      value: true,
    });
    expect(world.task(a, id).final).toMatchObject({ state: 'completed', run_id: start.run_id });
    expect(acceptedEnd(world.task(a, id))).toMatchObject({ exit: 0 });
  });

  it('are taken back when they cannot be brought to enough stores', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    world.stores.mesh.frozen.add('peer-b');
    const placing = a.attempts.place(id, a.view.self());
    await world.stores.clock.runFor(7_000);
    expect(world.task(a, id).attempts[0]?.ends).toMatchObject([
      { out: 'interrupted', code: 'not_enough_copies' },
    ]);
    world.stores.mesh.frozen.clear();
    expect(await world.stores.run(placing)).toBe('taken_back');
  });

  it('are not even written while too few stores are in reach', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    world.stores.mesh.gone.add('peer-b');
    expect(await world.stores.run(a.attempts.place(id, a.view.self()))).toBe('later');
    expect(world.task(a, id).attempts).toEqual([]);
    world.stores.mesh.gone.clear();
    expect(await world.stores.run(a.attempts.place(id, a.view.self()))).toMatchObject({
      start: { n: 1 },
    });
  });

  it('are not placed while one is open, or when the task may not start', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const late = await world.submit({ delay_ms: 1_000 });
    await world.place(a, id);
    const self = a.view.self();
    expect(await world.stores.run(a.attempts.place(id, self))).toBe('no');
    expect(await world.stores.run(a.attempts.place(late.id, self))).toBe('no');
    expect(await world.stores.run(a.attempts.place('unknown', self))).toBe('no');
  });

  it('end, however often they went from owner to owner: their moves do not fill the record', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const adopt = { t: 'adopt', run_id: start.run_id, at: 1 } as const;
    const moves = Array.from({ length: FACTS_MAX - 10 }, (_, i) =>
      factOf(storeOf('x'), i + 1, adopt),
    );
    const record = withFacts(world.task(a, id).record, ...moves);
    await world.stores.run(
      a.sharing.accept({ record, blob: undefined, fresh: false, standIn: false }),
    );
    for (let flaps = 0; flaps < 20; flaps++)
      expect(await world.stores.run(a.attempts.note(id, () => ({ ...adopt, at: flaps })))).toBe(
        true,
      );
    await world.stores.run(a.attempts.take(id, endFor(start, { exit: 0 }), undefined));
    expect(world.task(a, id).final).toMatchObject({ state: 'completed' });
  });

  it('take the same end twice without a trace of the second', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit({ attempts: 3 });
    const start = await world.place(a, id);
    const end = endFor(start, { out: 'failed', exit: 1, stdout: new Uint8Array(1_000_000) });
    await world.stores.run(a.attempts.take(id, end, undefined));
    const facts = a.replica.get(id)?.facts.length;
    expect(await world.stores.run(a.attempts.take(id, end, undefined))).toMatchObject({
      value: true,
    });
    expect(a.replica.get(id)?.facts).toHaveLength(facts ?? 0);
  });

  it('bring an end to others in one loop, however often its runner brings it meanwhile', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { clock, mesh } = world.stores;
    const { id } = await world.submit();
    const start = await world.place(a, id);
    mesh.frozen.add('peer-b');
    for (let i = 0; i < 10; i++) {
      void a.attempts.take(id, endFor(start), undefined);
      await clock.runFor(1_000);
    }
    await clock.runFor(10_000);
    mesh.sent.length = 0;
    await clock.runFor(20_000);
    expect(mesh.count('rec.put')).toBeLessThan(10);
    const told = () => {
      const record = a.visibility.get(id);
      return record && taskOf(record).final?.state;
    };
    expect(told()).toBeUndefined();
    mesh.frozen.clear();
    await clock.runFor(10_000);
    expect(told()).toBe('completed');
  });

  it('keep an end after a loss as an orphan, once, and let nothing be overwritten', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const [attempt] = world.task(a, id).attempts;
    if (attempt === undefined) throw new Error('no attempt');
    const loss = { weight: 1, proven: false, why: 'it fell silent' };
    await world.stores.run(a.attempts.lose(world.task(a, id), attempt, loss));
    const second = await world.place(a, id);
    expect(second).toMatchObject({ n: 2, dbl: true });

    for (let i = 0; i < 2; i++) {
      expect(await world.stores.run(a.attempts.take(id, endFor(start), undefined))).toMatchObject({
        value: true,
      });
    }
    const task = world.task(a, id);
    expect(task.orphans).toMatchObject([{ n: 1, run_id: start.run_id, out: 'completed' }]);
    expect(task.final).toBeUndefined();
    expect(task.attempts.map(({ ends }) => ends[0]?.out)).toEqual(['lost', undefined]);
  });

  it.each([
    ['a command', { argv: ['true'] }, false],
    ['a handler of a worker, which outlives its daemon', {}, true],
  ])(
    'after the proven death of the daemon of %s are marked: %o',
    async (_what, header, isMarked) => {
      const world = await AttemptsWorld.of('a', 'b');
      const a = world.host('a');
      const { id } = await world.submit({ ...header, attempts: 3 });
      await world.place(a, id);
      const [attempt] = world.task(a, id).attempts;
      if (attempt === undefined) throw new Error('no attempt');
      const loss = { weight: 2, proven: true, why: 'it crashed' };
      await world.stores.run(a.attempts.lose(world.task(a, id), attempt, loss));
      await world.stores.clock.runFor(1_000);
      const second = await world.place(a, id);
      expect(second).toMatchObject({ n: 2, dbl: isMarked });
      // Also the one after it: the first may outlive the second's failure.
      const end = endFor(second, { out: 'failed', exit: 1 });
      await world.stores.run(a.attempts.take(id, end, undefined));
      await world.stores.clock.runFor(1_000);
      expect(await world.place(a, id)).toMatchObject({ n: 3, dbl: isMarked });
    },
  );

  it('take an end at a home store that has not heard of the start', async () => {
    const world = await AttemptsWorld.of('a', 'b', 'c');
    const [a, c] = [world.host('a'), world.host('c')];
    const { id } = await world.submit();
    const start = startOf('run1');
    const end = endFor(start, { res: '42' });
    const facts = encodeFacts([factOf(a.storeId, 9, start)]);
    expect(await world.stores.run(c.attempts.take(id, end, facts))).toMatchObject({ value: true });
    expect(world.task(c, id).final).toMatchObject({ state: 'completed', run_id: 'run1' });
  });

  it('do not say that they took what they cannot keep', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const nothing = endFor(startOf('run of nobody'));
    for (const facts of [undefined, [1], [[storeOf('x'), 1, { t: 'start' }]]]) {
      expect(await world.stores.run(a.attempts.take(id, nothing, facts))).toMatchObject({
        error: { code: 'NOT_FOUND' },
      });
    }
    expect(await world.stores.run(a.attempts.take('unknown', nothing, undefined))).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
    expect(a.replica.get(id)?.facts).toEqual([]);
  });

  it('take the end of a task that was final and is forgotten: the runner may forget it too', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const late = endFor(start, { out: 'canceled' });
    await world.stores.run(a.attempts.take(id, endFor(start), undefined));
    const stone = { final: 'completed', digest: 'd', droppedWallMs: 1 };
    await world.stores.run(a.replica.drop(id, stone));
    expect(await world.stores.run(a.attempts.take(id, late, undefined))).toEqual({
      ok: true,
      value: true,
    });
    expect(a.replica.get(id)).toBeUndefined();
  });

  it('wait longer after each refusal in a row, whoever says it', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit({ attempts: 9 });
    const pauses: number[] = [];
    const refuse = async (how: 'owner' | 'runner'): Promise<void> => {
      const start = await world.place(a, id);
      const refusal = endFor(start, { out: 'refused', code: 'cannot_start' });
      if (how === 'owner') await world.stores.run(a.attempts.refused(id, start, 'no_worker'));
      else await world.stores.run(a.attempts.take(id, refusal, undefined));
      const end = world.task(a, id).attempts.at(-1)?.ends[0];
      pauses.push(Math.round((end?.next_at ?? 0) - world.stores.clock.wallMs()));
      await world.stores.clock.runFor(10_000);
    };
    for (let i = 0; i < 10; i++) await refuse(i % 2 === 0 ? 'owner' : 'runner');
    for (const [i, pauseMs] of pauses.entries()) {
      const wanted = Math.min(50 * 2 ** i, 10_000);
      expect(pauseMs).toBeLessThanOrEqual(wanted);
      expect(pauseMs).toBeGreaterThan(wanted - 50);
    }
    const failing = await world.place(a, id);
    await world.stores.run(a.attempts.take(id, endFor(failing, { out: 'failed' }), undefined));
    await refuse('owner');
    expect(pauses.at(-1)).toBeLessThanOrEqual(50);
  });

  it('leave the end of a failed command to the owner, though any home store notes it', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const output = new Uint8Array(100_000);
    const end = endFor(start, { out: 'failed', exit: 1, stdout: output });
    await world.stores.run(b.attempts.take(id, end, undefined));
    expect(world.task(b, id).final).toBeUndefined();
    // It will be the last one, so its output is the result.
    expect(world.task(b, id).attempts[0]?.ends[0]?.stdout).toHaveLength(output.length);
    await world.stores.run(b.attempts.finish(id));
    expect(world.task(b, id).final).toMatchObject({ state: 'failed', reason: 'exit' });
  });

  it('keep only the end of the output of attempts that others follow', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit({ attempts: 12 });
    for (let n = 1; n <= 12; n++) {
      const start = await world.place(a, id);
      const stdout = new Uint8Array(1_000_000).fill(n);
      const end = endFor(start, { out: 'failed', exit: 1, stdout });
      expect(await world.stores.run(a.attempts.take(id, end, undefined))).toMatchObject({
        ok: true,
      });
    }
    await world.stores.run(a.attempts.finish(id));
    const sizes = world.task(a, id).attempts.map(({ ends }) => ends[0]?.stdout?.length);
    expect(sizes).toEqual([...Array(11).fill(EARLIER_OUTPUT_BYTES_MAX), 1_000_000]);
    expect(world.task(a, id).attempts[0]?.ends[0]).toMatchObject({ trunc: true });
  });

  it('are given up in a minority only when their end is proven, or the task allows it', async () => {
    const world = await AttemptsWorld.of('a', 'b', 'c', 'd', 'e');
    const a = world.host('a');
    const { id } = await world.submit();
    const bold = await world.submit({ on_partition: 'available' });
    for (const record of [id, bold.id]) await world.place(a, record);
    for (const name of ['b', 'c', 'd', 'e']) world.stores.kill(name);
    const lose = (record: string, proven: boolean) => {
      const task = world.task(a, record);
      const [attempt] = task.attempts;
      if (attempt === undefined) throw new Error('no attempt');
      return world.stores.run(a.attempts.lose(task, attempt, { weight: 2, proven, why: 'gone' }));
    };
    expect(await lose(id, false)).toBe(false);
    expect(await lose(bold.id, false)).toBe(true);
    expect(await lose(id, true)).toBe(true);
    expect(world.task(a, id).attempts[0]?.ends[0]).toMatchObject({ out: 'lost', loss: 2 });
  });

  it('say nothing about a key', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const record = await world.submit();
    const key = { ...record, id: 'key-1', kind: 'key' as const, header: new Uint8Array([1]) };
    await world.stores.run(a.replica.change(key.id, () => ({ value: 0, next: key })));
    const end = endFor(startOf('run1'));
    expect(await world.stores.run(a.attempts.take(key.id, end, undefined))).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
    expect(await world.stores.run(a.attempts.note(key.id, () => undefined))).toBe(false);
  });
});
