/** Clock: the compliance suite on both twins, then what is special to each. */
import { describe, expect, test } from 'vitest';
import { HostClock } from '../../src/host/clock.ts';
import { SimClock } from '../../src/sim/clock.ts';
import { clockCompliance } from './clock.ts';
import { settleReal } from './settle.ts';

const settleSim = (clock: SimClock) => async (condition: () => boolean) => {
  if (!(await clock.runUntil(condition, 10_000))) throw new Error('the condition did not hold');
};

describe('SimClock', () => {
  clockCompliance(() => {
    const clock = new SimClock();
    // The world itself must move, or a condition on time alone is never asked again.
    const tick = () => {
      clock.after(1, tick);
    };
    tick();
    return { clock, settle: settleSim(clock) };
  });
});

describe('SimClock of one owner, skewed', () => {
  clockCompliance(() => {
    const world = new SimClock();
    const clock = world.forOwner('p1', { bootMs: 12_345.678, rate: 1.0007, wallOffsetMs: -90_000 });
    const tick = () => {
      world.after(1, tick);
    };
    tick();
    return { clock, settle: settleSim(world) };
  });
});

describe('HostClock', () => {
  clockCompliance(() => ({ clock: new HostClock(), settle: settleReal }));

  test('counts the time the host was suspended, and not what the wall clock was set by', () => {
    const time = { monotonicMs: 1_000, uptimeMs: 51_000, wallMs: 1_700_000_000_000 };
    const clock = new HostClock({
      monotonicMs: () => time.monotonicMs,
      uptimeMs: () => time.uptimeMs,
      wallMs: () => time.wallMs,
    });
    const startMs = clock.nowMs();
    expect(startMs).toBe(51_000);
    time.wallMs -= 3_600_000;
    expect(clock.nowMs()).toBe(startMs);
    time.wallMs += 7_200_000;
    expect(clock.nowMs()).toBe(startMs);
    // Suspend of a minute: monotonic time stands still, uptime and wall time go on.
    time.uptimeMs += 60_000;
    time.wallMs += 60_000;
    expect(clock.nowMs()).toBe(startMs + 60_000);
    time.monotonicMs += 10;
    time.uptimeMs += 10;
    time.wallMs += 10;
    expect(clock.nowMs()).toBe(startMs + 60_010);
  });

  test('long timers wait a little for one another, short ones for none', async () => {
    const clock = new HostClock();
    const startMs = clock.nowMs();
    const firedMs: number[] = [];
    const note = () => firedMs.push(clock.nowMs() - startMs);
    // Each may be late by an eighth, 37 ms: they meet.
    for (const delayMs of [300, 305, 310, 315]) clock.after(delayMs, note);
    let shortMs = 0;
    clock.after(20, () => {
      shortMs = clock.nowMs() - startMs;
    });
    await settleReal(() => firedMs.length === 4);
    expect(shortMs).toBeGreaterThanOrEqual(20);
    expect(firedMs[0]).toBeGreaterThanOrEqual(315);
    expect(firedMs).toEqual([...firedMs].sort((a, b) => a - b));
  });

  test('timers due in a suspend fire soon after it', async () => {
    let sleptMs = 0;
    const clock = new HostClock({
      monotonicMs: () => performance.now(),
      uptimeMs: () => performance.now() + sleptMs,
      wallMs: () => performance.now() + sleptMs,
    });
    let fired = false;
    clock.after(3_600_000, () => {
      fired = true;
    });
    sleptMs = 3_600_000;
    await settleReal(() => fired);
    expect(fired).toBe(true);
  });
});

describe('the world', () => {
  test('drops the timers of an owner that crashed, and those it still sets', async () => {
    const world = new SimClock();
    const first = world.forOwner('p1');
    const fired: string[] = [];
    first.after(5, () => fired.push('first'));
    world.forOwner('p2').after(5, () => fired.push('other'));
    world.dropOwner('p1');
    first.after(1, () => fired.push('ghost'));
    world.forOwner('p1').after(5, () => fired.push('second'));
    await world.runFor(100);
    expect(fired).toEqual(['other', 'second']);
    expect(world.nowMs()).toBe(100);
    expect(await world.step()).toBe(false);
  });

  test('a step lets every promise that follows run, however long the chain', async () => {
    const world = new SimClock();
    let count = 0;
    world.after(1, () => {
      void (async () => {
        for (; count < 10_000; count++) await Promise.resolve();
      })();
    });
    expect(await world.step()).toBe(true);
    expect(count).toBe(10_000);
  });

  test('what a callback throws comes out of the step', async () => {
    const world = new SimClock();
    world.after(1, () => {
      throw new Error('broken invariant');
    });
    await expect(world.step()).rejects.toThrow('broken invariant');
    expect(await world.runUntil(() => false, 10)).toBe(false);
  });
});
