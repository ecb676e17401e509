/**
 * Signatures that were verified before. The same fact comes by news from several members, with hellos and with
 * anti-entropy; its bytes are the same, for facts are passed on as they were signed.
 */
import { toHex } from '../base/hash.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import { SIGNATURES_MAX, SIGNED_BYTES_MAX } from './limits.ts';

interface Signed {
  readonly by: PeerId;
  readonly payload: Uint8Array;
}

export class Signatures {
  readonly #identity: Pick<Identity, 'verify'>;
  /** Right ones, by signature; the oldest first. */
  readonly #known = new Map<string, Signed>();

  constructor(identity: Pick<Identity, 'verify'>) {
    this.#identity = identity;
  }

  readonly verify: Identity['verify'] = (by, payload, signature) => {
    const key = toHex(signature);
    const known = this.#known.get(key);
    // All of it: whoever may choose a part of what is believed unread chooses what is believed.
    if (known?.by === by && isSame(known.payload, payload)) return true;
    if (!this.#identity.verify(by, payload, signature)) return false;
    if (payload.length > SIGNED_BYTES_MAX) return true;
    this.#known.set(key, { by, payload });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= SIGNATURES_MAX) break;
      this.#known.delete(oldest);
    }
    return true;
  };
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
