/** What counts as a version of a record, from the outside. */
import { describe, expect, it } from 'vitest';
import type { Fact, RecordState } from '../../src/records/record.ts';
import { versionsOf } from '../../src/sim/versions.ts';

const fact = (dot: string): Fact => {
  const [store = '', seq] = dot.split('/');
  return { store, seq: Number(seq), value: { t: 'x' } };
};

/** A copy with the facts of these dots. */
const copy = (...dots: string[]): RecordState => ({
  id: 'id',
  kind: 'task',
  stamp: 1,
  header: new Uint8Array(),
  blobDigest: '',
  firstHome: ['a', 'b', 'c'],
  facts: dots.map(fact),
});

describe('versions that a reader of all stores sees', () => {
  it.each([
    ['one creation', [copy(), copy(), copy()], 1],
    ['a change that is on its way', [copy('a/1'), copy(), copy()], 1],
    ['a change that all have', [copy('a/1'), copy('a/1')], 1],
    ['two changes in order', [copy('a/1', 'a/2'), copy('a/1'), copy('a/1', 'b/1', 'a/2')], 1],
    ['two changes without knowledge of one another', [copy('a/1'), copy('b/1'), copy()], 2],
    ['the same, where one store has both', [copy('a/1'), copy('b/1'), copy('a/1', 'b/1')], 1],
    ['three', [copy('a/1'), copy('b/1'), copy('c/4')], 3],
    ['nothing', [], 0],
  ])('%s', (_, copies, versions) => {
    expect(versionsOf(copies)).toBe(versions);
    expect(versionsOf([...copies].reverse())).toBe(versions);
  });
});
