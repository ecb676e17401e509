/** What an owner makes of what a runner says about an attempt that was silent. */
import { describe, expect, it } from 'vitest';
import { ok } from '../../src/base/result.ts';
import { TaskClock } from '../../src/tasks/task-clock.ts';
import { type Entry, Watcher } from '../../src/tasks/watcher.ts';
import { AttemptsWorld } from '../support/attempts-world.ts';

/** An attempt that host a has placed on host b, which answers a question with `state`. */
async function asked(state: string) {
  const world = await AttemptsWorld.of('a', 'b');
  const [a, b] = [world.host('a'), world.host('b')];
  const { clock } = world.stores;
  const { id } = await world.submit({ argv: ['true'] });
  await world.place(a, id, b);
  b.messaging.onRequest('run.query', () => ok({ state }));
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
    complete: true,
    starting: false,
    mustRead: false,
    timer: undefined,
    heardMs: Number.NEGATIVE_INFINITY,
    askedMs: Number.NEGATIVE_INFINITY,
    held: undefined,
  };
  watcher.watch(entry, world.task(a, id));
  await clock.runFor(1_000);
  return { attempt: world.task(a, id).attempts[0], readAgain };
}

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
});
