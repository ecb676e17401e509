/** Laws of the line reader: any bytes are answered, cut points are nothing, JSON comes through unchanged. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JSON_DEPTH_MAX } from '../../src/api/limits.ts';
import { deeperThan, readLine } from '../../src/control/jsonrpc.ts';
import { LineSplitter } from '../../src/control/lines.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

const keeps = (value: unknown): boolean => {
  if (typeof value === 'number') return !Number.isInteger(value) || Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, member]) => key !== '__proto__' && keeps(member));
};
/** JSON that we accept: no `__proto__`, no whole number that a double changes. */
const keepable = fc
  .jsonValue({ maxDepth: 8 })
  .map((value): unknown => JSON.parse(JSON.stringify(value)))
  .filter(keeps);

test('parameters come through as they were sent', () => {
  fc.assert(
    fc.property(keepable, fc.oneof(fc.string(), fc.integer(), fc.constant(null)), (value, id) => {
      const sent = { jsonrpc: '2.0', id, method: 'm', params: { value } };
      const read = readLine(bytesOf(sent));
      expect(read).toEqual({
        kind: 'single',
        message: { kind: 'request', id, method: 'm', params: { value } },
      });
    }),
  );
});

test('any bytes are a message or a named error, never a throw', () => {
  const fragment = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    ',',
    ':',
    '1e999',
    'null',
    '\u0000',
  );
  const noise = fc.array(fc.oneof(fragment, fc.string()), { maxLength: 40 });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        noise.map((parts) => encoder.encode(parts.join(''))),
      ),
      (bytes) => {
        expect(['blank', 'single', 'batch', 'refused']).toContain(readLine(bytes).kind);
      },
    ),
  );
});

test('an integer is refused exactly when a double cannot hold it and its neighbours', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (integer) => {
      const text = `{"jsonrpc":"2.0","id":1,"method":"m","params":{"n":[${integer}]}}`;
      const read = readLine(encoder.encode(text));
      const safe = integer >= -(2n ** 53n - 1n) && integer <= 2n ** 53n - 1n;
      const kind = read.kind === 'single' ? read.message.kind : read.kind;
      expect(kind).toBe(safe ? 'request' : 'invalid');
    }),
  );
});

test('depth is measured as a parser would, whatever stands in strings', () => {
  const depthOf = (value: unknown): number =>
    typeof value === 'object' && value !== null
      ? 1 + Math.max(0, ...Object.values(value).map(depthOf))
      : 0;
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(8), (value, depthMax) => {
      expect(deeperThan(JSON.stringify(value), depthMax)).toBe(depthOf(value) > depthMax);
    }),
  );
  const brackets = JSON.stringify(`${'['.repeat(1_000)}\\"`);
  expect(deeperThan(brackets, JSON_DEPTH_MAX)).toBe(false);
});

test('lines are the same wherever the bytes are cut', () => {
  const lineText = fc.string({ maxLength: 30 }).map((text) => text.replaceAll('\n', ' '));
  const cuts = fc.array(fc.nat(400), { maxLength: 20 });
  const limit = 20;
  const read = (bytes: Uint8Array, ends: readonly number[]): string[] => {
    const heard: string[] = [];
    const splitter = new LineSplitter(limit, {
      line: (line) => heard.push(decoder.decode(line)),
      tooLong: () => heard.push('TOO LONG'),
    });
    let from = 0;
    for (const end of [...ends].sort((a, b) => a - b)) {
      splitter.push(bytes.subarray(from, Math.max(from, end)));
      from = Math.max(from, Math.min(end, bytes.length));
    }
    splitter.push(bytes.subarray(from));
    return heard;
  };
  fc.assert(
    fc.property(fc.array(lineText, { maxLength: 10 }), cuts, (lines, ends) => {
      const bytes = encoder.encode(lines.map((line) => `${line}\n`).join(''));
      const expected = lines.map((line) =>
        encoder.encode(line).length > limit ? 'TOO LONG' : decoder.decode(encoder.encode(line)),
      );
      expect(read(bytes, ends)).toEqual(expected);
    }),
  );
});
