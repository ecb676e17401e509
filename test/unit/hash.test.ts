/** Hashes, by published vectors. */
import { describe, expect, it } from 'vitest';
import { crc32, crc32OfText } from '../../src/base/crc32.ts';
import {
  bytesEqual,
  digestOf,
  fromHex,
  hash52,
  hash64,
  sha256Of,
  toHex,
  utf8,
} from '../../src/base/hash.ts';

describe('hashes', () => {
  it('are SHA-256, by the vectors of FIPS 180-4', () => {
    const hex = (text: string) => toHex(sha256Of(text));
    expect(hex('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(hex('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq')).toBe(
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
    );
  });

  it('are cut from its front', () => {
    expect(hash64('abc')).toBe(0xba7816bf8f01cfean);
    expect(hash52('abc')).toBe(0xba7816bf8f01c);
    expect(digestOf('abc')).toBe('ba7816bf8f01cfea414140de5dae2223');
    expect(hash64(utf8('abc'))).toBe(hash64('abc'));
    // A view into a larger buffer is hashed as itself.
    expect(hash64(utf8('xabcx').subarray(1, 4))).toBe(hash64('abc'));
  });

  it('travel as hexadecimal, and nothing else is taken for it', () => {
    const bytes = Uint8Array.from([0, 1, 15, 16, 255]);
    expect(toHex(bytes)).toBe('00010f10ff');
    expect(fromHex('00010f10ff')).toEqual(bytes);
    for (const text of ['0', '0g', 'FF', '0 ', '0x']) expect(fromHex(text)).toBeUndefined();
  });

  it('and the checksum of a text is that of its bytes', () => {
    for (const text of ['', 'r/0123', 'für', '\u{1f600} at the end'])
      expect(crc32OfText(text)).toBe(crc32(utf8(text)));
    expect(crc32OfText('123456789')).toBe(0xcbf43926);
  });

  it('compare by content', () => {
    expect(bytesEqual(utf8('ab'), utf8('ab'))).toBe(true);
    expect(bytesEqual(utf8('ab'), utf8('ac'))).toBe(false);
    expect(bytesEqual(utf8('ab'), utf8('a'))).toBe(false);
  });
});
