/**
 * The points of a store on the ring: 64-bit words of SHA-256(`token:<storeId>:<i>`), four to a
 * digest, for hashing is most of the cost of building a ring. Keys are hashed by `hash64`: the
 * first word of the same function.
 */
import { sha256Of } from '../base/hash.ts';

/**
 * Points of a member of weight 1. The load of a member spreads by about 1/√points, and the largest
 * of 100 members lies near three times that above the mean: 2,048 give 1.06 to 1.07 (1,024 gave
 * 1.10, the limit).
 */
export const TOKENS_PER_WEIGHT = 2_048;
export const TOKENS_MAX = 16 * TOKENS_PER_WEIGHT;
/** Stores whose points are kept: rings are rebuilt at every change, of mostly the same stores. */
const CACHE_MAX = 2_048;
const WORDS_PER_DIGEST = 4;

/** High and low halves of 64-bit words: exact, and far quicker to compare than BigInt. */
export interface Tokens {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}

const cache = new Map<string, Tokens>();

export const tokenCount = (weight: number): number =>
  Math.min(TOKENS_MAX, Math.max(1, Math.round(weight * TOKENS_PER_WEIGHT)));

export function tokensOf(storeId: string, weight: number): Tokens {
  const count = tokenCount(weight);
  const key = `${count}:${storeId}`;
  const known = cache.get(key);
  if (known) return known;
  const tokens = { high: new Uint32Array(count), low: new Uint32Array(count) };
  for (let at = 0; at < count; at += WORDS_PER_DIGEST) {
    const digest = sha256Of(`token:${storeId}:${at / WORDS_PER_DIGEST}`);
    const view = new DataView(digest.buffer, digest.byteOffset);
    for (let word = 0; word < WORDS_PER_DIGEST && at + word < count; word++) {
      tokens.high[at + word] = view.getUint32(8 * word);
      tokens.low[at + word] = view.getUint32(8 * word + 4);
    }
  }
  if (cache.size >= CACHE_MAX) cache.clear();
  cache.set(key, tokens);
  return tokens;
}
