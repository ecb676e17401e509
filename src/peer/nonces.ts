/**
 * Nonces of relayed requests: numbers that rise, so that the receiver can refuse what it has forgotten. Random ones would
 * have to be remembered for as long as it runs: a third that fills that memory could show an old request once more.
 */
import type { PeerId } from '../ports/identity.ts';

/** The epoch of the author, then a count of its requests in it, eight bytes each, the most significant first. */
export const NONCE_BYTES = 16;
/**
 * Of each author: requests that go by different ways may overtake one another by so many. A bit each, 5 MiB for 10,000
 * authors; who is no member is refused before, so there are no more of them.
 */
export const NONCE_WINDOW = 4_096;

const MASK = (1n << BigInt(NONCE_WINDOW)) - 1n;

/** `count` rises within an epoch, and epochs rise from start to start. */
export function nonceOf(epoch: number, count: number): Uint8Array {
  const bytes = new Uint8Array(NONCE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(epoch));
  view.setBigUint64(8, BigInt(count));
  return bytes;
}

function numberOf(nonce: Uint8Array): bigint {
  const view = new DataView(nonce.buffer, nonce.byteOffset, NONCE_BYTES);
  return (view.getBigUint64(0) << 64n) | view.getBigUint64(8);
}

interface Seen {
  /** The highest number of all. */
  readonly top: bigint;
  /** Bit i: `top - i` was seen. */
  readonly bits: bigint;
}

export class SeenNonces {
  readonly #of = new Map<PeerId, Seen>();

  /** False: it was seen before, or is so old that this is not known any more. Only of what its author has signed. */
  take(author: PeerId, nonce: Uint8Array): boolean {
    const number = numberOf(nonce);
    const { top, bits } = this.#of.get(author) ?? { top: -1n, bits: 0n };
    if (number > top) {
      const by = number - top;
      // Never shifts by a number that somebody else chose: it would be as many bits of memory.
      const kept = by < BigInt(NONCE_WINDOW) ? (bits << by) & MASK : 0n;
      this.#of.set(author, { top: number, bits: kept | 1n });
      return true;
    }
    const below = top - number;
    if (below >= BigInt(NONCE_WINDOW) || ((bits >> below) & 1n) === 1n) return false;
    this.#of.set(author, { top, bits: bits | (1n << below) });
    return true;
  }
}
