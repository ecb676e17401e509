/** Which runs are reported to whom, and when a run is given up whose task nobody knows. */
import { describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { ORPHAN_MS, RunReport } from '../../src/tasks/run-report.ts';
import type { CallResult } from '../../src/wire/messaging.ts';
import { MemoryMesh } from '../support/memory-messaging.ts';

const RUN = { id: 'TASK', runId: 'run1', home: ['s1', 's2', 's3'] };
const denied = ok({ stale: [], unknown: ['run1'] });
const known = ok({ stale: [], unknown: [] });
const lost = err(coveyError('UNREACHABLE', { what: 'it' }));

function world() {
  const clock = new SimClock();
  const mesh = new MemoryMesh(clock);
  const answers: Record<string, CallResult> = { p1: denied, p2: denied, p3: denied };
  for (const peer of Object.keys(answers))
    mesh.join(peer).onRequest('run.report', () => answers[peer] ?? lost);
  const report = new RunReport({
    clock,
    messaging: mesh.join('me'),
    peerOfStore: (store) =>
      answers[store.replace('s', 'p')] ? store.replace('s', 'p') : undefined,
  });
  const round = async (run: typeof RUN = RUN) => {
    const done = report.round([run]);
    await clock.runFor(10);
    return (await done).orphans;
  };
  return { clock, answers, report, round };
}

describe('a report of runs', () => {
  it('gives a run up when no store of its home has known its task for a minute', async () => {
    const { clock, round } = world();
    expect(await round()).toEqual([]);
    await clock.runFor(ORPHAN_MS - 100);
    expect(await round()).toEqual([]);
    await clock.runFor(100);
    expect(await round()).toEqual(['run1']);
  });

  it('keeps it while one of them knows it, or too few answer', async () => {
    const cases: Record<string, CallResult>[] = [
      { p1: denied, p2: known, p3: denied },
      { p1: denied, p2: lost, p3: lost },
      { p1: denied, p2: ok({ stale: [] }), p3: denied },
    ];
    for (const answersNow of cases) {
      const { clock, answers, round } = world();
      Object.assign(answers, answersNow);
      await round();
      await clock.runFor(2 * ORPHAN_MS);
      expect(await round()).toEqual([]);
    }
  });

  it('counts from the last time that somebody knew it', async () => {
    const { clock, answers, round } = world();
    await round();
    await clock.runFor(ORPHAN_MS / 2);
    answers.p1 = known;
    await round();
    answers.p1 = denied;
    await clock.runFor(ORPHAN_MS / 2);
    expect(await round()).toEqual([]);
    await clock.runFor(ORPHAN_MS);
    expect(await round()).toEqual(['run1']);
  });

  it('of a home of one store, that one is enough', async () => {
    const { clock, round } = world();
    const run = { ...RUN, home: ['s1'] };
    await round(run);
    await clock.runFor(ORPHAN_MS);
    expect(await round(run)).toEqual(['run1']);
  });

  it('says who knows a run to be over', async () => {
    const { clock, answers, report } = world();
    answers.p2 = ok({ stale: ['run1'], unknown: [] });
    const done = report.round([RUN]);
    await clock.runFor(10);
    expect((await done).stale).toEqual([['run1', 'p2']]);
  });
});
