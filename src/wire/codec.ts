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

/**
 * Items of one frame, containers included. Ours have 130,000 at most (a view of 40,000 facts, a record of 4,000); without
 * this 8 MiB of empty lists become a gigabyte of them, and hold the loop for a second.
 */
export const WIRE_ITEMS_MAX = 262_144;
/** Nesting that our own messages never reach; deeper input is an attack on the decoder's stack. */
const DEPTH_MAX = 32;

export function encodeValue(value: WireValue): Uint8Array {
  return encode(value, { ignoreUndefinedProperties: true });
}

/**
 * The same, to be kept: what the encoder gives is a window on a piece of 64 KiB that it shares with others, and holds all
 * of that in memory for as long as it is held itself.
 */
export const encodeToKeep = (value: WireValue): Uint8Array => new Uint8Array(encodeValue(value));

/**
 * Strict: one value, no trailing bytes, no tags, no undefined, no NaN, string keys without duplicates. `budget`: the items
 * that are left for several values of one frame; what this one has is taken from it.
 */
export function decodeValue(
  bytes: Uint8Array,
  budget: { items: number } = { items: WIRE_ITEMS_MAX },
): Result<WireValue, string> {
  const refusal = shapeRefusal(bytes, budget);
  if (refusal !== undefined) return err(refusal);
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
 * Walks the heads of the CBOR items without recursion, to refuse deep nesting before the decoder recurses into it, and
 * more items than memory is for. Malformed input is left to the decoder, which names what is wrong.
 */
function shapeRefusal(bytes: Uint8Array, budget: { items: number }): string | undefined {
  /** Items still to come in each open container. */
  const open: number[] = [];
  let at = 0;
  while (at < bytes.length) {
    const head = bytes[at] ?? 0;
    const major = head >> 5;
    const info = head & 31;
    at += 1;
    budget.items -= 1;
    if (budget.items < 0) return `more than ${WIRE_ITEMS_MAX} items`;
    let count = info;
    if (info >= 24) {
      const width = 2 ** (info - 24);
      if (info > 27 || at + width > bytes.length) return undefined;
      count = 0;
      for (let i = 0; i < width; i++) count = count * 256 + (bytes[at + i] ?? 0);
      at += width;
    }
    if (major === 2 || major === 3) at += count;
    if ((major === 4 || major === 5) && count > 0) {
      open.push(major === 5 ? count * 2 : count);
      if (open.length > DEPTH_MAX) return `nested deeper than ${DEPTH_MAX}`;
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
  return undefined;
}
