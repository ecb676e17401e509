/**
 * What a batch of worlds reached: a simulator in which something never happens says nothing about it. The lists come
 * from the tables of the product and of the faults; what cannot be reached is deleted there, not here.
 */
import { FAULT_NAMES } from './faults.ts';
import type { ScenarioResult } from './scenarios.ts';
import { REACHABLE } from './sightings.ts';

/** Batches below this size may miss what is rare. */
export const FULL_BATCH_SEEDS = 1_000;

const KINDS = ['faults', 'codes', 'states', 'edges', 'members', 'member_edges'] as const;
type Kind = (typeof KINDS)[number];

const EXPECTED: Readonly<Record<Kind, readonly string[]>> = { faults: FAULT_NAMES, ...REACHABLE };

/** What is reached may hold more than what must be: a name of a later version, a count of something else. */
export class Coverage {
  readonly #counts: Readonly<Record<Kind, Map<string, number>>> = {
    faults: new Map(),
    codes: new Map(),
    states: new Map(),
    edges: new Map(),
    members: new Map(),
    member_edges: new Map(),
  };
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
    const reached: Readonly<Record<Kind, Readonly<Record<string, number>>>> = {
      faults: result.counts,
      ...result.reached,
    };
    for (const kind of KINDS)
      for (const name of EXPECTED[kind]) tally(this.#counts[kind], name, reached[kind][name] ?? 0);
    for (const [name, count] of Object.entries(result.finals)) tally(this.#finals, name, count);
    const { readsWhole = 0, readsOfOneVersion = 0, clockEntriesMax = 0 } = result.counts;
    this.#readsWhole += readsWhole;
    this.#readsOfOne += readsOfOneVersion;
    this.#clockEntriesMax = Math.max(this.#clockEntriesMax, clockEntriesMax);
    for (const name of FAULT_NAMES)
      if (name.startsWith('partition_')) this.#partitions += result.counts[name] ?? 0;
  }

  /** A full batch that never reached something: the simulator has a hole there, or the product has what nothing can reach. */
  isPoor(fullBatchSeeds = FULL_BATCH_SEEDS): boolean {
    return this.seeds >= fullBatchSeeds && this.missing().length > 0;
  }

  /** What no seed reached: `fault ambush`, `code REVOKED`. */
  missing(): string[] {
    return KINDS.flatMap((kind) =>
      EXPECTED[kind]
        .filter((name) => (this.#counts[kind].get(name) ?? 0) === 0)
        .map((name) => `${kind.slice(0, -1).replace('_', ' ')} ${name}`),
    );
  }

  /** `25 of 27 faults`, for each kind. */
  shares(): string {
    return KINDS.map((kind) => {
      const reached = EXPECTED[kind].filter((name) => (this.#counts[kind].get(name) ?? 0) > 0);
      return `${reached.length} of ${EXPECTED[kind].length} ${kind.replace('_', ' ')}`;
    }).join(', ');
  }

  toJson() {
    const { faults, codes, states, edges, members, member_edges } = this.#counts;
    return {
      seeds: this.seeds,
      virtual_hours: Math.round(this.virtualMs / 36_000) / 100,
      faults: Object.fromEntries(faults),
      codes: Object.fromEntries(codes),
      states: Object.fromEntries(states),
      edges: Object.fromEntries(edges),
      members: Object.fromEntries(members),
      member_edges: Object.fromEntries(member_edges),
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
