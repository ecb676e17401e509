/** Random: the compliance suite on both twins, then what is special to each. */
import { describe, expect, test } from 'vitest';
import { HostRandom } from '../../src/host/random.ts';
import { SimRandom } from '../../src/sim/random.ts';
import { randomCompliance } from './random.ts';

describe('HostRandom', () => {
  randomCompliance(() => new HostRandom());
});

describe('SimRandom', () => {
  let made = 0;
  randomCompliance(() => {
    made += 1;
    return new SimRandom(`compliance/p${made}`);
  });

  test('repeats with its seed, whatever others draw meanwhile', () => {
    const a = new SimRandom('seed/p1');
    const other = new SimRandom('seed/p2');
    const b = new SimRandom('seed/p1');
    const draw = (random: SimRandom) => [random.uint32(), ...random.bytes(8), random.uint32()];
    const first = draw(a);
    expect(draw(other)).not.toEqual(first);
    expect(draw(b)).toEqual(first);
  });

  test('tells the trace of every draw, with its value', () => {
    const trace: unknown[][] = [];
    const random = new SimRandom('seed/p1', (...event) => trace.push(event));
    const drawn = [random.uint32(), random.bytes(8)];
    expect(trace).toEqual([
      ['random.uint32', drawn[0]],
      ['random.bytes', drawn[1]],
    ]);
  });
});
