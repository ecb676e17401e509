/**
 * Bytes between peers: CBOR (RFC 8949) in its deterministic form, so that equal values are equal bytes and one
 * digest. Decoding never throws: hostile bytes are a refusal with a reason.
 */
import { err, ok, type Result } from '../base/result.ts';
import { CborReader, Malformed } from './decode.ts';
import { encodeCbor } from './encode.ts';

/** What may stand in a frame: plain data. Maps are objects; undefined members are left out by `encodeValue`. */
export type WireValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly WireValue[]
  | { readonly [key: string]: WireValue | undefined };

/** Nesting that our own messages never reach; deeper input is an attack on the decoder's stack. */
const DEPTH_MAX = 32;

export const encodeValue = (value: WireValue): Uint8Array => encodeCbor(value);

/** Strict: one value, no trailing bytes, no tags, no undefined, no NaN, string keys without duplicates. */
export function decodeValue(bytes: Uint8Array): Result<WireValue, string> {
  try {
    return ok(new CborReader(bytes, DEPTH_MAX).whole());
  } catch (thrown) {
    if (thrown instanceof Malformed) return err(thrown.message);
    throw thrown;
  }
}
