/** Signatures are verified once, and only the very same ones. */
import { expect, it } from 'vitest';
import { utf8 } from '../../src/base/hash.ts';
import { SIGNED_BYTES_MAX } from '../../src/membership/limits.ts';
import { Signatures } from '../../src/membership/signatures.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

const [member, other] = [createSimIdentity('member'), createSimIdentity('other')];

function counted() {
  let verified = 0;
  const signatures = new Signatures({
    verify: (...args) => {
      verified += 1;
      return member.verify(...args);
    },
  });
  return { verify: signatures.verify, verified: () => verified };
}

it('verifies a signature once, however often it comes', () => {
  const { verify, verified } = counted();
  const payload = utf8('a fact');
  const signature = member.sign(payload);
  for (let i = 0; i < 3; i++)
    expect(verify(member.peerId, payload.slice(), signature.slice())).toBe(true);
  expect(verified()).toBe(1);
});

it('remembers no large facts: a member or a stranger may send thousands of them', () => {
  const { verify, verified } = counted();
  const payload = new Uint8Array(SIGNED_BYTES_MAX + 1);
  const signature = member.sign(payload);
  for (let i = 0; i < 2; i++) expect(verify(member.peerId, payload, signature)).toBe(true);
  expect(verified()).toBe(2);
});

it('takes nothing that was changed for what it knows', () => {
  const { verify, verified } = counted();
  const [payload, others] = [utf8('a fact'), utf8('b fact')];
  const signature = member.sign(payload);
  expect(verify(member.peerId, payload, signature)).toBe(true);
  expect(verify(member.peerId, others, signature)).toBe(false);
  expect(verify(other.peerId, payload, signature)).toBe(false);
  expect(verify(member.peerId, payload, new Uint8Array(64))).toBe(false);
  expect(verify(member.peerId, payload, signature)).toBe(true);
  expect(verified()).toBe(4);
});
