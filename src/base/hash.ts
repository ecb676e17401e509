/**
 * The hashes of the mesh. One 64-bit hash serves ring tokens and ring keys alike: the first eight bytes, big
 * endian, of SHA-256 (FIPS 180-4, whose vectors the tests use), so every platform and version agrees. Do not
 * swap in a faster hash for one of the two uses: a key hashed otherwise than the tokens lands on other peers.
 */
import { sha256 } from '@noble/hashes/sha2.js';

const encoder = new TextEncoder();

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** SHA-256 of the bytes, or of the text in UTF-8. */
export const sha256Of = (data: Uint8Array | string): Uint8Array =>
  sha256(typeof data === 'string' ? utf8(data) : data);

/** The first 64 bits of SHA-256. */
export function hash64(data: Uint8Array | string): bigint {
  const digest = sha256Of(data);
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0);
}

/** The first 52 bits of SHA-256 as a number that a double holds exactly: for sorting and buckets. */
export const hash52 = (data: Uint8Array | string): number => Number(hash64(data) >> 12n);

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** The inverse of toHex; undefined when the text is not whole bytes of hexadecimal. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** A content digest for display and comparison: 32 hexadecimal characters (128 bits of SHA-256). */
export const digestOf = (data: Uint8Array | string): string =>
  toHex(sha256Of(data).subarray(0, 16));

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  // Two views of one piece of memory, as of a value that nobody wrote since.
  if (a.buffer === b.buffer && a.byteOffset === b.byteOffset) return true;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
