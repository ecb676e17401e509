/** Task ids: their parts, spellings and suffixes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalSuffix,
  canonicalTaskId,
  encodeTaskId,
  fingerprintOf,
  parseTaskId,
  TASK_ID_LENGTH,
} from '../../src/base/task-id.ts';

const hexOf = (length: number) =>
  fc.string({
    unit: fc.constantFrom(...Array.from({ length: 16 }, (_, i) => i.toString(16))),
    minLength: length,
    maxLength: length,
  });
const partsArb = fc.record({
  createdMs: fc.nat({ max: 2 ** 48 - 1 }),
  random: hexOf(12),
  fingerprints: fc.array(
    hexOf(8).filter((text) => text !== '00000000'),
    { maxLength: 3 },
  ),
});

describe('task ids', () => {
  it('name the time, a random key and the first home', () => {
    const parts = {
      createdMs: 1_795_255_200_000,
      random: '0123456789ab',
      fingerprints: ['0badcafe', 'deadbeef'],
    };
    const id = encodeTaskId(parts);
    expect(id).toMatchInlineSnapshot(`"00T3ZCCD400QBEAZVFAVFQF000000014D2PF2DB"`);
    expect(id).toHaveLength(TASK_ID_LENGTH);
    expect(parseTaskId(id)).toEqual(parts);
  });

  it('come back as they were made', () => {
    fc.assert(
      fc.property(partsArb, (parts) => {
        const id = encodeTaskId(parts);
        expect(parseTaskId(id)).toEqual(parts);
        expect(canonicalTaskId(id)).toBe(id);
        expect(parseTaskId(id.toLowerCase())).toEqual(parts);
        const misread = id.replaceAll('1', 'l').replaceAll('0', 'O');
        expect(canonicalTaskId(misread)).toBe(id);
      }),
    );
  });

  it('sort by the time they were made', () => {
    fc.assert(
      fc.property(partsArb, partsArb, (a, b) => {
        if (a.createdMs === b.createdMs) return;
        expect(encodeTaskId(a) < encodeTaskId(b)).toBe(a.createdMs < b.createdMs);
      }),
    );
  });

  it('are recognised, and nothing else is', () => {
    const id = encodeTaskId({ createdMs: 1, random: '000000000000', fingerprints: [] });
    for (const text of ['', id.slice(1), `${id}0`, `${id.slice(1)}U`, `Z${id.slice(1)}`]) {
      expect(parseTaskId(text)).toBeUndefined();
    }
    fc.assert(fc.property(fc.string(), (text) => void parseTaskId(text)));
  });

  it('may be named by their ends', () => {
    expect(canonicalSuffix('abcdeo')).toBe('ABCDE0');
    expect(canonicalSuffix('abcde')).toBeUndefined();
    expect(canonicalSuffix('abcdeu')).toBeUndefined();
  });

  it('tell stores apart by fingerprints that are never zero', () => {
    const seen = Array.from({ length: 2_000 }, (_, i) => fingerprintOf(String(i)));
    expect(new Set(seen).size).toBe(seen.length);
    for (const fingerprint of seen) expect(fingerprint).toMatch(/^(?!0{8})[0-9a-f]{8}$/);
  });
});
