/**
 * Reads CBOR of plain data: definite lengths, no tags, nothing beyond what docs/protocol.md names. The bytes are a
 * stranger's: every length is held against what is left before anything is made of it, and depth is counted, so that no
 * input costs more than its own size. The tests hold it against cborg, value for value and refusal for refusal.
 */
import { copyOf } from '../base/copy-of.ts';
import type { WireValue } from './codec.ts';

const TWO_32 = 2 ** 32;
/** Texts no longer than this are looked up: keys, ids and names come again and again. */
const KNOWN_BYTES_MAX = 64;
/** A power of two. Each slot holds the text that came last: nothing grows. */
const KNOWN_SLOTS = 4_096;

/** Why bytes are refused; never seen outside the codec. */
export class Malformed extends Error {}

const decoder = new TextDecoder();
const known: string[] = new Array<string>(KNOWN_SLOTS).fill('');

export class CborReader {
  readonly #bytes: Uint8Array;
  readonly #depthMax: number;
  #at = 0;

  constructor(bytes: Uint8Array, depthMax: number) {
    this.#bytes = bytes;
    this.#depthMax = depthMax;
  }

  /** The one value that the bytes are. Throws `Malformed`. */
  whole(): WireValue {
    const value = this.#value(0);
    if (this.#at < this.#bytes.length) throw new Malformed('more bytes behind the value');
    return value;
  }

  #value(depth: number): WireValue {
    const head = this.#byte();
    const info = head & 31;
    switch (head >> 5) {
      case 0:
        return this.#count(info);
      case 1:
        return this.#negative(info);
      case 2: {
        const start = this.#skip(this.#count(info));
        return copyOf(this.#bytes, start, this.#at);
      }
      case 3:
        return this.#text(info);
      case 4:
        return this.#list(this.#count(info), depth);
      case 5:
        return this.#map(this.#count(info), depth);
      case 6:
        throw new Malformed('tags are not allowed');
      default:
        return this.#simple(info);
    }
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new Malformed('the bytes end within a value');
    this.#at += 1;
    return byte;
  }

  /** A whole number, or the length of what follows. */
  #count(info: number): number {
    if (info < 24) return info;
    if (info === 24) return this.#byte();
    if (info === 25) return this.#byte() * 256 + this.#byte();
    if (info === 26) return this.#word();
    if (info > 27) throw new Malformed(info === 31 ? 'no indefinite lengths' : 'a reserved head');
    const value = this.#word() * TWO_32 + this.#word();
    if (!Number.isSafeInteger(value)) throw new Malformed('an integer beyond 2^53');
    return value;
  }

  #word(): number {
    const high = this.#byte() * 256 + this.#byte();
    return high * 65_536 + this.#byte() * 256 + this.#byte();
  }

  #negative(info: number): number {
    const value = -1 - this.#count(info);
    if (!Number.isSafeInteger(value)) throw new Malformed('an integer beyond 2^53');
    return value;
  }

  /** Passes so many bytes; answers where they begin. */
  #skip(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw new Malformed('the bytes end within a value');
    this.#at = start + length;
    return start;
  }

  #text(info: number): string {
    const length = this.#count(info);
    const start = this.#skip(length);
    if (length > KNOWN_BYTES_MAX) return decoder.decode(this.#bytes.subarray(start, this.#at));
    let hash = length;
    for (let i = start; i < this.#at; i++) {
      const byte = this.#bytes[i] ?? 0;
      if (byte > 0x7f) return decoder.decode(this.#bytes.subarray(start, this.#at));
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    const slot = (hash ^ (hash >>> 15)) & (KNOWN_SLOTS - 1);
    const text = known[slot] ?? '';
    if (this.#isAt(text, start)) return text;
    const fresh = String.fromCharCode(...this.#bytes.subarray(start, this.#at));
    known[slot] = fresh;
    return fresh;
  }

  /** Whether this ASCII text is what was just passed. */
  #isAt(text: string, start: number): boolean {
    if (text.length !== this.#at - start) return false;
    for (let i = 0; i < text.length; i++)
      if (text.charCodeAt(i) !== this.#bytes[start + i]) return false;
    return true;
  }

  /** An empty list or map nests nothing. */
  #enter(items: number, depth: number): number {
    if (items > this.#bytes.length - this.#at) throw new Malformed('the bytes end within a value');
    if (items > 0 && depth >= this.#depthMax)
      throw new Malformed(`nested deeper than ${this.#depthMax}`);
    return depth + 1;
  }

  #list(length: number, depth: number): readonly WireValue[] {
    const inside = this.#enter(length, depth);
    const list: WireValue[] = [];
    for (let i = 0; i < length; i++) list.push(this.#value(inside));
    return list;
  }

  #map(length: number, depth: number): { readonly [key: string]: WireValue } {
    const inside = this.#enter(2 * length, depth);
    const map: { [key: string]: WireValue } = {};
    for (let i = 0; i < length; i++) {
      const head = this.#byte();
      if (head >> 5 !== 3) throw new Malformed('a key that is no text');
      const key = this.#text(head & 31);
      if (Object.hasOwn(map, key)) throw new Malformed(`the key ${JSON.stringify(key)} twice`);
      const value = this.#value(inside);
      if (key === '__proto__') own(map, key, value);
      else map[key] = value;
    }
    return map;
  }

  #simple(info: number): WireValue {
    if (info === 20) return false;
    if (info === 21) return true;
    if (info === 22) return null;
    const value = this.#float(info);
    if (!Number.isFinite(value)) throw new Malformed('NaN and infinity are not allowed');
    return value;
  }

  #float(info: number): number {
    if (info === 25) return half(this.#byte() * 256 + this.#byte());
    if (info !== 26 && info !== 27) throw new Malformed('undefined and unknown simple values');
    const width = info === 26 ? 4 : 8;
    const { buffer, byteOffset } = this.#bytes;
    const view = new DataView(buffer, byteOffset + this.#skip(width), width);
    return width === 4 ? view.getFloat32(0) : view.getFloat64(0);
  }
}

/** A plain assignment would set the prototype. */
const own = (map: object, key: string, value: WireValue): void => {
  Object.defineProperty(map, key, { value, configurable: true, enumerable: true, writable: true });
};

/** IEEE 754 binary16. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1_023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1_024 + fraction) * 2 ** (exponent - 25);
}
