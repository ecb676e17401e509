/** What a bench is to the program that runs them: options, packages, and a measurement that gives one object. */

import type { Owned } from './launch.ts';
import type { Shape, Values } from './options.ts';
import type { Fetched } from './packages.ts';
import type { Target } from './targets.ts';

export interface Setting {
  readonly owned: Owned;
  /** Of this run alone, and removed after it. */
  readonly dir: string;
  /** What was fetched, by name; why not, of what is missing. */
  readonly found: Readonly<Record<string, string>>;
  readonly absent: Readonly<Record<string, string>>;
  /** The loopback device and all pids are ours. */
  readonly isolated: boolean;
  /** A line of progress, for a person. */
  readonly say: (text: string) => void;
}

export interface Outcome {
  readonly figures: Readonly<Record<string, unknown>>;
  readonly targets: readonly Target[];
}

/** By name, what to fetch into a directory; the same names stand in `found` and `absent`. */
export type Needs = Readonly<Record<string, (into: string) => Promise<Fetched>>>;

export interface Bench<S extends Shape = Shape> {
  readonly shape: S;
  needs(values: Values<S>): Needs;
  measure(values: Values<S>, setting: Setting): Promise<Outcome>;
}
