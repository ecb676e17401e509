/** What every Random must do, whether it draws from the system or from a seed. */
import { expect, test } from 'vitest';
import type { Random } from '../../src/ports/random.ts';

const DRAWS = 4_096;
/** One-bits of so many draws lie within six standard deviations of the half: no fair source ever leaves that. */
const ONES_OFF_MAX = 6 * Math.sqrt(DRAWS / 4);

/** `make` gives another stream each time. */
export function randomCompliance(make: () => Random): void {
  test('numbers are whole, of 32 bits, and every bit of them is even', () => {
    const random = make();
    const values = Array.from({ length: DRAWS }, () => random.uint32());
    for (const value of values) expect(value).toBe(value >>> 0);
    for (let bit = 0; bit < 32; bit++) {
      const ones = values.filter((value) => (value >>> bit) & 1).length;
      expect(Math.abs(ones - DRAWS / 2), `bit ${bit}`).toBeLessThan(ONES_OFF_MAX);
    }
    // A repetition among so few of 2^32 is rare, ten are no chance.
    expect(new Set(values).size).toBeGreaterThan(DRAWS - 10);
  });

  test('bytes are as many as asked for, also none and more than any pool, and every bit is even', () => {
    const random = make();
    for (const length of [0, 1, 16, 4_095, 4_097, 100_000]) {
      expect(random.bytes(length)).toHaveLength(length);
    }
    const bytes = random.bytes(DRAWS);
    for (let bit = 0; bit < 8; bit++) {
      const ones = bytes.filter((byte) => (byte >>> bit) & 1).length;
      expect(Math.abs(ones - DRAWS / 2), `bit ${bit}`).toBeLessThan(ONES_OFF_MAX);
    }
  });

  test('a draw does not depend on the one before it, and the kinds can be mixed', () => {
    const random = make();
    let equalBits = 0;
    let previous = random.uint32();
    for (let i = 0; i < DRAWS; i++) {
      expect(random.bytes(i % 7)).toHaveLength(i % 7);
      const value = random.uint32();
      // Of the highest bits: a counter or a repeated value would agree in almost all.
      equalBits += ((value ^ previous) >>> 31) ^ 1;
      previous = value;
    }
    expect(Math.abs(equalBits - DRAWS / 2)).toBeLessThan(ONES_OFF_MAX);
  });

  test('the bytes belong to the caller: later draws do not change them, nor do changes later draws', () => {
    const random = make();
    const kept = random.bytes(16);
    const copy = [...kept];
    const other = random.bytes(16);
    random.bytes(5_000);
    for (let i = 0; i < 2_000; i++) random.uint32();
    expect([...kept]).toEqual(copy);
    // The memory below may be a pool: what the caller gets is exactly its own.
    expect(kept.buffer.byteLength).toBe(16);
    expect(other.buffer).not.toBe(kept.buffer);
    kept.fill(0);
    expect([...other]).not.toEqual(Array(16).fill(0));
  });

  test('two streams have nothing in common', () => {
    const [one, two] = [make(), make()];
    const first = new Set(Array.from({ length: DRAWS }, () => one.uint32()));
    const shared = Array.from({ length: DRAWS }, () => two.uint32()).filter((value) =>
      first.has(value),
    );
    expect(shared.length).toBeLessThan(10);
    expect([...one.bytes(32)]).not.toEqual([...two.bytes(32)]);
  });
}
