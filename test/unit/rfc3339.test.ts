/** Times as text, without Date. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRfc3339, toRfc3339 } from '../../src/base/rfc3339.ts';

const YEAR_0 = Date.parse('0000-01-01T00:00:00.000Z');
const YEAR_9999 = Date.parse('9999-12-31T23:59:59.999Z');
const times = fc.integer({ min: YEAR_0, max: YEAR_9999 });

describe('RFC 3339', () => {
  it('is how times are written and read', () => {
    expect(toRfc3339(1_795_255_200_000)).toBe('2026-11-21T10:00:00.000Z');
    expect(parseRfc3339('2026-11-21T10:00:00Z')).toBe(1_795_255_200_000);
    expect(parseRfc3339('2026-11-21t12:30:00.5+02:30')).toBe(1_795_255_200_500);
  });

  it('agrees with Date over all years of four digits', () => {
    fc.assert(
      fc.property(times, (ms) => {
        const text = new Date(ms).toISOString();
        expect(toRfc3339(ms)).toBe(text);
        expect(parseRfc3339(text)).toBe(ms);
      }),
      { numRuns: 2_000 },
    );
  });

  it('reads every millisecond, and cuts what is finer', () => {
    for (let ms = 0; ms < 1_000; ms++) {
      const digits = String(ms).padStart(3, '0');
      expect(parseRfc3339(`1970-01-01T00:00:00.${digits}Z`)).toBe(ms);
      expect(parseRfc3339(`1970-01-01T00:00:00.${digits}9999Z`)).toBe(ms);
    }
  });

  it.each([
    '2026-11-21',
    '2026-11-21T10:00Z',
    '2026-11-21T10:00:00',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:61Z',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00+00:60',
    '2026-01-01T00:00:00.Z',
    ' 2026-01-01T00:00:00Z',
    '12026-01-01T00:00:00Z',
  ])("refuses '%s'", (text) => expect(parseRfc3339(text)).toBeUndefined());
});
