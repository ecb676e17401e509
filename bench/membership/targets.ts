/** What issue and design ask of the figures, and whether they are met. */
import { type Target, atMost as target } from '../common/targets.ts';
import type { Figures } from './measure.ts';

export type Results = Readonly<Record<string, Readonly<Record<string, Figures>>>>;

const KILLED: Readonly<Record<number, readonly [number, number]>> = {
  5: [500, 100],
  15: [700, 150],
  30: [1_000, 250],
};
/** Of one figure at the largest N that has it. */
const AT_FULL_SIZE: readonly (readonly [figure: string, must: number, aim: number])[] = [
  ['silent_dead_ms', 8_000, 8_000],
  ['cut_dead_ms', 8_000, 8_000],
  ['leave_all_ms', 500, 200],
  ['join_one_ms', 500, 200],
  ['join_all_ms', 6_000, 3_000],
  ['idle_cpu_pct', 0.6, 0.3],
];
const NEVER = ['false_dead', 'false_dead_paused', 'false_dead_joining'];
const BARE_PLUS_MIB = [35, 20] as const;
const GROWTH_MAX = 1.2;
const TIMES_SERF = 2;
const FULL_SIZE = 30;

/** Of Covey's figures; `null` stands for what was not seen in time as well. */
export function targetsOf(results: Results, sizes: readonly number[]): Target[] {
  const at = (system: string, n: number): Figures => results[system]?.[n] ?? {};
  const largest = Math.max(...sizes);
  const targets: Target[] = [];
  for (const n of sizes) {
    const [must, aim] = KILLED[n] ?? [1_000, 250];
    targets.push(target(`all_dead_ms, N = ${n}`, at('covey', n).all_dead_ms, must, aim));
  }
  for (const [figure, must, aim] of AT_FULL_SIZE) {
    targets.push(target(`${figure}, N = ${largest}`, at('covey', largest)[figure], must, aim));
  }
  for (const n of sizes) {
    for (const figure of NEVER) {
      targets.push(target(`${figure}, N = ${n}`, at('covey', n)[figure], 0, 0));
    }
  }
  const { rss_mib: rss, bare_rss_mib: bare, bytes_per_s: bytes } = at('covey', largest);
  const over = typeof rss === 'number' && typeof bare === 'number' ? rss - bare : null;
  targets.push(target(`rss_mib over a bare node, N = ${largest}`, over, ...BARE_PLUS_MIB));
  const serfBytes = at('serf', largest).bytes_per_s;
  const half = at('covey', FULL_SIZE / 2).bytes_per_s;
  if (largest === FULL_SIZE && typeof half === 'number') {
    const grown = typeof bytes === 'number' ? bytes / half : null;
    targets.push(target('bytes_per_s, N = 30 over N = 15', grown, GROWTH_MAX, GROWTH_MAX));
  }
  if (typeof serfBytes === 'number' && typeof bytes === 'number') {
    const what = `bytes_per_s over Serf's, N = ${largest} (an aim alone)`;
    targets.push(target(what, bytes / serfBytes, Number.MAX_SAFE_INTEGER, TIMES_SERF));
  }
  return targets;
}
