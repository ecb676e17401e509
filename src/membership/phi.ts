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
  /** The newest ones, in no order: the oldest is overwritten. */
  #intervals: number[] = [];
  #next = 0;
  /** Of their differences from the expected interval, and of the squares of these: near zero, so they stay exact. */
  #sum = 0;
  #squares = 0;
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
      this.#add(intervalMs);
      this.#known = undefined;
    }
    this.#lastBeatMs = nowMs;
  }

  #add(intervalMs: number): void {
    const added = intervalMs - this.#expectedMs;
    const dropped = (this.#intervals[this.#next] ?? this.#expectedMs) - this.#expectedMs;
    this.#intervals[this.#next] = intervalMs;
    this.#sum += added - dropped;
    this.#squares += added ** 2 - dropped ** 2;
    this.#next = (this.#next + 1) % PHI_WINDOW_MAX;
    if (this.#next === 0) this.#sumUp();
  }

  /** Once a round, so that what is lost in rounding does not add up. */
  #sumUp(): void {
    this.#sum = 0;
    this.#squares = 0;
    for (const intervalMs of this.#intervals) {
      this.#sum += intervalMs - this.#expectedMs;
      this.#squares += (intervalMs - this.#expectedMs) ** 2;
    }
  }

  /** The next interval says nothing (new link, outage, our own pause): it is not recorded. */
  skipNext(): void {
    this.#lastBeatMs = undefined;
  }

  reset(): void {
    this.#intervals = [];
    this.#next = 0;
    this.#sum = 0;
    this.#squares = 0;
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
    const { length } = this.#intervals;
    const offset = this.#sum / (length + 2);
    const squares = Math.max(0, this.#squares - 2 * offset * this.#sum + length * offset ** 2);
    const prior = 2 * (this.#expectedMs / 4) ** 2;
    const sigma = Math.sqrt((squares + prior) / (length + 2));
    const sigmaMs = Math.min(PHI_SIGMA_MS_MAX, Math.max(PHI_SIGMA_MS_MIN, sigma));
    return { meanMs: this.#expectedMs + offset, sigmaMs };
  }

  phi(silenceMs: number): number {
    return phiOf(silenceMs, this.meanMs, this.sigmaMs);
  }
}
