/** Why a member entered a status: the sentence, who is named, and how a verdict carries it to those who were not there. */
import { describe, expect, it } from 'vitest';
import { type Cause, causeOfStatus, sentenceOf } from '../../src/membership/cause.ts';
import {
  decodeFact,
  factBytes,
  signFact,
  toWire,
  type Verdict,
} from '../../src/membership/fact.ts';
import { FLAP_WINDOW_MS, FLAPS_MIN, Returns } from '../../src/membership/flapping.ts';
import type { MemberFacts } from '../../src/membership/member.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { decodeValue, encodeValue, type WireValue } from '../../src/wire/codec.ts';

const NAMES: Readonly<Record<string, string>> = { c: 'C', d: 'D', e: 'E' };
const tell = (cause: Cause): string => sentenceOf(cause, (peerId) => NAMES[peerId] ?? peerId);

describe('the sentence of a cause', () => {
  it('says what happened and who saw it', () => {
    expect(tell({ kind: 'crash', seenBy: ['c', 'd'], via: 'news' })).toBe(
      'connection ended without goodbye, redial refused: seen by C and D',
    );
    expect(tell({ kind: 'silence', seenBy: ['c', 'd', 'e'], via: 'own', silenceMs: 7_250 })).toBe(
      'not heard for 7.3 s by C, D and E',
    );
  });

  it('has words for every kind, with and without somebody to name', () => {
    const kinds = [
      ...(['crash', 'silence', 'phi', 'admitted', 'heard', 'greeted', 'refuted', 'left'] as const),
      ...(['removed', 'revoked', 'restarted', 'other_store', 'flapping'] as const),
    ];
    for (const kind of kinds) {
      for (const seenBy of [[], ['c']]) {
        const text = tell({ kind, seenBy, via: 'own' });
        expect(text).toMatch(/^[a-z].*\w$/);
        expect(text).not.toContain('undefined');
      }
    }
  });
});

describe('a verdict', () => {
  const identity = createSimIdentity('author');
  const verify = identity.verify.bind(identity);
  const statement: Verdict = {
    ...{ kind: 'verdict', peerId: 'p', epoch: 1, incarnation: 2, evidence: 'silence' },
    ...{ seenBy: ['c', 'd'], silenceMs: 7_200 },
  };

  it('names those who saw it, and they are told of with its author first', () => {
    const fact = signFact(identity, 'mesh', statement);
    const read = decodeFact(factBytes(fact), 'mesh', verify);
    expect(read).toEqual({ ok: true, value: fact });
    const facts = { verdict: fact, removal: undefined } as unknown as MemberFacts;
    expect(causeOfStatus('p', 'dead', facts, 'news')).toEqual({
      kind: 'silence',
      seenBy: [identity.peerId, 'c', 'd'],
      via: 'news',
      silenceMs: 7_200,
    });
  });

  it('is outgrown by a refutation, or by a greeting; both name the member itself', () => {
    const facts = { verdict: undefined, removal: undefined } as unknown as MemberFacts;
    const of = (via: 'news' | 'greeting') => causeOfStatus('p', 'alive', facts, via);
    expect(of('news')).toEqual({ kind: 'refuted', seenBy: ['p'], via: 'news' });
    expect(of('greeting')).toEqual({ kind: 'greeted', seenBy: ['p'], via: 'greeting' });
  });

  it('counts whatever a later version puts where the names are: older peers take it too', () => {
    const [, payload] = toWire(signFact(identity, 'mesh', statement)) as readonly WireValue[];
    const map = decodeValue(payload as Uint8Array);
    if (!map.ok) throw new Error(map.error);
    for (const strange of [7, 'c', [1], Array.from({ length: 65 }, () => 'x')]) {
      const other = encodeValue({ ...(map.value as object), seen_by: strange, silence_ms: 'long' });
      const bytes = encodeValue([identity.peerId, other, identity.sign(other)]);
      const read = decodeFact(bytes, 'mesh', verify);
      const { seenBy: _, silenceMs: __, ...plain } = statement;
      expect(read).toMatchObject({ ok: true, value: { statement: plain } });
      expect(read.ok && read.value.statement).not.toHaveProperty('seenBy');
    }
  });
});

describe('flapping', () => {
  it('begins with the fourth return within ten minutes, and is told once', () => {
    const returns = new Returns();
    const told = Array.from({ length: FLAPS_MIN + 2 }, (_, i) => returns.note(i * 1_000));
    expect(told).toEqual([undefined, undefined, undefined, 4, undefined, undefined]);
    const later = 2 * FLAP_WINDOW_MS;
    expect(returns.count(later)).toBe(0);
    expect(returns.note(later)).toBeUndefined();
  });
});
