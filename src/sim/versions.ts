/**
 * How many versions of a record there are: what a reader of all its stores would see at one moment (as Dynamo counts
 * it: 1 unless stores hold changes that were made without knowledge of one another), and how long its clock grows.
 */
import { clockOf, covers, type RecordState } from '../records/record.ts';
import { short } from './copies.ts';
import type { World } from './world.ts';

/** The copies that no other copy covers; equal ones count once. */
export function versionsOf(copies: readonly RecordState[]): number {
  const clocks = copies.map(clockOf);
  const newest = clocks.filter(
    (clock, i) =>
      !clocks.some(
        (other, j) => j !== i && covers(other, clock) && (!covers(clock, other) || j < i),
      ),
  );
  return newest.length;
}

export class Versions {
  readonly #world: World;
  #reads = 0;
  #readsOfOne = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** A read of the stores as they are, in a mesh that is whole. */
  read(id: string): void {
    const copies = this.#world.hosts.flatMap((host) => host.durable(id) ?? []);
    const versions = versionsOf(copies);
    this.#reads += 1;
    if (versions <= 1) this.#readsOfOne += 1;
    else this.#world.note(`a reader sees ${versions} versions of ${short(id)}`, id);
  }

  /** In the end, when all copies are equal: the longest clock of all records. */
  toJson(): { readsWhole: number; readsOfOneVersion: number; clockEntriesMax: number } {
    const lengths = [...this.#world.replicas().values()].flatMap((copies) =>
      copies.map(({ record }) => Object.keys(clockOf(record)).length),
    );
    return {
      readsWhole: this.#reads,
      readsOfOneVersion: this.#readsOfOne,
      clockEntriesMax: Math.max(0, ...lengths),
    };
  }
}
