/** The codec under any value and any bytes. */
import { decode, encode } from 'cborg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeValue, encodeValue, type WireValue } from '../../src/wire/codec.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../src/wire/envelope.ts';

const { value } = fc.letrec<{ value: WireValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 5 }),
  ),
}));
const body = fc.dictionary(fc.string(), value, { maxKeys: 4 });
const id = fc.nat();
const type = fc.string({ maxLength: 20 });
const envelopes: fc.Arbitrary<Envelope> = fc.oneof(
  fc.record({ kind: fc.constant('message' as const), type, body }),
  fc.record({ kind: fc.constant('request' as const), id, type, body }),
  fc.record({ kind: fc.constant('reply' as const), id, body }),
  fc.record({ kind: fc.constant('refusal' as const), id, code: type, body }),
);

/** An own `__proto__` and no prototype are one value to us; -0 is 0 on the wire. */
const plain = (item: unknown): unknown =>
  JSON.stringify(item, (_, inner: unknown) =>
    inner instanceof Uint8Array ? `bytes ${[...inner].join()}` : inner,
  );

describe('the codec', () => {
  it('brings every value back, and equal values as equal bytes', () => {
    fc.assert(
      fc.property(value, (input) => {
        const bytes = encodeValue(input);
        const decoded = decodeValue(bytes);
        if (!decoded.ok) throw new Error(decoded.error);
        expect(plain(decoded.value)).toBe(sorted(input));
        expect(Buffer.from(encodeValue(decoded.value))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('refuses arbitrary bytes with a reason and never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        for (const decoded of [decodeValue(bytes), decodeEnvelope(bytes)]) {
          if (!decoded.ok) expect(decoded.error).not.toBe('');
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('refuses every value that was cut short or has more behind it', () => {
    fc.assert(
      fc.property(value, fc.nat(), (input, cut) => {
        const bytes = encodeValue(input);
        expect(decodeValue(bytes.subarray(0, cut % bytes.length)).ok).toBe(false);
        expect(decodeValue(Uint8Array.from([...bytes, 0])).ok).toBe(false);
      }),
    );
  });
});

describe('the codec and cborg, an implementation by others', () => {
  it('write the same bytes', () => {
    fc.assert(
      fc.property(value, (input) => {
        const theirs = encode(input, { ignoreUndefinedProperties: true });
        expect(Buffer.from(encodeValue(input))).toEqual(Buffer.from(theirs));
      }),
      { numRuns: 1_000 },
    );
    const keys = [
      '',
      'b',
      'a',
      'aa',
      'é',
      'x'.repeat(23),
      'x'.repeat(24),
      '\ud800',
      'y'.repeat(300),
    ];
    const many = Array.from({ length: 300 }, (_, i) => `${'k'.repeat(i % 3)}${i}`);
    for (const texts of [keys, many]) {
      const map = Object.fromEntries(texts.map((text, i) => [text, [text, i * 2 ** (i % 50)]]));
      expect(Buffer.from(encodeValue(map))).toEqual(Buffer.from(encode(map)));
    }
  });

  it('take and refuse the same bytes, and read the same values', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 2 });
    fc.assert(
      fc.property(value, edits, fc.boolean(), (input, changes, whole) => {
        const bytes = encodeValue(whole ? [input, 'text', { key: -1 }] : input);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        expect(shown(decodeValue(bytes))).toEqual(shown(theirs(bytes)));
      }),
      { numRuns: 5_000 },
    );
    for (let head = 0; head < 256; head++) {
      for (const rest of [[], [0], [255], [0x80, 0], Array(4).fill(0x7f), Array(8).fill(255)]) {
        const bytes = Uint8Array.of(head, ...rest);
        expect(shown(decodeValue(bytes))).toEqual(shown(theirs(bytes)));
      }
    }
  });
});

/** What cborg reads: our rules are its options. */
function theirs(bytes: Uint8Array): ReturnType<typeof decodeValue> {
  try {
    const read: unknown = decode(bytes, {
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      allowBigInt: false,
      rejectDuplicateMapKeys: true,
      strict: false,
    });
    return { ok: true, value: read as WireValue };
  } catch {
    return { ok: false, error: '' };
  }
}

/** Reasons are for people, and ours alone. */
const shown = (decoded: ReturnType<typeof decodeValue>): unknown =>
  decoded.ok ? [plain(decoded.value)] : 'refused';

describe('envelopes', () => {
  it('come back as they were sent', () => {
    fc.assert(
      fc.property(envelopes, (envelope) => {
        const decoded = decodeEnvelope(encodeEnvelope(envelope));
        if (!decoded.ok) throw new Error(decoded.error);
        expect(sorted(decoded.value)).toBe(sorted(envelope));
      }),
    );
  });
});

/** The same with the keys of every map in the order of the deterministic form. */
function sorted(input: unknown): unknown {
  const copy = (item: unknown): unknown => {
    if (Array.isArray(item)) return item.map(copy);
    if (typeof item !== 'object' || item === null || item instanceof Uint8Array) return item;
    const keyed = Object.entries(item).map(([key, inner]) => [key, copy(inner)] as const);
    const bytesOf = (key: string) => Buffer.from(encodeValue(key));
    return Object.fromEntries(keyed.sort(([a], [b]) => Buffer.compare(bytesOf(a), bytesOf(b))));
  };
  return plain(copy(input));
}
