/** What every Clock must do, in virtual and in real time. */
import { expect, test } from 'vitest';
import { type Clock, sleep } from '../../src/ports/clock.ts';

export interface ClockTwin {
  readonly clock: Clock;
  /** Lets time pass until the condition holds; throws when it does not within a few seconds. */
  settle(condition: () => boolean): Promise<void>;
}

export function clockCompliance(make: () => ClockTwin): void {
  test('calls back once, not before the delay has passed', async () => {
    const { clock, settle } = make();
    const startMs = clock.nowMs();
    const firedAtMs: number[] = [];
    clock.after(20, () => firedAtMs.push(clock.nowMs()));
    expect(firedAtMs).toEqual([]);
    await settle(() => clock.nowMs() >= startMs + 50);
    expect(firedAtMs).toHaveLength(1);
    expect(firedAtMs[0]).toBeGreaterThanOrEqual(startMs + 20);
  });

  test('fires in order of due time, in order of setting when due together', async () => {
    const { clock, settle } = make();
    const fired: string[] = [];
    clock.after(5, () => fired.push('early'));
    // Set one after another with one delay: due together, or each no sooner than the one before it.
    for (const name of ['a', 'b', 'c', 'd']) clock.after(15, () => fired.push(name));
    await settle(() => fired.length === 5);
    expect(fired[0]).toBe('early');
    const zero: string[] = [];
    for (const name of ['a', 'b', 'c']) clock.after(0, () => zero.push(name));
    await settle(() => zero.length === 3);
    expect(zero).toEqual(['a', 'b', 'c']);
  });

  test('promises that one callback resolves run before the next callback', async () => {
    const { clock, settle } = make();
    const seen: string[] = [];
    clock.after(1, () => {
      void Promise.resolve()
        .then(() => undefined)
        .then(() => seen.push('promise of first'));
    });
    clock.after(1, () => seen.push('second'));
    await settle(() => seen.length === 2);
    expect(seen).toEqual(['promise of first', 'second']);
  });

  test('a canceled timer never fires, not even canceled by its twin', async () => {
    const { clock, settle } = make();
    const fired: string[] = [];
    const early = clock.after(1, () => fired.push('early'));
    early.cancel();
    early.cancel();
    const timers: { cancel(): void }[] = [];
    clock.after(2, () => timers[0]?.cancel());
    timers.push(clock.after(2, () => fired.push('late')));
    clock.after(30, () => fired.push('end'));
    await settle(() => fired.includes('end'));
    expect(fired).toEqual(['end']);
  });

  test('no delay and negative delays fire in a later turn, also inside a callback', async () => {
    const { clock, settle } = make();
    const fired: string[] = [];
    clock.after(0, () => {
      clock.after(-5, () => fired.push('inner'));
      fired.push('outer');
    });
    expect(fired).toEqual([]);
    await settle(() => fired.length === 2);
    expect(fired).toEqual(['outer', 'inner']);
  });

  test('delays beyond 2^31 ms wait instead of firing at once', async () => {
    const { clock, settle } = make();
    let fired = false;
    const timer = clock.after(2 ** 31 + 1_000, () => {
      fired = true;
    });
    const startMs = clock.nowMs();
    await settle(() => clock.nowMs() > startMs + 10);
    timer.cancel();
    expect(fired).toBe(false);
  });

  test('a thousand timers in any order fire in order', async () => {
    const { clock, settle } = make();
    // When each is due is known from both sides only: a busy host may stand still while one is set.
    interface Due {
      readonly earliestMs: number;
      latestMs: number;
    }
    const fired: Due[] = [];
    let kept = 0;
    for (let i = 0; i < 1_000; i++) {
      const delayMs = 400 + ((i * 7_919) % 97);
      const due: Due = { earliestMs: clock.nowMs() + delayMs, latestMs: 0 };
      const timer = clock.after(delayMs, () => fired.push(due));
      due.latestMs = clock.nowMs() + delayMs;
      if (i % 3 === 0) timer.cancel();
      else kept += 1;
    }
    await settle(() => fired.length === kept);
    let earlierMs = 0;
    for (const { earliestMs, latestMs } of fired) {
      expect(latestMs).toBeGreaterThanOrEqual(earlierMs);
      earlierMs = Math.max(earlierMs, earliestMs);
    }
  });

  test('time does not go back, and sleep resolves', async () => {
    const { clock, settle } = make();
    const readings: number[] = [clock.nowMs()];
    let done = false;
    const slept = sleep(clock, 5).then(() => {
      done = true;
    });
    await settle(() => {
      readings.push(clock.nowMs());
      return done;
    });
    await slept;
    expect(readings).toEqual([...readings].sort((a, b) => a - b));
    expect(clock.wallMs()).toBeGreaterThan(1_700_000_000_000);
  });
}
