/**
 * Writes plain data as deterministic CBOR (RFC 8949 §4.2.1). By hand, since every frame and every record passes here
 * some times, and a general encoder, with its tokens and sorts, took a sixth of a daemon's time. What is not common
 * (floats, and what is no plain data) is left to cborg, which is also what the tests compare all of it with.
 */
import { encode } from 'cborg';
import type { WireValue } from './codec.ts';

const MAJOR = { uint: 0, negative: 1 << 5, bytes: 2 << 5, text: 3 << 5, list: 4 << 5, map: 5 << 5 };
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;

/**
 * Short values are left where they were written, one behind the other: no copy, and no array with memory of its own for
 * each. A slab lives as long as any value in it.
 */
const SLAB_BYTES = 16 * 1_024;
const SHORT_BYTES_MAX = 1_024;
const HEAD_BYTES_MAX = 9;
const UTF8_BYTES_MAX = 3;
/** Longer texts are worth a call of the platform's encoder. */
const LOOP_CHARS_MAX = 96;
/** Keys of maps come from our own code but for labels and environments, which must not fill the memory. */
const KEYS_MAX = 1_024;
const KEY_CHARS_MAX = 40;
const TWO_32 = 2 ** 32;

const encoder = new TextEncoder();

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;
/** Where it is written: the slab, or something larger for a while. */
let buffer = slab;
let at = 0;

/** Members of maps that are `undefined` are left out. */
export function encodeCbor(value: WireValue): Uint8Array {
  if (used + SHORT_BYTES_MAX > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  buffer = slab;
  at = used;
  write(value);
  const isShort = buffer === slab && at - used <= SHORT_BYTES_MAX;
  if (!isShort) return buffer.slice(used, at);
  const bytes = new Uint8Array(slab.buffer, used, at - used);
  used = at;
  return bytes;
}

function makeRoom(bytes: number): void {
  if (at + bytes <= buffer.length) return;
  const larger = new Uint8Array(Math.max(at + bytes, 4 * buffer.length));
  larger.set(buffer.subarray(0, at));
  buffer = larger;
}

function write(value: WireValue | undefined): void {
  if (typeof value === 'string') writeText(value);
  else if (typeof value === 'number') writeNumber(value);
  else if (value === null) writeByte(NULL);
  else if (typeof value === 'boolean') writeByte(value ? TRUE : FALSE);
  else if (value instanceof Uint8Array) {
    writeHead(MAJOR.bytes, value.length);
    writeBytes(value);
  } else if (isList(value)) {
    writeHead(MAJOR.list, value.length);
    for (const item of value) write(item);
  } else if (typeof value === 'object') writeMap(value);
  else writeBytes(encode(value));
}

const isList = (value: WireValue | undefined): value is readonly WireValue[] =>
  Array.isArray(value);

function writeByte(byte: number): void {
  makeRoom(1);
  buffer[at++] = byte;
}

function writeBytes(bytes: Uint8Array): void {
  makeRoom(bytes.length);
  buffer.set(bytes, at);
  at += bytes.length;
}

function writeNumber(value: number): void {
  if (!Number.isSafeInteger(value)) writeBytes(encode(value));
  else if (value >= 0) writeHead(MAJOR.uint, value);
  else writeHead(MAJOR.negative, -1 - value);
}

function writeHead(major: number, count: number): void {
  makeRoom(HEAD_BYTES_MAX);
  if (count < 24) {
    buffer[at++] = major | count;
  } else if (count < 0x100) {
    buffer[at++] = major | 24;
    buffer[at++] = count;
  } else if (count < 0x10000) {
    buffer[at++] = major | 25;
    buffer[at++] = count >>> 8;
    buffer[at++] = count;
  } else if (count < TWO_32) {
    buffer[at++] = major | 26;
    write32(count);
  } else {
    buffer[at++] = major | 27;
    write32(Math.floor(count / TWO_32));
    write32(count % TWO_32);
  }
}

function write32(word: number): void {
  buffer[at++] = word >>> 24;
  buffer[at++] = word >>> 16;
  buffer[at++] = word >>> 8;
  buffer[at++] = word;
}

function writeText(text: string): void {
  const { length } = text;
  if (length > LOOP_CHARS_MAX) {
    writeUtf8(text);
    return;
  }
  makeRoom(HEAD_BYTES_MAX + length);
  const start = at;
  writeHead(MAJOR.text, length);
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) {
      at = start;
      writeUtf8(text);
      return;
    }
    buffer[at++] = unit;
  }
}

/** The length comes first and is known last: the bytes are written where they stand if the head is one of the longest. */
function writeUtf8(text: string): void {
  makeRoom(HEAD_BYTES_MAX + text.length * UTF8_BYTES_MAX);
  const from = at + HEAD_BYTES_MAX;
  const { written } = encoder.encodeInto(text, buffer.subarray(from));
  writeHead(MAJOR.text, written);
  buffer.copyWithin(at, from, from + written);
  at += written;
}

interface Key {
  readonly text: string;
  /** With its head, so that keys are in the order of these. */
  readonly bytes: Uint8Array;
}

const keys = new Map<string, Key>();

function keyOf(text: string): Key {
  const known = keys.get(text);
  if (known !== undefined) return known;
  const start = at;
  writeText(text);
  const key = { text, bytes: buffer.slice(start, at) };
  at = start;
  if (text.length <= KEY_CHARS_MAX && keys.size < KEYS_MAX) keys.set(text, key);
  return key;
}

/** By their encoding: shorter ones first, since the head says the length. */
function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return a.length < b.length;
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** Maps with more members are sorted by the platform: what is quick for a few is quadratic for many. */
const FEW_MEMBERS_MAX = 32;

function writeMap(map: { readonly [key: string]: WireValue | undefined }): void {
  const members: Key[] = [];
  for (const text of Object.keys(map)) if (map[text] !== undefined) members.push(keyOf(text));
  if (members.length <= FEW_MEMBERS_MAX) sortFew(members);
  else members.sort((a, b) => (isBefore(a.bytes, b.bytes) ? -1 : 1));
  writeHead(MAJOR.map, members.length);
  for (const { text, bytes } of members) {
    makeRoom(bytes.length);
    for (let i = 0; i < bytes.length; i++) buffer[at++] = bytes[i] ?? 0;
    write(map[text]);
  }
}

function sortFew(members: Key[]): void {
  for (let i = 1; i < members.length; i++) {
    const member = members[i];
    if (member === undefined) return;
    let j = i - 1;
    for (; j >= 0; j--) {
      const other = members[j];
      if (other === undefined || isBefore(other.bytes, member.bytes)) break;
      members[j + 1] = other;
    }
    members[j + 1] = member;
  }
}
