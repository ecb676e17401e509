/** What a batch of worlds reached: a simulator in which something never happens says nothing about it. */
import { FAULT_NAMES } from './faults.ts';
import type { ScenarioResult } from './scenarios.ts';

/** Batches below this size may miss what is rare. */
export const FULL_BATCH_SEEDS = 1_000;

/** Finals that a story can come to; `dropped` and `duplicate` need more than its clients do. */
const FINALS = ['completed', 'failed(exit)', 'failed(losses)', 'canceled'] as const;

export class Coverage {
  readonly #faults = new Map<string, number>();
  readonly #finals = new Map<string, number>();
  #partitions = 0;
  #readsWhole = 0;
  #readsOfOne = 0;
  #clockEntriesMax = 0;
  seeds = 0;
  virtualMs = 0;

  add(result: ScenarioResult): void {
    this.seeds += 1;
    this.virtualMs += result.virtualMs;
    for (const name of FAULT_NAMES) tally(this.#faults, name, result.counts[name] ?? 0);
    for (const [name, count] of Object.entries(result.finals)) tally(this.#finals, name, count);
    const { readsWhole = 0, readsOfOneVersion = 0, clockEntriesMax = 0 } = result.counts;
    this.#readsWhole += readsWhole;
    this.#readsOfOne += readsOfOneVersion;
    this.#clockEntriesMax = Math.max(this.#clockEntriesMax, clockEntriesMax);
    for (const name of FAULT_NAMES)
      if (name.startsWith('partition_')) this.#partitions += result.counts[name] ?? 0;
  }

  /** What no seed reached. */
  missing(): string[] {
    return [
      ...FAULT_NAMES.filter((name) => (this.#faults.get(name) ?? 0) === 0).map(
        (name) => `fault ${name}`,
      ),
      ...FINALS.filter((name) => (this.#finals.get(name) ?? 0) === 0).map(
        (name) => `final ${name}`,
      ),
    ];
  }

  toJson() {
    return {
      seeds: this.seeds,
      virtual_hours: Math.round(this.virtualMs / 36_000) / 100,
      faults: Object.fromEntries(this.#faults),
      finals: Object.fromEntries([...this.#finals].sort()),
      versions: {
        partitions: this.#partitions,
        reads_whole: this.#readsWhole,
        reads_of_one_version: this.#readsOfOne,
        clock_entries_max: this.#clockEntriesMax,
      },
      missing: this.missing(),
    };
  }
}

function tally(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}
