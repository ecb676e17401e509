/** Durations and sizes as text with a unit. */
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration, parseSize } from '../../src/base/units.ts';

describe('durations and sizes', () => {
  it('are numbers with a unit', () => {
    expect(parseDuration('10s')).toEqual({ ok: true, value: 10_000 });
    expect(parseDuration('1.5h')).toEqual({ ok: true, value: 5_400_000 });
    expect(parseDuration(' 250ms ')).toEqual({ ok: true, value: 250 });
    expect(parseSize('64KiB')).toEqual({ ok: true, value: 65_536 });
    expect(parseSize('0.5MiB')).toEqual({ ok: true, value: 524_288 });
  });

  it.each(['', '10', 's', '-1s', '1e3s', '10 s', '10S', '.5s', '1,5s', '10sm', '10constructor'])(
    "refuse '%s' and say what is wanted",
    (text) => {
      expect(parseDuration(text)).toEqual({
        ok: false,
        error: `'${text}' is not a duration; write a number and one of ms, s, m, h, d`,
      });
    },
  );

  it('refuse what no number holds exactly', () => {
    expect(parseDuration('999999999999d')).toMatchObject({
      error: expect.stringContaining('too large'),
    });
    expect(parseSize('9007199254740992B')).toMatchObject({
      error: expect.stringContaining('too large'),
    });
  });

  it.each([
    [0, '0ms'],
    [999, '999ms'],
    [1_000, '1.0s'],
    [42_900, '42s'],
    [192_000, '3m12s'],
    [7_500_000, '2h05m'],
    [273_600_000, '3d4h'],
  ])('show %d ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text));
});
