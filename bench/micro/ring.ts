/** Lookups a second on a ring of many members, how even the load is, and how much moves when one more joins. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { digestOf } from '../../src/base/hash.ts';
import { Ring, type RingMember } from '../../src/ring/ring.ts';
import type { Bench } from '../common/bench.ts';
import type { Shape } from '../common/options.ts';
import { npm } from '../common/packages.ts';
import { rateOf } from '../common/rate.ts';
import { rounded } from '../common/statistics.ts';
import { atMost } from '../common/targets.ts';

const COPIES = 3;
const KEYS = 100_000;

const shape = {
  ms: { kind: 'number', default: 1_000, min: 10, max: 60_000 },
  members: { kind: 'number', default: 100, min: 2, max: 2_000 },
} satisfies Shape;

interface HashRing {
  get(key: string): string;
}

const memberOf = (i: number): RingMember => ({
  storeId: digestOf(`store ${i}`),
  peerId: `peer ${i}`,
  host: `host ${i}`,
  weight: 1,
});

const keyOf = (i: number): string => digestOf(`key ${i}`).slice(0, 12);

export function loadOf(firsts: readonly string[], members: number): number {
  const counts = new Map<string, number>();
  for (const first of firsts) counts.set(first, (counts.get(first) ?? 0) + 1);
  return rounded(Math.max(...counts.values()) / (firsts.length / members), 3);
}

export const ring: Bench<typeof shape> = {
  shape,
  needs: () => ({ hashring: (into) => npm(into, ['hashring@3.2.0']) }),
  measure: async ({ ms, members: count }, { found }) => {
    const members = Array.from({ length: count }, (_, i) => memberOf(i));
    const beganMs = performance.now();
    const built = new Ring(members);
    const buildMs = rounded(performance.now() - beganMs, 1);
    const keys = Array.from({ length: KEYS }, (_, i) => keyOf(i));
    const at = (i: number): string => keys[i % KEYS] ?? '';
    const firsts = keys.map((key) => built.preference(key, 1)[0] ?? '');
    const grown = new Ring([...members, memberOf(count)]);
    const moved = keys.filter((key, i) => grown.preference(key, 1)[0] !== firsts[i]).length;
    const figures = {
      lookups_per_s: rateOf(ms, (i) => built.preference(at(i), 1)),
      preferences_of_3_per_s: rateOf(ms, (i) => built.preference(at(i), COPIES)),
      build_ms: buildMs,
      max_over_mean: loadOf(firsts, count),
      moved_pct: rounded((100 * moved) / KEYS, 2),
      ideal_moved_pct: rounded(100 / (count + 1), 2),
      ...(found.hashring === undefined ? {} : yardstick(found.hashring, members, at, ms)),
    };
    const bound = 1.5 * figures.ideal_moved_pct;
    return {
      figures,
      targets: [
        atMost('max over mean load, equal members', figures.max_over_mean, 1.1, 1.1),
        atMost('moved when one joins, %', figures.moved_pct, bound, bound),
      ],
    };
  },
};

/** Its cache would answer what was asked before; ours has none either. */
function yardstick(
  packages: string,
  members: readonly RingMember[],
  at: (i: number) => string,
  ms: number,
): Readonly<Record<string, number>> {
  const HashRing = createRequire(join(packages, 'package.json'))('hashring') as new (
    names: readonly string[],
    algorithm: string,
    options: { readonly 'max cache size': number },
  ) => HashRing;
  const names = members.map(({ storeId }) => storeId);
  const other = new HashRing(names, 'md5', { 'max cache size': 1 });
  return { hashring_lookups_per_s: rateOf(ms, (i) => other.get(at(i))) };
}
