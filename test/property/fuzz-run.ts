/**
 *   npm run fuzz -- [--inputs N] [--seed S] [--only NAME] [--json]
 *
 * Tries N inputs (100,000 unless said otherwise) on every decoder of fuzz.ts, in turn. Ends with 1 at the first input
 * that a decoder does not stand, which it prints in hexadecimal, or one that takes too long.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { SeededRandom } from '../../src/base/random.ts';
import { draw, TARGETS, type Target, tryInput } from './fuzz.ts';

/** An input of some kilobytes; with the garbage collector and a busy neighbour. */
const ONE_MS_MAX = 2_000;
const BATCH = 2_000;

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: 'covey' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const inputs = Number(values.inputs);
const targets = TARGETS.filter(({ name }) => values.only === undefined || name === values.only);
const random = new SeededRandom(values.seed);
const counts = new Map(targets.map(({ name }) => [name, { taken: 0, refused: 0, slowestMs: 0 }]));

function fail(target: Target, bytes: Uint8Array, why: string): never {
  process.stderr.write(`${target.name}: ${why}\n${Buffer.from(bytes).toString('hex')}\n`);
  process.exit(1);
}

function tryBatch(target: Target, count: number): void {
  const seen = counts.get(target.name);
  if (seen === undefined) return;
  for (let i = 0; i < count; i += 1) {
    const bytes = draw(target, random);
    const startedMs = performance.now();
    try {
      seen[tryInput(target, bytes)] += 1;
    } catch (thrown) {
      fail(target, bytes, thrown instanceof Error ? (thrown.stack ?? thrown.message) : 'thrown');
    }
    const tookMs = performance.now() - startedMs;
    seen.slowestMs = Math.max(seen.slowestMs, tookMs);
    if (tookMs > ONE_MS_MAX) fail(target, bytes, `it took ${Math.round(tookMs)} ms`);
  }
}

const startedMs = performance.now();
const first = process.memoryUsage.rss();
let rssMax = first;
for (let done = 0, turn = 0; done < inputs; turn += 1) {
  const target = targets[turn % targets.length];
  if (target === undefined) throw new Error(`no decoder has the name ${values.only}`);
  const count = Math.min(BATCH * (target.share ?? 1), inputs - done);
  tryBatch(target, count);
  done += count;
  rssMax = Math.max(rssMax, process.memoryUsage.rss());
}
const report = {
  inputs,
  seconds: Math.round((performance.now() - startedMs) / 1_000),
  rss_growth_mib: Math.round((rssMax - first) / 1_048_576),
  decoders: Object.fromEntries(
    [...counts].map(([name, { taken, refused, slowestMs }]) => [
      name,
      { taken, refused, slowest_ms: Math.round(slowestMs) },
    ]),
  ),
};
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  process.stdout.write(
    `${inputs} inputs in ${report.seconds} s, memory +${report.rss_growth_mib} MiB\n`,
  );
  for (const [name, { taken, refused, slowest_ms: slowest }] of Object.entries(report.decoders))
    process.stdout.write(`${name}: ${taken} taken, ${refused} refused, slowest ${slowest} ms\n`);
}
