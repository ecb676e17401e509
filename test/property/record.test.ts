/** The join of records: commutative, associative, idempotent, whatever the facts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clockOf,
  contentHash,
  covers,
  decodeRecord,
  encodeRecord,
  type Fact,
  factBytes,
  factsBeyond,
  joinRecords,
  type RecordState,
  withFact,
} from '../../src/records/record.ts';
import { encodeValue } from '../../src/wire/codec.ts';
import { newRecord, storeOf } from '../support/task-records.ts';

const STORES = ['a', 'b', 'c'].map(storeOf);
const ID = newRecord([]).id;

/** A world in which a dot has one value: facts are a function of their dot. Subsets of it are copies. */
const factAt = (store: string, seq: number): Fact => ({
  store,
  seq,
  value: { t: 'x', g: Math.floor(seq / 3), n: seq },
});
const factsArb = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...STORES), fc.integer({ min: 1, max: 12 })), {
    selector: ([store, seq]) => `${store}${seq}`,
    maxLength: 12,
  })
  .map((dots) => dots.map(([store, seq]) => factAt(store, seq)));

const creationArb = fc.record({
  stamp: fc.integer({ min: 1, max: 3 }),
  digest: fc.constantFrom('x', 'y'),
  blob: fc.constantFrom(undefined, new Uint8Array([1]), new Uint8Array([2])),
  home: fc.uniqueArray(fc.constantFrom(...STORES)),
  /** Fields of a later version; one copy may have come by a peer that dropped them. */
  later: fc.constantFrom(undefined, undefined, { x: 1 }, { x: 2, y: [null, 'z'] }),
});

const recordArb = (kind: RecordState['kind']): fc.Arbitrary<RecordState> =>
  fc.tuple(creationArb, factsArb).map(([{ stamp, digest, blob, home, later }, facts]) => {
    const id = kind === 'key' ? 'key-1' : ID;
    const created = newRecord(home, { id, stamp, header: { digest }, ...(blob && { blob }) });
    const base = { ...created, kind, ...(later === undefined ? {} : { later }) };
    return facts.reduce(withFact, base);
  });

const anyRecords = (count: number) =>
  fc
    .constantFrom<RecordState['kind']>('task', 'key')
    .chain((kind) => fc.array(recordArb(kind), { minLength: count, maxLength: count }));
const three = anyRecords(3).map((records) => records as [RecordState, RecordState, RecordState]);

describe('joinRecords', () => {
  it('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(three, ([a, b, c]) => {
        expect(joinRecords(a, b)).toEqual(joinRecords(b, a));
        expect(joinRecords(joinRecords(a, b), c)).toEqual(joinRecords(a, joinRecords(b, c)));
        expect(joinRecords(a, a)).toBe(a);
        expect(joinRecords(a, { ...a, facts: [...a.facts] })).toBe(a);
      }),
    );
  });

  it('answers its first argument itself when the second adds nothing', () => {
    fc.assert(
      fc.property(three, ([a, b]) => {
        const joined = joinRecords(a, b);
        expect(joinRecords(joined, a)).toBe(joined);
        expect(joinRecords(joined, b)).toBe(joined);
      }),
    );
  });

  it('ends with the same record whether copies come one by one, in any order, or as a batch', () => {
    const many = anyRecords(5).chain((records) =>
      fc.tuple(fc.constant(records), fc.shuffledSubarray(records, { minLength: records.length })),
    );
    fc.assert(
      fc.property(many, ([records, shuffled]) => {
        const oneByOne = records.reduce(joinRecords);
        const half = Math.ceil(shuffled.length / 2);
        const [left, right] = [shuffled.slice(0, half), shuffled.slice(half)];
        const batched = joinRecords(left.reduce(joinRecords), right.reduce(joinRecords));
        expect(batched).toEqual(oneByOne);
        expect(contentHash(batched)).toBe(contentHash(oneByOne));
      }),
    );
  });

  it('agrees even where a store used a dot twice', () => {
    const value = fc.integer({ min: 0, max: 9 });
    fc.assert(
      fc.property(recordArb('task'), value, value, value, (base, x, y, z) => {
        const holding = (n: number): RecordState => ({
          ...base,
          facts: [{ store: STORES[0] ?? '', seq: 1, value: { t: 'x', n } }],
        });
        const [a, b, c] = [holding(x), holding(y), holding(z)];
        expect(joinRecords(a, b)).toEqual(joinRecords(b, a));
        expect(joinRecords(joinRecords(a, b), c)).toEqual(joinRecords(a, joinRecords(b, c)));
      }),
    );
  });
});

