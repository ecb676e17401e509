/** Reading a record that was read before: the bytes decide, not the memory. */
import { describe, expect, it } from 'vitest';
import { encodeRecord, type RecordState } from '../../src/records/record.ts';
import { RecordCache } from '../../src/records/record-cache.ts';

const record = (stamp: number): RecordState => ({
  id: 'a',
  kind: 'task',
  stamp,
  header: new Uint8Array([1]),
  blobDigest: '',
  firstHome: [],
  facts: [],
});
const bytesOf = (state: RecordState): Uint8Array => encodeRecord(state);

describe('what was read before', () => {
  it('is the same object for equal bytes, and another as soon as the disk says something else', () => {
    const cache = new RecordCache();
    const first = cache.read('a', bytesOf(record(1)));
    expect(first).toEqual(record(1));
    expect(cache.read('a', bytesOf(record(1)))).toBe(first);
    expect(cache.read('a', bytesOf(record(2)))).toEqual(record(2));
  });

  it('never stands for bytes that say nothing', () => {
    const cache = new RecordCache();
    cache.put('a', bytesOf(record(1)), record(1));
    expect(cache.read('a', new Uint8Array([0xff]))).toBeUndefined();
  });
});
