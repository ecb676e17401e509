/** The running time of a store, and for how much of it others were out of touch. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { Absences, BACK_TOGETHER_MS } from '../../src/records/absence.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { SimDisk } from '../../src/sim/disk.ts';

const [X, Y] = ['x'.repeat(32), 'y'.repeat(32)];
const HOUR_MS = 3_600_000;
const TTL_MS = 2 * HOUR_MS;

function world() {
  const clock = new SimClock();
  const disk = new SimDisk({ clock, random: new SeededRandom('absence') });
  const linked = new Set<string>();
  const out = new Set<string>();
  let run = 0;
  const start = () => {
    run += 1;
    const own = clock.forOwner(`run ${run}`);
    const absences = new Absences({ store: disk.openStore(), clock: own, ttlMs: TTL_MS });
    absences.start(
      () => [...linked],
      () => [...out],
    );
    return absences;
  };
  const crash = () => {
    clock.dropOwner(`run ${run}`);
    disk.crash();
  };
  return { clock, disk, linked, out, start, crash };
}

describe('absence', () => {
  it('is counted while this store runs and the other one is out of touch', async () => {
    const { clock, linked, start } = world();
    const absences = start();
    expect(absences.absenceMs(X)).toBe(0);
    linked.add(X);
    await clock.runFor(HOUR_MS);
    expect(absences.absenceMs(X)).toBeLessThanOrEqual(1_000);
    linked.delete(X);
    await clock.runFor(HOUR_MS);
    expect(absences.absenceMs(X)).toBeGreaterThan(HOUR_MS - 2_000);
    expect(absences.isLong(X)).toBe(false);
    await clock.runFor(HOUR_MS + 2_000);
    expect(absences.isLong(X)).toBe(true);
    expect(absences.isLong(Y)).toBe(false);
  });

  it('of a dead store of which nothing is noted begins now', async () => {
    const { clock, linked, out, start, crash } = world();
    linked.add(X);
    start();
    await clock.runFor(2_000);
    crash();
    linked.delete(X);
    out.add(X);
    const absences = start();
    await clock.runFor(TTL_MS - HOUR_MS);
    expect(absences.isLong(X)).toBe(false);
    await clock.runFor(HOUR_MS + 10_000);
    expect(absences.isLong(X)).toBe(true);
  });

  it('that was too long is remembered for ten minutes of running time, over a crash as well', async () => {
    const { clock, disk, start, crash } = world();
    start().wereApart(X);
    await clock.runFor(1_000);
    crash();
    const absences = start();
    expect([absences.wasApart(X), absences.wasApart(Y)]).toEqual([true, false]);
    await clock.runFor(BACK_TOGETHER_MS - 2_000);
    expect(absences.wasApart(X)).toBe(true);
    await clock.runFor(63_000);
    expect(absences.wasApart(X)).toBe(false);
    const kept = [...disk.read().range('m/apart/', 'm/apart0', 10, false)];
    expect(kept).toEqual([]);
  });

  it('of a store that was away for too long lasts until it has settled that', async () => {
    const { clock, linked, start } = world();
    const absences = start();
    absences.touch(X);
    await clock.runFor(TTL_MS + 1_000);
    linked.add(X);
    await clock.runFor(HOUR_MS);
    expect(absences.isLong(X)).toBe(true);
    absences.settled(X);
    expect(absences.absenceMs(X)).toBe(0);
    await clock.runFor(HOUR_MS);
    expect(absences.isLong(X)).toBe(false);
  });

  it('goes on after a crash, but for a minute at most, and not while nothing ran', async () => {
    const { clock, start, crash } = world();
    const before = start();
    before.touch(X);
    await clock.runFor(HOUR_MS);
    const ran = before.runningMs;
    expect(ran).toBeGreaterThan(HOUR_MS - 2_000);
    crash();
    await clock.runFor(100 * HOUR_MS);
    const after = start();
    expect(ran - after.runningMs).toBeLessThanOrEqual(62_000);
    expect(after.runningMs).toBeLessThanOrEqual(ran);
    expect(after.absenceMs(X)).toBeGreaterThan(HOUR_MS - 65_000);
    expect(after.isLong(X)).toBe(false);
  });

  it('counts no time in which the process stood still', async () => {
    const { clock, start } = world();
    const absences = start();
    absences.touch(X);
    await clock.runFor(HOUR_MS);
    const before = absences.runningMs;
    // No tick comes for a week: a suspended host, or SIGSTOP.
    clock.dropOwner('run 1');
    await clock.runFor(7 * 24 * HOUR_MS);
    expect(absences.runningMs - before).toBeLessThanOrEqual(2_000);
  });

  it('is written at an orderly end', async () => {
    const { clock, start, crash } = world();
    const before = start();
    before.touch(X);
    await clock.runFor(30_000);
    let done = false;
    void before.close().then(() => {
      done = true;
    });
    await clock.runUntil(() => done, 1_000);
    crash();
    expect(start().absenceMs(X)).toBeGreaterThanOrEqual(29_000);
  });
});
