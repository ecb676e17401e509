/** The command line of `npm run chaos`, and the draws that follow from its seed. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { drawFault } from '../../src/testnet/chaos-faults.ts';
import { FAULT_KINDS, parseOptions } from '../../src/testnet/chaos-options.ts';

test('a line names minutes, peers, seed and faults, in whatever order the faults come', () => {
  const line = '-- --minutes 0.5 --peers 3 --seed abc --faults wipe,kill --json'.split(' ');
  expect(parseOptions(line)).toEqual({
    ok: true,
    value: {
      ...{ minutes: 0.5, peers: 3, seed: 'abc', faults: ['kill', 'wipe'] },
      ...{ json: true, keep: false },
    },
  });
});

test('without any, ten minutes of all faults on five peers, with a fresh seed', () => {
  const first = parseOptions([]);
  const second = parseOptions([]);
  if (!first.ok || first.value === 'help' || !second.ok || second.value === 'help')
    throw new Error('refused');
  expect(first.value).toMatchObject({ minutes: 10, peers: 5, faults: FAULT_KINDS });
  expect(first.value.seed).not.toBe(second.value.seed);
});

test.each([
  ['--minutes 0', 'positive number'],
  ['--peers 1', 'from 2 to'],
  ['--faults kill,flood', "no fault 'flood'"],
  ['--flood', 'flood'],
])('%s is refused with a reason', (line, reason) => {
  const parsed = parseOptions(line.split(' '));
  expect(parsed.ok ? '' : parsed.error).toContain(reason);
});

test('the same seed draws the same faults; halves are fewer than the rest, all others strike one', () => {
  const draw = (seed: string) => {
    const random = new SeededRandom(seed);
    return FAULT_KINDS.map((kind) => drawFault(random, kind, [1, 2, 3, 4, 5]));
  };
  expect(draw('a')).toEqual(draw('a'));
  expect(draw('a')).not.toEqual(draw('b'));
  for (const { kind, peers, lastsMs } of draw('a')) {
    expect(new Set(peers).size).toBe(kind === 'halves' ? 2 : 1);
    expect(lastsMs).toBeLessThanOrEqual(15_000);
  }
});
