/**
 * Task ids: 48 bits of milliseconds, the 32-bit fingerprints of the first three home stores (zero where there were
 * fewer) and 48 random bits, 192 bits in Crockford base32: 39 characters, upper case, sorted by age. The random
 * bits come last because a person names a task by the end of its id: the fingerprints are the same for every task
 * of a small mesh. The time is a label for sorting and for `ID_EXPIRED`; no decision about timing uses it.
 */
import { hash64 } from './hash.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ID_BITS = 192n;
export const TASK_ID_LENGTH = 39;
/** The shortest suffix by which the CLI lets a person name a task. */
export const ID_SUFFIX_LENGTH_MIN = 6;
/** An id that no home store knows is refused after this time: it may be of a task long forgotten. */
export const ID_TTL_MS = 3_600_000;

export interface TaskIdParts {
  readonly createdMs: number;
  /** 48 random bits as 12 hexadecimal characters: the ring key of the task. */
  readonly random: string;
  /** Fingerprints of the first home, most preferred first, 8 hexadecimal characters each. */
  readonly fingerprints: readonly string[];
}

export function encodeTaskId(parts: TaskIdParts): string {
  let bits = BigInt(parts.createdMs);
  for (let i = 0; i < 3; i++) bits = (bits << 32n) | BigInt(`0x${parts.fingerprints[i] ?? '0'}`);
  bits = (bits << 48n) | BigInt(`0x${parts.random}`);
  let text = '';
  for (let i = 0; i < TASK_ID_LENGTH; i++) {
    text = ALPHABET.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return text;
}

/** Undefined when the text is not a task id. Lower case and the look-alikes I, L, O are read as Crockford says. */
export function parseTaskId(text: string): TaskIdParts | undefined {
  const canonical = canonicalTaskId(text);
  if (canonical === undefined) return undefined;
  let bits = 0n;
  for (const char of canonical) bits = (bits << 5n) | BigInt(ALPHABET.indexOf(char));
  if (bits >> ID_BITS !== 0n) return undefined;
  const hex = bits.toString(16).padStart(48, '0');
  const fingerprints = [hex.slice(12, 20), hex.slice(20, 28), hex.slice(28, 36)];
  return {
    createdMs: Number.parseInt(hex.slice(0, 12), 16),
    random: hex.slice(36, 48),
    fingerprints: fingerprints.filter((fingerprint) => fingerprint !== '00000000'),
  };
}

/** The one spelling under which an id is stored and compared; undefined when it is not an id. */
export function canonicalTaskId(text: string): string | undefined {
  const upper = text.toUpperCase().replace(/[IL]/g, '1').replace(/O/g, '0');
  if (upper.length !== TASK_ID_LENGTH) return undefined;
  for (const char of upper) if (!ALPHABET.includes(char)) return undefined;
  return upper;
}

/** What a person may type for the end of an id; undefined when too short or not of the alphabet. */
export function canonicalSuffix(text: string): string | undefined {
  const upper = text.toUpperCase().replace(/[IL]/g, '1').replace(/O/g, '0');
  if (upper.length < ID_SUFFIX_LENGTH_MIN || upper.length > TASK_ID_LENGTH) return undefined;
  for (const char of upper) if (!ALPHABET.includes(char)) return undefined;
  return upper;
}

/** 32 bits of a store id, never zero; unique in a mesh (a store whose fingerprint is taken mints another id). */
export function fingerprintOf(storeId: string): string {
  const bits = Number(hash64(`fingerprint:${storeId}`) >> 32n);
  return (bits === 0 ? 1 : bits).toString(16).padStart(8, '0');
}
