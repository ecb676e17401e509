/**
 * Phi accrual (Hayashibara et al. 2004, with Akka's approximation of the normal distribution): how
 * surprising is the present silence, given the intervals at which heartbeats came so far? Phi 8 is
 * one chance in 10^8. It only *suspects*. Pure: time comes in as a number.
 */
import { PHI_MAX, PHI_SIGMA_MS_MAX, PHI_SIGMA_MS_MIN, PHI_WINDOW_MAX } from './limits.ts';

/** Phi of a silence under a normal distribution of intervals. */
export function phiOf(silenceMs: number, meanMs: number, sigmaMs: number): number {
  const y = (silenceMs - meanMs) / sigmaMs;
  const e = Math.exp(-y * (1.5976 + 0.070566 * y * y));
  const phi = silenceMs > meanMs ? -Math.log10(e / (1 + e)) : -Math.log10(1 - 1 / (1 + e));
  // exp underflows to 0 for long silences, which gives Infinity, never NaN.
  return Math.min(PHI_MAX, Math.max(0, phi));
}

export class PhiWindow {
  readonly #expectedMs: number;
  readonly #outageMs: number;
  #intervals: number[] = [];
  #lastBeatMs: number | undefined;
  /** Phi is asked for many times between two heartbeats. */
  #known: { readonly meanMs: number; readonly sigmaMs: number } | undefined;

  /**
   * `expectedMs`: the interval at which heartbeats are sent; the prior until some were received. An
   * interval of `outageMs` or more is an outage, and recorded it would make the detector slow for
   * minutes.
   */
  constructor(expectedMs: number, outageMs: number) {
    this.#expectedMs = expectedMs;
    this.#outageMs = outageMs;
  }

  /**
   * A scheduled heartbeat came. Other traffic must not enter: a burst of frames would make the mean
   * tiny and the next ordinary pause a suspicion.
   */
  beat(nowMs: number): void {
    const intervalMs = nowMs - (this.#lastBeatMs ?? Number.NEGATIVE_INFINITY);
    if (intervalMs < this.#outageMs) {
      this.#intervals.push(intervalMs);
      this.#known = undefined;
      if (this.#intervals.length > PHI_WINDOW_MAX) this.#intervals.shift();
    }
    this.#lastBeatMs = nowMs;
  }

  /** The next interval says nothing (new link, outage, our own pause): it is not recorded. */
  skipNext(): void {
    this.#lastBeatMs = undefined;
  }

  reset(): void {
    this.#intervals = [];
    this.#known = undefined;
    this.#lastBeatMs = undefined;
  }

  get meanMs(): number {
    this.#known ??= this.#measure();
    return this.#known.meanMs;
  }

  /** Standard deviation, between its floor and its cap. */
  get sigmaMs(): number {
    this.#known ??= this.#measure();
    return this.#known.sigmaMs;
  }

  #measure(): { meanMs: number; sigmaMs: number } {
    // The expected interval counts as two observations, so that one odd first interval does not
    // rule.
    const sum = this.#intervals.reduce((total, interval) => total + interval, 2 * this.#expectedMs);
    const mean = sum / (this.#intervals.length + 2);
    const squares = this.#intervals.reduce((total, x) => total + (x - mean) ** 2, 0);
    const prior = 2 * (this.#expectedMs / 4) ** 2;
    const sigma = Math.sqrt((squares + prior) / (this.#intervals.length + 2));
    const sigmaMs = Math.min(PHI_SIGMA_MS_MAX, Math.max(PHI_SIGMA_MS_MIN, sigma));
    return { meanMs: mean, sigmaMs };
  }

  phi(silenceMs: number): number {
    return phiOf(silenceMs, this.meanMs, this.sigmaMs);
  }
}
