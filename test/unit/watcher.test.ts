/** What an owner makes of what a runner says about an attempt that was silent. */
import { describe, expect, it } from 'vitest';
import { ok } from '../../src/base/result.ts';
import { TaskClock } from '../../src/tasks/task-clock.ts';
import { type Entry, Watcher } from '../../src/tasks/watcher.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';

/** An attempt that host a has placed on host b, which answers a question with `state`. Host c has a copy. */
async function watched(state: string, complete = true, boot?: number) {
  const world = await AttemptsWorld.of('a', 'b', 'c');
  const [a, b] = [world.host('a'), world.host('b')];
  const { clock } = world.stores;
  const { id } = await world.submit({ argv: ['true'] });
  await world.place(a, id, b);
  b.messaging.onRequest('run.query', () => ok({ state, boot }));
  let readAgain = 0;
  const watcher = new Watcher({
    clock,
    taskClock: new TaskClock(clock),
    messaging: a.messaging,
    replica: a.replica,
    view: a.view,
    attempts: a.attempts,
    killGraceMs: 1_000,
    settled: () => undefined,
    readAgain: () => {
      readAgain += 1;
    },
    isCurrent: () => true,
  });
  const entry: Entry = {
    id,
    phase: 'owned',
    complete,
    starting: false,
    mustRead: false,
    timer: undefined,
    heardMs: Number.NEGATIVE_INFINITY,
    askedMs: Number.NEGATIVE_INFINITY,
    endedRun: undefined,
    held: undefined,
  };
  const ask = async () => {
    Object.assign(entry, { heardMs: Number.NEGATIVE_INFINITY, askedMs: Number.NEGATIVE_INFINITY });
    watcher.watch(entry, world.task(a, id));
    await clock.runFor(1_000);
    return { attempt: world.task(a, id).attempts[0], readAgain };
  };
  return { world, entry, ask };
}

const asked = async (state: string) => (await watched(state)).ask();

describe('the watch over an attempt', () => {
  it('takes one that its runner gave up for lost: no end of it will ever come', async () => {
    const { attempt, readAgain } = await asked('given_up');
    expect(attempt?.ends).toMatchObject([{ out: 'lost', loss: 1, proven: true }]);
    expect(readAgain).toBe(0);
  });

  it('looks for the end of one that has ended, and takes one that never began back', async () => {
    expect(await asked('ended')).toMatchObject({ attempt: { ends: [] }, readAgain: 1 });
    expect(await asked('running')).toMatchObject({ attempt: { ends: [] }, readAgain: 0 });
    const { attempt } = await asked('unknown');
    expect(attempt?.ends).toMatchObject([{ out: 'refused', code: 'never_started' }]);
  });

  it('takes none back that an earlier boot of its runner may have started', async () => {
    const { ask } = await watched('unknown', true, 99);
    expect(await ask()).toMatchObject({ attempt: { ends: [] }, readAgain: 0 });
  });

  it('gives it up when all were read again, and the stores that had taken its end have lost it', async () => {
    const { ask } = await watched('ended');
    expect(await ask()).toMatchObject({ attempt: { ends: [] }, readAgain: 1 });
    const { attempt, readAgain } = await ask();
    expect(attempt?.ends).toMatchObject([{ out: 'lost', loss: 1, proven: true }]);
    expect(readAgain).toBe(1);
  });

  it('goes on looking while somebody was not heard, or a store of its home is away', async () => {
    const unheard = await watched('ended', false);
    await unheard.ask();
    expect(await unheard.ask()).toMatchObject({ attempt: { ends: [] }, readAgain: 2 });
    const { world, ask } = await watched('ended');
    await ask();
    world.stores.kill('c');
    expect(await ask()).toMatchObject({ attempt: { ends: [] }, readAgain: 2 });
  });

  it('waits for what a member has that returns while the runner is asked', async () => {
    const { world, entry, ask } = await watched('ended');
    world.stores.kill('c');
    await ask();
    world.host('b').messaging.onRequest('run.query', () => {
      world.stores.revive('c');
      entry.phase = 'syncing';
      return ok({ state: 'ended' });
    });
    expect(await ask()).toMatchObject({ attempt: { ends: [] }, readAgain: 1 });
  });
});