describe('clocks', () => {
  it('cover a copy exactly when it holds no fact beyond them, if copies travel whole', () => {
    fc.assert(
      fc.property(recordArb('task'), fc.integer({ min: 0, max: 12 }), (all, cut) => {
        const early = { ...all, facts: all.facts.filter((fact) => fact.seq <= cut) };
        const missing = factsBeyond(all, clockOf(early));
        expect(covers(clockOf(all), clockOf(early))).toBe(true);
        expect(covers(clockOf(early), clockOf(all))).toBe(missing.length === 0);
        expect(joinRecords(early, { ...early, facts: missing })).toEqual(all);
      }),
    );
  });
});

describe('bytes of records', () => {
  it('come back as the same record', () => {
    fc.assert(
      fc.property(recordArb('task'), (record) => {
        expect(decodeRecord(encodeRecord(record))).toEqual(record);
      }),
    );
  });

  it('are refused, never a throw, when they are anything else', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.jsonValue().map((value) => encodeValue(value)),
    );
    fc.assert(
      fc.property(bytes, (input) => {
        expect(decodeRecord(input)).toBeUndefined();
      }),
    );
  });

  it('tell two records of one content apart by their ids', () => {
    const [a, b] = [newRecord(STORES), newRecord(STORES)];
    expect(contentHash({ ...a })).not.toBe(contentHash({ ...b }));
  });
});

describe('a record as others may send it', () => {
  const record = (kind: 'task' | 'key', home: readonly string[], facts: readonly Fact[]) => {
    const id = kind === 'key' ? 'key-1' : ID;
    const creation = encodeValue({ id, kind, stamp: 1, blob_digest: '' });
    const parts = facts.map(({ store, seq, value }) => encodeValue([store, seq, value]));
    const read = decodeRecord(encodeValue([creation, new Uint8Array([1]), home, ...parts]));
    if (read === undefined) throw new Error('it is no record');
    return read;
  };

  it('has no facts of a key that a join would drop in one order, and keep in the other', () => {
    const [store = ''] = STORES;
    const claim = (g: number): Fact => ({ store, seq: g, value: { t: 'id', id: 'x', g, at: 1 } });
    const [a, b] = [record('key', STORES, [1, 2, 3].map(claim)), record('key', STORES, [claim(3)])];
    expect(contentHash(joinRecords(a, b))).toBe(contentHash(joinRecords(b, a)));
  });

  it('holds no more memory than its bytes: neither the frame they came in, nor a piece of the encoder', () => {
    const held = ({ buffer }: Uint8Array): number => buffer.byteLength;
    const fact = { ...factAt(STORES[0] ?? '', 1), value: { t: 'x', text: 'x'.repeat(200) } };
    const frame = encodeRecord({ ...record('task', STORES, []), facts: [fact] });
    for (const one of [fact, ...(decodeRecord(frame)?.facts ?? [])])
      expect(held(factBytes(one))).toBe(factBytes(one).length);
  });

  it('is joined in no time, however many stores are in its home', () => {
    const home = Array.from({ length: 50_000 }, (_, i) => i.toString(16).padStart(32, '0'));
    const [a, b] = [record('task', home, []), record('task', home, [])];
    const atMs = performance.now();
    expect(joinRecords(a, b)).toBe(a);
    expect(performance.now() - atMs).toBeLessThan(2_000);
  });
});
