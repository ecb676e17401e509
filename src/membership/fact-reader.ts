/**
 * Facts as they come in, each verified once. The same fact comes by news from several members, with hellos and with
 * anti-entropy; its bytes are the same, for facts are passed on as they were signed.
 */
import { toHex } from '../base/hash.ts';
import { ok, type Result } from '../base/result.ts';
import type { Identity } from '../ports/identity.ts';
import type { WireValue } from '../wire/codec.ts';
import { type Fact, readFact } from './fact.ts';
import { READ_FACTS_MAX } from './limits.ts';

export class FactReader {
  readonly #identity: Pick<Identity, 'verify'>;
  /** By mesh and signature; the oldest first. */
  readonly #read = new Map<string, Fact>();

  constructor(identity: Pick<Identity, 'verify'>) {
    this.#identity = identity;
  }

  read(value: WireValue, meshId: string): Result<Fact, string> {
    const [by, payload, signature] = Array.isArray(value) ? (value as readonly WireValue[]) : [];
    const isFact = payload instanceof Uint8Array && signature instanceof Uint8Array;
    const key = isFact ? `${meshId}/${toHex(signature)}` : '';
    const before = this.#read.get(key);
    // All of it: whoever may choose a part of what is believed unread chooses what is believed.
    if (before && isFact && before.signed.by === by && isSame(before.signed.payload, payload))
      return ok(before);
    const fact = readFact(value, meshId, (...args) => this.#identity.verify(...args));
    if (fact.ok) this.#remember(key, fact.value);
    return fact;
  }

  #remember(key: string, fact: Fact): void {
    this.#read.set(key, fact);
    for (const oldest of this.#read.keys()) {
      if (this.#read.size <= READ_FACTS_MAX) return;
      this.#read.delete(oldest);
    }
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
