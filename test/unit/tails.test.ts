/** The replicated last output of an attempt. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/hash.ts';
import { Tails } from '../../src/tasks/tails.ts';
import { StoreWorld } from '../support/store-world.ts';

const tail = (n: number, runId: string, seq: number, text: string, boot = 1) => ({
  n,
  run_id: runId,
  boot,
  seq,
  stdout: utf8(text),
  stderr: utf8(''),
  progress: seq,
});

describe('tails', () => {
  it('keep the last output of the newest attempt', async () => {
    const world = await StoreWorld.of('a');
    const { store } = world.host('a');
    const tails = new Tails(store);
    for (const item of [
      tail(1, 'r1', 1, 'one'),
      tail(1, 'r1', 3, 'three'),
      tail(1, 'r1', 2, 'two'),
      tail(2, 'r2', 1, 'second'),
      tail(1, 'r1', 4, 'late'),
    ]) {
      await world.run(tails.put('task', item));
    }
    expect(tails.get('task')).toEqual(tail(2, 'r2', 1, 'second'));
    await world.run(tails.drop(['task']));
    expect(tails.get('task')).toBeUndefined();
  });

  it('follow a worker that resumed: its daemon counts anew in each boot', async () => {
    const world = await StoreWorld.of('a');
    const tails = new Tails(world.host('a').store);
    const { boot: _, ...old } = tail(1, 'r1', 50, 'of a version without boots');
    for (const item of [
      old,
      tail(1, 'r1', 40, 'before', 2),
      tail(1, 'r1', 1, 'resumed', 3),
      tail(1, 'r1', 41, 'late', 2),
    ]) {
      await world.run(tails.put('task', item));
    }
    expect(tails.get('task')).toEqual(tail(1, 'r1', 1, 'resumed', 3));
  });

  it('are lost on a full disk, and nothing else is', async () => {
    const world = await StoreWorld.of('a');
    const { store, disk } = world.host('a');
    const tails = new Tails(store);
    disk.full = true;
    await world.run(tails.put('task', tail(1, 'r1', 1, 'one')));
    expect(tails.get('task')).toBeUndefined();
    disk.full = false;
    await world.run(tails.put('task', tail(1, 'r1', 2, 'two')));
    expect(tails.get('task')?.seq).toBe(2);
  });

  it.each([
    {},
    { n: 1 },
    { ...tail(1, 'r', 1, ''), stdout: 'text' },
    { ...tail(1, 'r', 1, ''), n: 'x' },
    { ...tail(1, 'r', 1, ''), boot: 'x' },
  ])('are not taken from a malformed message: %j', async (body) => {
    const world = await StoreWorld.of('a');
    const tails = new Tails(world.host('a').store);
    await world.run(tails.put('task', body));
    expect(tails.get('task')).toBeUndefined();
  });
});
