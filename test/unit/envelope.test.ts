/** Envelopes between members, well formed and not. */
import { describe, expect, it } from 'vitest';
import { encodeValue, type WireValue } from '../../src/wire/codec.ts';
import { decodeEnvelope, encodeEnvelope } from '../../src/wire/envelope.ts';
import { commonVersion } from '../../src/wire/versions.ts';

describe('envelopes', () => {
  it('carry requests and their answers', () => {
    const request = { kind: 'request', id: 7, type: 'rec.ask', body: { ids: ['x'] } } as const;
    expect(decodeEnvelope(encodeEnvelope(request))).toEqual({ ok: true, value: request });
    const refusal = { kind: 'refusal', id: 7, code: 'BUSY', body: { message: 'later' } } as const;
    expect(decodeEnvelope(encodeEnvelope(refusal))).toEqual({ ok: true, value: refusal });
  });

  it('may grow at their end, and their bodies may', () => {
    const bytes = encodeValue([0, 0, 'run.tail', { id: 'x', later: 1 }, 'of a later version']);
    expect(decodeEnvelope(bytes)).toMatchObject({
      ok: true,
      value: { kind: 'message', body: { id: 'x', later: 1 } },
    });
  });

  it.each<[string, WireValue]>([
    ['a map', { kind: 0 }],
    ['an empty array', []],
    ['an unknown kind', [4, 1, 't', {}]],
    ['a kind between two', [0.5, 1, 't', {}]],
    ['a kind below all', [-1, 1, 't', {}]],
    ['an id that is no number', [1, 'x', 't', {}]],
    ['a negative id', [1, -1, 't', {}]],
    ['a broken id', [1, 1.5, 't', {}]],
    ['a type that is no text', [1, 1, 2, {}]],
    ['a type too long', [1, 1, 'x'.repeat(65), {}]],
    ['no body', [1, 1, 't']],
    ['a body that is a list', [1, 1, 't', []]],
    ['a body that is bytes', [1, 1, 't', new Uint8Array()]],
  ])('are refused when they are %s', (_, value) => {
    expect(decodeEnvelope(encodeValue(value)).ok).toBe(false);
  });
});

describe('versions', () => {
  it.each([
    [[1, 1], [1, 3], 1],
    [[1, 3], [2, 5], 3],
    [[1, 1], [2, 2], undefined],
    [[3, 4], [1, 2], undefined],
  ] as const)('%j and %j speak %s', ([min, max], [theirMin, theirMax], version) => {
    expect(commonVersion({ min, max }, { min: theirMin, max: theirMax })).toBe(version);
  });
});
