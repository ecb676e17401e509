/** Percentiles and medians: of what was measured, never between two samples. */

const rank = (count: number, share: number): number =>
  Math.min(count - 1, Math.max(0, Math.ceil(count * share) - 1));

/** The smallest value that at least `share` of all values do not exceed (nearest rank); undefined of none. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[rank(sorted.length, share)];
}

/** Of an even count the upper one of the two in the middle: a figure that was measured. */
export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

export interface Spread {
  readonly p50: number | null;
  readonly p99: number | null;
  readonly p999: number | null;
  readonly max: number | null;
}

/** Sorted once for all of them: a phase has up to a million samples. */
export function spreadOf(values: readonly number[], digits = 3): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number | null => {
    const value = sorted[rank(sorted.length, share)];
    return value === undefined ? null : rounded(value, digits);
  };
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}

export const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

/**
 * The median of each figure over runs of one shape: numbers by their place in nested objects; of everything else, what
 * the first run has. A figure that a run lacks (null) counts in none.
 */
export function medianOfRuns(runs: readonly unknown[]): unknown {
  const [first] = runs;
  const numbers = runs.filter((one) => typeof one === 'number');
  if (numbers.length > 0) return median(numbers);
  if (!isRecord(first)) return first;
  const keys = new Set(runs.flatMap((run) => (isRecord(run) ? Object.keys(run) : [])));
  return Object.fromEntries(
    [...keys].map((key) => [
      key,
      medianOfRuns(runs.filter(isRecord).flatMap((run) => (key in run ? [run[key]] : []))),
    ]),
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
