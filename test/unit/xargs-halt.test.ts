/** `--halt` as GNU parallel means it. */
import { describe, expect, test } from 'vitest';
import { exitOfHalt, type Halt, isReached, parseHalt } from '../../src/cli/xargs/halt.ts';

const halt = (text: string): Halt => {
  const parsed = parseHalt(text);
  if (typeof parsed !== 'object') throw new Error(`${text}: ${parsed}`);
  return parsed;
};
const counts = (completed: number, failed: number, total?: number) => ({
  completed,
  failed,
  total,
});
const NONE = { exit: 0, signal: 0 };

describe('--halt', () => {
  test('is read with its short forms', () => {
    expect(parseHalt('now,fail=1')).toEqual({ when: 'now', why: 'fail', count: 1 });
    expect(parseHalt('soon,done=10%')).toEqual({ when: 'soon', why: 'done', percent: 10 });
    expect(['never', '0'].map(parseHalt)).toEqual([undefined, undefined]);
    expect(parseHalt('1')).toEqual(parseHalt('soon,fail=1'));
    expect(parseHalt('2')).toEqual(parseHalt('now,fail=1'));
    expect(parseHalt('-1')).toEqual(parseHalt('soon,success=1'));
    expect(parseHalt('-2')).toEqual(parseHalt('now,success=1'));
    expect(parseHalt('30%')).toEqual(parseHalt('soon,fail=30%'));
  });

  test.each([
    '',
    'later',
    'now',
    'now,fail',
    'now,fail=',
    'now,fail=0',
    'soon,done=0%',
    'soon,done=101%',
    'now,faul=1',
    'now,fail=1,',
    '3',
    '-3',
    'now,fail=1.5',
  ])('refuses %j with an example', (text) => {
    expect(parseHalt(text)).toMatch(/^--halt .*: write never, or .*soon,fail=3/);
  });

  test('counts what it names', () => {
    expect(isReached(halt('now,fail=2'), counts(9, 1))).toBe(false);
    expect(isReached(halt('now,fail=2'), counts(0, 2))).toBe(true);
    expect(isReached(halt('now,success=2'), counts(1, 9))).toBe(false);
    expect(isReached(halt('now,success=2'), counts(2, 0))).toBe(true);
    expect(isReached(halt('soon,done=3'), counts(1, 1))).toBe(false);
    expect(isReached(halt('soon,done=3'), counts(2, 1))).toBe(true);
  });

  test('knows no percentage before it knows how many there are', () => {
    const some = halt('soon,fail=10%');
    expect(isReached(some, counts(0, 50))).toBe(false);
    expect(isReached(some, counts(5, 9, 100))).toBe(false);
    expect(isReached(some, counts(5, 10, 100))).toBe(true);
    expect(isReached(some, counts(5, 0, 5))).toBe(false);
  });

  test('decides the exit code', () => {
    expect(exitOfHalt(halt('now,success=3'), counts(3, 7), NONE)).toBe(0);
    expect(exitOfHalt(halt('now,fail=1'), counts(3, 1), { exit: 42, signal: 0 })).toBe(42);
    expect(exitOfHalt(halt('now,fail=1'), counts(3, 1), { exit: 0, signal: 9 })).toBe(137);
    expect(exitOfHalt(halt('now,fail=1'), counts(3, 1), { exit: -1, signal: 0 })).toBe(1);
    expect(exitOfHalt(halt('now,done=1'), counts(1, 0), NONE)).toBe(0);
    expect(exitOfHalt(halt('soon,fail=3'), counts(9, 3), NONE)).toBe(3);
    expect(exitOfHalt(halt('soon,fail=300'), counts(9, 300), NONE)).toBe(101);
    expect(exitOfHalt(halt('soon,fail=30%'), counts(2, 1, 3), NONE)).toBe(34);
  });
});
