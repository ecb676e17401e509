/**
 * CRC-32 (ISO-HDLC, that of zip and Ethernet): finds every flipped bit and every damaged run of up to 32 bits. It is
 * no digest: it guards bytes against disks, not against people.
 */
import { utf8 } from './hash.ts';

const TABLES = 8;
const POLYNOMIAL = 0xedb8_8320;

/** Slicing by eight (Kounavis and Berry 2005): eight bytes a step instead of one. */
const tables = Array.from({ length: TABLES }, () => new Uint32Array(256));

function fillTables(): void {
  const [first = new Uint32Array(256), ...others] = tables;
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    first[byte] = value;
  }
  let before = first;
  for (const table of others) {
    for (let byte = 0; byte < 256; byte++) {
      const value = before[byte] ?? 0;
      table[byte] = (value >>> 8) ^ (first[value & 0xff] ?? 0);
    }
    before = table;
  }
}
fillTables();
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];
const at = (table: Uint32Array, index: number): number => table[index & 0xff] as number;

/** Of the bytes; `before` is the sum of the bytes in front of them. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  const whole = bytes.length - (bytes.length % TABLES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let i = 0;
  for (; i < whole; i += TABLES) {
    const low = view.getUint32(i, true) ^ crc;
    const high = view.getUint32(i + 4, true);
    crc =
      at(t7, low) ^
      at(t6, low >>> 8) ^
      at(t5, low >>> 16) ^
      at(t4, low >>> 24) ^
      at(t3, high) ^
      at(t2, high >>> 8) ^
      at(t1, high >>> 16) ^
      at(t0, high >>> 24);
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ at(t0, crc ^ (bytes[i] as number));
  return ~crc >>> 0;
}

/** Of the text in UTF-8, which ASCII alone need not be made into first. */
export function crc32OfText(text: string): number {
  let crc = ~0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return crc32(utf8(text));
    crc = (crc >>> 8) ^ at(t0, crc ^ unit);
  }
  return ~crc >>> 0;
}
