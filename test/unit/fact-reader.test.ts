/** Facts are verified once, and only the very same ones. */
import { expect, it } from 'vitest';
import { type Entry, signFact, toWire } from '../../src/membership/fact.ts';
import { FactReader } from '../../src/membership/fact-reader.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import type { WireValue } from '../../src/wire/codec.ts';

const MESH = 'mesh';
const [member, other] = [createSimIdentity('member'), createSimIdentity('other')];
const entryOf = (name: string): Entry => ({
  kind: 'entry',
  peerId: other.peerId,
  name,
  admittedAtMs: 1,
});

function reader() {
  let verified = 0;
  const verify = (...args: Parameters<typeof member.verify>): boolean => {
    verified += 1;
    return member.verify(...args);
  };
  const facts = new FactReader({ verify });
  return {
    read: (value: WireValue, meshId = MESH) => facts.read(value, meshId),
    verified: () => verified,
  };
}

it('verifies a fact once, however often it comes', () => {
  const { read, verified } = reader();
  const fact = toWire(signFact(member, MESH, entryOf('a')));
  for (let i = 0; i < 3; i++) expect(read(structuredClone(fact))).toMatchObject({ ok: true });
  expect(verified()).toBe(1);
});

it('takes nothing that was changed for what it knows', () => {
  const { read, verified } = reader();
  const [by, payload, signature] = toWire(signFact(member, MESH, entryOf('a'))) as WireValue[];
  const [, others] = toWire(signFact(member, MESH, entryOf('b'))) as WireValue[];
  if (by === undefined || payload === undefined || signature === undefined || others === undefined)
    throw new Error('not a fact');
  expect(read([by, payload, signature])).toMatchObject({ ok: true });
  expect(read([by, others, signature])).toMatchObject({ ok: false });
  expect(read([other.peerId, payload, signature])).toMatchObject({ ok: false });
  expect(read([by, payload, signature], 'another')).toMatchObject({ ok: false });
  expect(read([by, payload, new Uint8Array(64)])).toMatchObject({ ok: false });
  expect(read([by, payload, signature])).toMatchObject({ ok: true });
  // The other mesh is told by the payload, without a look at the signature.
  expect(verified()).toBe(4);
});
