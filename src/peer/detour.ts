/**
 * What becomes of a request or a message to a member to which there is no link that works: it is dialled, if a missing link
 * says nothing (a partial mesh), and asked through a third member, if the two cannot reach each other.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err } from '../base/result.ts';
import type { PartialMesh } from '../membership/partial-mesh.ts';
import type { Member } from '../membership/types.ts';
import type { Clock } from '../ports/clock.ts';
import type { Identity } from '../ports/identity.ts';
import { encodeEnvelope, type WireMap } from '../wire/envelope.ts';
import type { CallOptions, CallResult } from '../wire/messaging.ts';
import type { Messenger } from './messenger.ts';
import { nonceOf } from './nonces.ts';
import {
  type Case,
  isAnswerOf,
  PASS,
  passingBody,
  RELAY_BYTES_MAX,
  readSealed,
  type Sealed,
  sealRequest,
} from './relay.ts';

/** A request waits so long for a dial: what is further away than that is asked through another. */
export const DIAL_WAIT_MS = 2_000;
/** Thirds that are tried for one request, one after the other; each must first have refused. */
const RELAYS_TRIED_MAX = 2;
/** Messages that wait for a dial or a third: they may be lost by contract, and must not fill the heap. */
export const CASTS_UNDER_WAY_MAX = 1_024;
const CALL_TIMEOUT_MS = 5_000;

export interface DetourDeps {
  readonly clock: Clock;
  readonly identity: Identity;
  readonly messenger: Messenger;
  readonly mesh: Pick<PartialMesh, 'wayTo' | 'connect' | 'relaysTo'>;
  readonly meshId: () => string;
  /** Of this peer: each start has a higher one. */
  readonly epoch: () => number;
  readonly memberOf: (peerId: string) => Member | undefined;
  /** Nothing between the two is left to be settled after a long absence, of which only a hello tells. */
  readonly isSettled: (peerId: string) => boolean;
  readonly mayRelay: (peerId: string) => boolean;
}

export class Detour {
  readonly #deps: DetourDeps;
  #casts = 0;
  /** Requests that were relayed in this epoch, or before it in this boot. */
  #count = 0;

  constructor(deps: DetourDeps) {
    this.#deps = deps;
  }

  /** False: the link is used as it is, whatever comes of it. */
  isNeeded(to: string): boolean {
    return this.#deps.mesh.wayTo(to) !== 'link';
  }

  async call(to: string, type: string, body: WireMap, options: CallOptions): Promise<CallResult> {
    const { clock, mesh, messenger, isSettled } = this.#deps;
    const untilMs = clock.nowMs() + (options.timeoutMs ?? CALL_TIMEOUT_MS);
    const leftMs = () => Math.max(1, untilMs - clock.nowMs());
    if (mesh.wayTo(to) === 'dial') {
      const isUp = await mesh.connect(to, Math.min(DIAL_WAIT_MS, leftMs()));
      // What the hello told has to come first.
      if (isUp && !isSettled(to)) return err(coveyError('UNREACHABLE', { what: to }));
      if (isUp) return messenger.callLinked(to, type, body, { ...options, timeoutMs: leftMs() });
    }
    const request = encodeEnvelope({ kind: 'request', id: 0, type, body });
    return this.#ask(to, request, leftMs);
  }

  /** False: it was not taken. */
  cast(to: string, type: string, body: WireMap): boolean {
    if (this.#casts >= CASTS_UNDER_WAY_MAX) return false;
    this.#casts += 1;
    void this.#send(to, type, body).then(() => {
      this.#casts -= 1;
    });
    return true;
  }

  async #send(to: string, type: string, body: WireMap): Promise<void> {
    const { clock, mesh, messenger, isSettled } = this.#deps;
    if (mesh.wayTo(to) === 'dial' && (await mesh.connect(to, DIAL_WAIT_MS))) {
      if (isSettled(to)) messenger.castLinked(to, type, body);
      return;
    }
    const untilMs = clock.nowMs() + CALL_TIMEOUT_MS;
    const message = encodeEnvelope({ kind: 'message', type, body });
    await this.#ask(to, message, () => Math.max(1, untilMs - clock.nowMs()));
  }

  async #ask(to: string, bytes: Uint8Array, leftMs: () => number): Promise<CallResult> {
    const { identity, mesh, meshId, epoch, memberOf, mayRelay } = this.#deps;
    const gone = err(coveyError('UNREACHABLE', { what: to }));
    const boot = memberOf(to)?.bootId;
    if (boot === undefined || !mayRelay(to)) return gone;
    if (bytes.length > RELAY_BYTES_MAX) {
      const sizes = { bytes: bytes.length, limit_bytes: RELAY_BYTES_MAX };
      return err(coveyError('PAYLOAD_TOO_LARGE', { what: 'a relayed request', ...sizes }));
    }
    this.#count += 1;
    const nonce = nonceOf(epoch(), this.#count);
    const about: Case = { meshId: meshId(), from: identity.peerId, to, toBoot: boot, nonce };
    // One for all thirds: what came through the first, whose answer was lost or changed, is no other request.
    const sealed = sealRequest(identity, about, bytes);
    let refused: CoveyError | undefined;
    for (const third of mesh.relaysTo(to).slice(0, RELAYS_TRIED_MAX)) {
      const answer = await this.#through(third, about, sealed, leftMs());
      // Whether it was carried out is not known after a timeout: another attempt is for the caller to make.
      if (answer.ok || answer.error.code === 'TIMEOUT' || answer.isOfTarget) return answer.result;
      refused = answer.error;
    }
    return refused?.code === 'BUSY' ? err(refused) : gone;
  }

  async #through(third: string, about: Case, sealed: Sealed, timeoutMs: number) {
    const { identity, messenger } = this.#deps;
    const { to, toBoot, nonce } = about;
    const body = passingBody({ ...sealed, peer: to, toBoot, nonce, timeoutMs });
    const options = { frameClass: 'bulk', timeoutMs } as const;
    const answer = await messenger.callLinked(third, PASS, body, options);
    if (!answer.ok) return { ok: false, error: answer.error, isOfTarget: false, result: answer };
    const said = readSealed(answer.value);
    if (said === undefined || !isAnswerOf(identity, about, said)) {
      const error = coveyError('UNREACHABLE', { what: `${to}: a relayed answer was not its own` });
      return { ok: false, error, isOfTarget: false, result: err(error) };
    }
    const result = messenger.readAnswer(said.bytes);
    return result.ok
      ? ({ ok: true, result } as const)
      : { ok: false, error: result.error, isOfTarget: true, result };
  }
}
