/**
 * Bytes between peers: CBOR (RFC 8949) in its deterministic form, so that equal values are equal bytes and one
 * digest. Decoding never throws: hostile bytes are a refusal with a reason.
 */
import { decode, encode } from 'cborg';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';

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

export function encodeValue(value: WireValue): Uint8Array {
  return encode(value, { ignoreUndefinedProperties: true });
}

/** Strict: one value, no trailing bytes, no tags, no undefined, no NaN, string keys without duplicates. */
export function decodeValue(bytes: Uint8Array): Result<WireValue, string> {
  const tooDeep = depthExceeds(bytes, DEPTH_MAX);
  if (tooDeep) return err(`nested deeper than ${DEPTH_MAX}`);
  try {
    const value: unknown = decode(bytes, {
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      allowBigInt: false,
      rejectDuplicateMapKeys: true,
      strict: false,
    });
    return ok(value as WireValue);
  } catch (thrown) {
    return err(messageOf(thrown));
  }
}

/**
 * Walks the heads of the CBOR items without recursion, to refuse deep nesting before the decoder recurses into
 * it. Malformed input is left to the decoder, which names what is wrong.
 */
function depthExceeds(bytes: Uint8Array, depthMax: number): boolean {
  /** Items still to come in each open container. */
  const open: number[] = [];
  let at = 0;
  while (at < bytes.length) {
    const head = bytes[at] ?? 0;
    const major = head >> 5;
    const info = head & 31;
    at += 1;
    let count = info;
    if (info >= 24) {
      const width = 2 ** (info - 24);
      if (info > 27 || at + width > bytes.length) return false;
      count = 0;
      for (let i = 0; i < width; i++) count = count * 256 + (bytes[at + i] ?? 0);
      at += width;
    }
    if (major === 2 || major === 3) at += count;
    if ((major === 4 || major === 5) && count > 0) {
      open.push(major === 5 ? count * 2 : count);
      if (open.length > depthMax) return true;
      continue;
    }
    // A whole item has passed: it may complete the container around it, and that one the next.
    while (open.length > 0) {
      const left = (open.pop() ?? 1) - 1;
      if (left > 0) {
        open.push(left);
        break;
      }
    }
  }
  return false;
}
