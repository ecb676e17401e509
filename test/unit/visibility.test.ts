/** A final is told when enough stores have it, and not before. */
import { describe, expect, it } from 'vitest';
import { showHidden } from '../../src/tasks/hidden-finals.ts';
import { isOpen, taskOf } from '../../src/tasks/task.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';
import { endOf } from '../support/task-records.ts';

/** A task that ends at a while b is out of reach: a alone has the final, and hides it. */
async function hidden() {
  const world = await AttemptsWorld.of('a', 'b');
  const a = world.host('a');
  const { id } = await world.submit();
  const { run_id: runId } = await world.place(a, id);
  const told: (string | undefined)[][] = [];
  a.visibility.onTold((_id, before) => {
    const now = a.visibility.get(id);
    told.push(
      [before, now].map((record) => record && (taskOf(record).final?.state ?? 'unfinished')),
    );
  });
  a.visibility.hide(id);
  await world.stores.run(a.attempts.take(id, endOf(runId), undefined));
  return { a, id, told };
}

describe('visibility', () => {
  it('tells a final when enough stores have it, and not before', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const told: string[] = [];
    a.visibility.onTold((item) => told.push(item));
    world.stores.mesh.gone.add(b.peerId);

    const taken = a.attempts.take(id, endOf(start.run_id), undefined);
    expect(await world.stores.run(taken)).toEqual({ ok: true, value: false });
    const hidden = a.visibility.get(id);
    expect(world.task(a, id).final).toBeDefined();
    expect(hidden === undefined ? undefined : taskOf(hidden).final).toBeUndefined();
    expect(told).toEqual([]);

    world.stores.mesh.gone.clear();
    expect(await world.stores.clock.runUntil(() => told.length > 0, 2_000)).toBe(true);
    expect(a.visibility.get(id)?.facts).toEqual(a.replica.get(id)?.facts);
    expect(world.task(b, id).final).toBeDefined();
  });

  it('tells what came from another store at once', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const [a, b] = [world.host('a'), world.host('b')];
    const { id } = await world.submit();
    const start = await world.place(a, id);
    const told: string[] = [];
    b.visibility.onTold((item) => told.push(item));
    await world.stores.run(a.attempts.take(id, endOf(start.run_id), undefined));
    expect(told).toEqual([id]);
    expect(world.task(b, id).final).toBeDefined();
  });

  it('stays hidden until the last of those who hid it is done', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const record = await world.submit();
    const told: string[] = [];
    a.visibility.onTold((item) => told.push(item));
    a.visibility.hide(record.id);
    a.visibility.hide(record.id);
    await world.place(a, record.id);
    a.visibility.reveal(record.id);
    expect(a.visibility.get(record.id)?.facts).toEqual([]);
    a.visibility.reveal(record.id);
    expect(a.visibility.get(record.id)?.facts).toHaveLength(1);
    expect(told).toEqual([record.id]);
    a.visibility.reveal(record.id);
    expect(told).toEqual([record.id]);
  });

  it('tells a hidden change when it is revealed, with what could be told before', async () => {
    const { a, id, told } = await hidden();
    expect(told).toEqual([]);
    a.visibility.reveal(id);
    expect(told).toEqual([['unfinished', 'completed']]);
  });

  it('tells nothing once it is closed, and keeps hidden what was', async () => {
    const { a, id, told } = await hidden();
    await a.visibility.close();
    a.visibility.reveal(id);
    const shown = a.visibility.get(id);
    expect([told, shown && taskOf(shown).final]).toEqual([[], undefined]);
  });

  it('hides over a restart what too few stores had, and tells it when they have it', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const { peerId } = world.host('b');
    const { id } = await world.submit();
    const start = await world.place(world.host('a'), id);
    world.stores.mesh.gone.add(peerId);
    const taken = world.host('a').attempts.take(id, endOf(start.run_id), undefined);
    await world.stores.run(taken);

    expect(await world.restart('a')).toEqual([id]);
    const a = world.host('a');
    const told: string[] = [];
    a.visibility.onTold((item) => told.push(item));
    const confirmed = showHidden({ ...a, clock: world.stores.clock }, [id]);
    await world.stores.clock.runFor(5_000);
    const shown = a.visibility.get(id);
    expect(shown && taskOf(shown).attempts.map(isOpen)).toEqual([true]);
    expect([shown && taskOf(shown).final, told]).toEqual([undefined, []]);

    world.stores.mesh.gone.clear();
    await world.stores.run(confirmed);
    expect(told).toEqual([id]);
    expect(a.visibility.get(id)).toEqual(a.replica.get(id));
    await world.stores.clock.runFor(2_000);
    expect(await world.restart('a')).toEqual([]);
  });

  it('hides nothing after a restart of what enough stores had, once it was closed', async () => {
    const world = await AttemptsWorld.of('a', 'b');
    const a = world.host('a');
    const { id } = await world.submit();
    const { run_id: runId } = await world.place(a, id);
    await world.stores.run(a.attempts.take(id, endOf(runId), undefined));
    expect(a.disk.read().get(`h/${id}`)).toBeDefined();
    await world.stores.run(a.visibility.close());
    expect(await world.restart('a')).toEqual([]);
    expect(world.host('a').visibility.get(id)).toEqual(world.host('a').replica.get(id));
  });
});
