/** Which runs are reported to whom, and when a run is given up whose task nobody knows. */
import { describe, expect, it } from 'vitest';
import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import { encodeRecord } from '../../src/records/record.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { ORPHAN_MS, RunReport } from '../../src/tasks/run-report.ts';
import type { CallResult } from '../../src/wire/messaging.ts';
import { MemoryMesh } from '../support/memory-messaging.ts';
import { newRecord, storeOf } from '../support/task-records.ts';

const TASK = newRecord([storeOf('s1')]);
const RUN = { id: TASK.id, runId: 'run1', home: ['s1', 's2', 's3'] };
const denied = ok({ stale: [], unknown: ['run1'] });
const known = ok({ stale: [], unknown: [] });
const lost = err(coveyError('UNREACHABLE', { what: 'it' }));

function world() {
  const clock = new SimClock();
  const mesh = new MemoryMesh(clock);
  const answers: Record<string, CallResult> = { p1: denied, p2: denied, p3: denied };
  /** Who holds the task, of the home or not. */
  const holders = new Set<string>();
  for (const peer of [...Object.keys(answers), 'stranger']) {
    const end = mesh.join(peer);
    end.onRequest('run.report', () => answers[peer] ?? lost);
    end.onRequest('rec.ask', () => {
      const copies = holders.has(peer) ? [{ record: encodeRecord(TASK) }] : [];
      return ok({ copies, stones: [], answered: 1 });
    });
  }
  const report = new RunReport({
    clock,
    messaging: mesh.join('me'),
    peerOfStore: (store) =>
      answers[store.replace('s', 'p')] ? store.replace('s', 'p') : undefined,
    peersInReach: () => [...Object.keys(answers), 'stranger'],
  });
  const round = async (run: typeof RUN = RUN) => {
    const done = report.round([run]);
    await clock.runFor(20);
    return (await done).orphans;
  };
  return { clock, mesh, answers, holders, report, round };
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

  it('keeps it while anybody else holds the task, or may', async () => {
    const { clock, mesh, holders, round } = world();
    await round();
    holders.add('stranger');
    await clock.runFor(ORPHAN_MS);
    expect(await round()).toEqual([]);
    // Counted anew from there.
    holders.clear();
    expect(await round()).toEqual([]);
    await clock.runFor(ORPHAN_MS);
    mesh.gone.add('stranger');
    expect(await round()).toEqual([]);
    mesh.gone.clear();
    expect(await round()).toEqual(['run1']);
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
