/**
 * Readers of fields in bodies that came over the wire: undefined for whatever is not what it should
 * be.
 */
import { utf8 } from '../base/hash.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { TEXT_BYTES_MAX } from './limits.ts';

export const readText = (
  value: WireValue | undefined,
  bytesMax: number = TEXT_BYTES_MAX,
): string | undefined =>
  typeof value === 'string' && (value.length * 3 <= bytesMax || utf8(value).length <= bytesMax)
    ? value
    : undefined;

/** A whole number, zero or more. */
export const readInt = (value: WireValue | undefined): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;

export function readList(
  value: WireValue | undefined,
  lengthMax: number,
): readonly WireValue[] | undefined {
  return Array.isArray(value) && value.length <= lengthMax
    ? (value as readonly WireValue[])
    : undefined;
}

export function readTexts(value: WireValue | undefined, lengthMax: number): string[] | undefined {
  const texts = readList(value, lengthMax)?.map((item) => readText(item));
  if (!texts || texts.includes(undefined)) return undefined;
  return texts.filter((text) => text !== undefined);
}

export function readTextMap(value: WireValue | undefined): Record<string, string> | undefined {
  if (!isWireMap(value)) return undefined;
  const entries: [string, string][] = [];
  for (const [key, item] of Object.entries(value)) {
    const text = readText(item);
    if (text === undefined) return undefined;
    entries.push([key, text]);
  }
  return Object.fromEntries(entries);
}

/**
 * The id of a peer or a store: it becomes part of a key of the peer book, and a store throws at a key that is not printable
 * or too long. Without this one signed fact about a peer with such a name ends every daemon that hears it.
 */
export const readId = (value: WireValue | undefined): string | undefined =>
  typeof value === 'string' && /^[\x21-\x7e]{1,128}$/.test(value) ? value : undefined;
