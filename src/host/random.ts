/**
 * The Random port on the system's secure source, fetched in blocks: a call to the system per number
 * is slow.
 */
import { randomBytes } from 'node:crypto';
import type { Random } from '../ports/random.ts';

const POOL_BYTES = 4_096;

export class HostRandom implements Random {
  #pool = Buffer.alloc(0);
  #used = 0;

  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  bytes(length: number): Uint8Array {
    // A copy: the caller's bytes must not be a window on the numbers that others will get.
    return new Uint8Array(length > POOL_BYTES ? randomBytes(length) : this.#take(length));
  }

  #take(length: number): Buffer {
    if (this.#used + length > this.#pool.length) {
      this.#pool = randomBytes(POOL_BYTES);
      this.#used = 0;
    }
    this.#used += length;
    return this.#pool.subarray(this.#used - length, this.#used);
  }
}
