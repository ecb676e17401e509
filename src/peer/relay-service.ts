/**
 * The other two parts of a relay: the third, which passes on what it cannot read or change to its purpose, and the one
 * that is asked, which serves it as if it had come from its author.
 */
import { coveyError } from '../base/errors.ts';
import type { Refused } from '../base/refused.ts';
import { err, ok } from '../base/result.ts';
import type { Identity } from '../ports/identity.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { CallResult } from '../wire/messaging.ts';
import type { Messenger } from './messenger.ts';
import { SeenNonces } from './nonces.ts';
import {
  type Case,
  encodeAnswer,
  isRequestOf,
  PASS,
  type Passing,
  passingBody,
  RELAY_BYTES_MAX,
  readCarried,
  readPassing,
  sealAnswer,
  TAKE,
} from './relay.ts';

/** Requests of one member that are being passed on; it has other thirds. */
export const PASSING_MAX = 64;
/** Of all members: at the largest size 512 MiB would be held, so their bytes are bounded as well. */
export const PASSING_ALL_MAX = 512;
export const PASSING_BYTES_MAX = 32 * 1_024 * 1_024;
/** No request between members waits longer for its answer. */
const TIMEOUT_MS_MAX = 30_000;
const BUSY_RETRY_MS = 500;

export interface RelayDeps {
  readonly identity: Identity;
  readonly messenger: Messenger;
  readonly refused: Refused;
  readonly meshId: () => string;
  readonly bootId: string;
  /** It has a link to us that works: nobody is dialled for others, and nothing takes a second hop. */
  readonly isLinked: (peerId: string) => boolean;
  /** A member that may be served. */
  readonly isMember: (peerId: string) => boolean;
}

export class RelayService {
  readonly #deps: RelayDeps;
  readonly #passing = new Map<string, number>();
  #all = 0;
  #bytes = 0;
  readonly #nonces = new SeenNonces();

  constructor(deps: RelayDeps) {
    this.#deps = deps;
    deps.messenger.onRequest(PASS, (from, body) => this.#pass(from, body));
    deps.messenger.onRequest(TAKE, (_third, body) => this.#take(body));
  }

  #refuse(why: string): CallResult {
    this.#deps.refused.count(`relay: ${why}`);
    return err(coveyError('INVALID_PARAMS', { why: `a relay: ${why}` }));
  }

  // The third

  async #pass(from: string, body: WireMap): Promise<CallResult> {
    const read = readPassing(body);
    if (!read.ok) {
      this.#deps.refused.count('relay: not readable');
      return read;
    }
    const { peer: to, bytes } = read.value;
    if (to === from || to === this.#deps.identity.peerId) return this.#refuse('to nobody else');
    if (!this.#deps.isLinked(to)) return err(coveyError('UNREACHABLE', { what: to }));
    const size = bytes.length;
    const count = this.#passing.get(from) ?? 0;
    const isMuch = this.#all >= PASSING_ALL_MAX || this.#bytes + size > PASSING_BYTES_MAX;
    if (isMuch || count >= PASSING_MAX) {
      this.#deps.refused.count('relay: too much');
      return err(coveyError('BUSY', { what: 'relayed requests', retry_after_ms: BUSY_RETRY_MS }));
    }
    this.#all += 1;
    this.#bytes += size;
    this.#passing.set(from, count + 1);
    const answer = await this.#passOn(from, to, read.value);
    this.#all -= 1;
    this.#bytes -= size;
    const left = (this.#passing.get(from) ?? 1) - 1;
    if (left > 0) this.#passing.set(from, left);
    else this.#passing.delete(from);
    return answer;
  }

  #passOn(from: string, to: string, passing: Passing): Promise<CallResult> {
    const timeoutMs = Math.min(passing.timeoutMs, TIMEOUT_MS_MAX);
    // Who asks is told by the link, not by the request.
    const body = passingBody({ ...passing, peer: from, timeoutMs });
    const options = { frameClass: 'bulk', timeoutMs } as const;
    return this.#deps.messenger.callLinked(to, TAKE, body, options);
  }

  // The one that is asked

  async #take(body: WireMap): Promise<CallResult> {
    const { identity, messenger, meshId, bootId, isMember } = this.#deps;
    const read = readPassing(body);
    if (!read.ok) {
      this.#deps.refused.count('relay: not readable');
      return read;
    }
    const { peer: from, toBoot, nonce } = read.value;
    if (from === identity.peerId || !isMember(from)) return this.#refuse('of no member');
    if (toBoot !== bootId) return this.#refuse('to another boot');
    const about: Case = { meshId: meshId(), from, to: identity.peerId, toBoot, nonce };
    if (!isRequestOf(identity, about, read.value)) return this.#refuse('not signed by its author');
    if (!this.#nonces.take(from, nonce)) return this.#refuse('seen before');
    const carried = readCarried(read.value.bytes);
    if (carried === undefined) return this.#refuse('of something else than a request');
    const result = await messenger.serveRelayed(from, carried);
    const sealed = sealAnswer(identity, about, this.#bounded(result));
    return ok({ answer: sealed.bytes, signature: sealed.signature });
  }

  #bounded(result: CallResult): Uint8Array {
    const bytes = encodeAnswer(result);
    if (bytes.length <= RELAY_BYTES_MAX) return bytes;
    const sizes = { bytes: bytes.length, limit_bytes: RELAY_BYTES_MAX };
    return encodeAnswer(
      err(coveyError('PAYLOAD_TOO_LARGE', { what: 'a relayed answer', ...sizes })),
    );
  }
}
