/** Wishes about tasks: what whoever asked is told when they could not be noted, or not on enough stores. */
import { describe, expect, it } from 'vitest';
import { Intents } from '../../src/tasks/intents.ts';
import type { Reader } from '../../src/tasks/reader.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';

async function world() {
  const tasks = await AttemptsWorld.of('a', 'b', 'c');
  const record = await tasks.submit();
  const intents = tasks.hosts.map(
    (host) =>
      new Intents({
        clock: tasks.stores.clock,
        messaging: host.messaging,
        view: host.view,
        attempts: host.attempts,
        reader: { find: async () => ({ record, extras: {} }) } as unknown as Reader,
      }),
  );
  const cancel = async () => {
    const [first] = intents;
    if (first === undefined) throw new Error('no hosts');
    return tasks.stores.run(first.cancel(record.id, 'enough'));
  };
  const canceled = () =>
    tasks.hosts.map((host) => tasks.task(host, record.id).cancel?.reason ?? '');
  return { tasks, cancel, canceled };
}

describe('a cancel', () => {
  it('is answered when enough stores have it', async () => {
    const { cancel, canceled } = await world();
    expect(await cancel()).toEqual({ ok: true, value: 'waiting' });
    expect(canceled().filter((reason) => reason === 'enough').length).toBeGreaterThanOrEqual(2);
  });

  it('that was noted on too few stores is not told as one of an unknown task', async () => {
    const { tasks, cancel, canceled } = await world();
    for (const peer of ['peer-b', 'peer-c']) tasks.stores.mesh.gone.add(peer);
    expect(await cancel()).toMatchObject({
      error: { code: 'NOT_ENOUGH_COPIES', details: { stored_on: 1, required: 2 } },
    });
    expect(canceled()[0]).toBe('enough');
  });

  it('that no disk can take says so', async () => {
    const { tasks, cancel } = await world();
    for (const host of tasks.hosts) host.disk.full = true;
    expect(await cancel()).toMatchObject({ error: { code: 'STORE_FULL' } });
  });
});
