/** The phi-accrual detector, against values computed by hand. */
import { describe, expect, it } from 'vitest';
import { PHI_MAX, PHI_SIGMA_MS_MAX, PHI_SIGMA_MS_MIN } from '../../src/membership/limits.ts';
import { PhiWindow, phiOf } from '../../src/membership/phi.ts';

const OUTAGE_MS = 120_000;

const beaten = (count: number, intervalMs: number): PhiWindow => {
  const window = new PhiWindow(500, OUTAGE_MS);
  for (let i = 0; i < count; i++) window.beat(i * intervalMs);
  return window;
};

describe('phi', () => {
  it('rises with the silence: low within the rhythm, beyond 8 after twice the interval', () => {
    const window = beaten(50, 500);
    expect(window.phi(400)).toBeLessThan(1);
    expect(window.phi(1_200)).toBeGreaterThan(8);
    let last = 0;
    for (let silenceMs = 0; silenceMs < 5_000; silenceMs += 50) {
      const phi = window.phi(silenceMs);
      expect(phi).toBeGreaterThanOrEqual(last);
      last = phi;
    }
  });

  it('is 0.3 at the mean, where a heartbeat is as likely late as early', () => {
    expect(phiOf(500, 500, 100)).toBeCloseTo(Math.log10(2), 5);
  });

  it('is capped, a number for every silence, and never below zero', () => {
    for (const silenceMs of [-5, 0, 1, 1e3, 1e6, 1e12, Number.POSITIVE_INFINITY]) {
      const phi = beaten(10, 500).phi(silenceMs);
      expect(phi).toBeGreaterThanOrEqual(0);
      expect(phi).toBeLessThanOrEqual(PHI_MAX);
    }
    expect(beaten(10, 500).phi(60_000)).toBe(PHI_MAX);
  });

  it('keeps sigma between its floor and its cap', () => {
    expect(beaten(200, 500).sigmaMs).toBe(PHI_SIGMA_MS_MIN);
    const wild = new PhiWindow(500, OUTAGE_MS);
    let at = 0;
    for (let i = 0; i < 50; i++) {
      at += i % 2 === 0 ? 1 : 60_000;
      wild.beat(at);
    }
    expect(wild.sigmaMs).toBe(PHI_SIGMA_MS_MAX);
  });

  it('does not record the first interval after an outage', () => {
    const window = beaten(50, 500);
    const mean = window.meanMs;
    window.skipNext();
    window.beat(1_000_000);
    expect(window.meanMs).toBe(mean);
    window.beat(1_000_500);
    expect(window.meanMs).toBeCloseTo(mean, 0);
  });

  it('takes an interval as long as an outage for one', () => {
    const window = new PhiWindow(500, 2_000);
    for (let i = 0; i < 20; i++) window.beat(i * 500);
    window.beat(15_000);
    expect(window.meanMs).toBe(500);
  });

  it('learns a slower rhythm', () => {
    expect(beaten(300, 1_500).meanMs).toBeGreaterThan(1_450);
    expect(beaten(300, 1_500).phi(2_000)).toBeLessThan(8);
  });
});
