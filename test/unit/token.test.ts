/** Invite tokens: what they hold, and how a broken one is refused. */
import { describe, expect, it } from 'vitest';
import { decodeToken, encodeToken } from '../../src/membership/token.ts';

const token = {
  meshId: 'ab'.repeat(16),
  inviter: '12D3KooWInviter',
  addresses: ['10.0.0.1:26839', '[fd00::1]:26839'],
  secret: Uint8Array.from({ length: 16 }, (_, i) => 17 * i),
  expiresAtMs: 1_800_000_000_000,
};

describe('invite tokens', () => {
  it('are one word that gives back what was put in', () => {
    const text = encodeToken(token);
    expect(text).toMatch(/^covey1-[A-Za-z0-9_-]+$/);
    expect(decodeToken(text)).toEqual({ ok: true, value: token });
    expect(decodeToken(`  ${text}\n`)).toEqual({ ok: true, value: token });
  });

  it('cut or mistyped anywhere are malformed', () => {
    const text = encodeToken(token);
    for (let length = 0; length < text.length; length++) {
      expect(decodeToken(text.slice(0, length)).ok).toBe(false);
    }
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === 'A' ? 'B' : 'A';
      const changed = decodeToken(text.slice(0, at) + other + text.slice(at + 1));
      // The last character may carry bits that are no part of a byte.
      if (at < text.length - 1) expect(changed.ok).toBe(false);
    }
    expect(decodeToken('')).toMatchObject({ ok: false });
    expect(decodeToken('covey1-$$$')).toMatchObject({ ok: false });
  });
});
