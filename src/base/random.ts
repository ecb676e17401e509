/**
 * Seeded randomness: sfc32 (Chris Doty-Humphrey's PractRand generator), our own few lines so that a seed gives
 * the same run whatever the platform's Math.random becomes. Not for secrets.
 */
import { sha256Of } from './hash.ts';

/** A source of randomness; the port of the same name. */
export interface Random {
  /** An unsigned 32-bit number, all values equally likely. */
  uint32(): number;
  /** `length` independent random bytes. */
  bytes(length: number): Uint8Array;
}

export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: string) {
    const view = new DataView(sha256Of(seed).buffer);
    this.#a = view.getUint32(0);
    this.#b = view.getUint32(4);
    this.#c = view.getUint32(8);
    for (let i = 0; i < 12; i++) this.uint32();
  }

  uint32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t >>> 0;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.uint32() & 0xff);
  }
}

/** A double in [0, 1) from 32 random bits. */
export const randomFloat = (random: Random): number => random.uint32() / 0x1_0000_0000;

/** A whole number in [0, bound). */
export const randomBelow = (random: Random, bound: number): number =>
  Math.floor(randomFloat(random) * bound);

/** `base` spread evenly over [base·(1−share), base·(1+share)]: keeps peers from acting in step. */
export const jitter = (random: Random, base: number, share: number): number =>
  base * (1 - share + 2 * share * randomFloat(random));

/** Up to `count` distinct items in random order. */
export function pickDistinct<T>(random: Random, items: readonly T[], count: number): T[] {
  const pool = [...items];
  const picked: T[] = [];
  while (picked.length < count && pool.length > 0) {
    picked.push(...pool.splice(randomBelow(random, pool.length), 1));
  }
  return picked;
}
