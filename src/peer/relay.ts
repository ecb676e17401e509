/**
 * One hop through a third member, where two cannot reach each other: what travels, and who signs it. The third sees
 * what it carries and may drop or delay it, but it can neither change a request or an answer nor invent one: both are
 * signed by their authors, for one receiver, one of its boots and one nonce.
 */
import { coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import { encodeValue } from '../wire/codec.ts';
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  isWireMap,
  type WireMap,
} from '../wire/envelope.ts';
import type { CallResult } from '../wire/messaging.ts';
import { NONCE_BYTES } from './nonces.ts';

/** What the asker sends to the third, and the third to the one that is asked. */
export const PASS = 'relay.pass';
export const TAKE = 'relay.take';
/** Nothing of this kind is ever carried: a relay of a relay would be a second hop. */
const OWN_PREFIX = 'relay.';

/** A request or an answer: a task with payload and output, 1 MiB each, and their CBOR. */
export const RELAY_BYTES_MAX = 4 * 1_024 * 1_024;
const REQUEST_CONTEXT = 'covey relayed request 1';
const ANSWER_CONTEXT = 'covey relayed answer 1';
const SIGNATURE_BYTES = 64;

/** Between whom, in which boot of the one that is asked, and which of all. */
export interface Case {
  readonly meshId: string;
  readonly from: PeerId;
  readonly to: PeerId;
  readonly toBoot: string;
  readonly nonce: Uint8Array;
}

export interface Sealed {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

const textOf = (context: string, about: Case, bytes: Uint8Array): Uint8Array =>
  encodeValue([context, about.meshId, about.from, about.to, about.toBoot, about.nonce, bytes]);

export const sealRequest = (identity: Identity, about: Case, bytes: Uint8Array): Sealed => ({
  bytes,
  signature: identity.sign(textOf(REQUEST_CONTEXT, about, bytes)),
});

export const sealAnswer = (identity: Identity, about: Case, bytes: Uint8Array): Sealed => ({
  bytes,
  signature: identity.sign(textOf(ANSWER_CONTEXT, about, bytes)),
});

export const isRequestOf = (identity: Identity, about: Case, { bytes, signature }: Sealed) =>
  identity.verify(about.from, textOf(REQUEST_CONTEXT, about, bytes), signature);

export const isAnswerOf = (identity: Identity, about: Case, { bytes, signature }: Sealed) =>
  identity.verify(about.to, textOf(ANSWER_CONTEXT, about, bytes), signature);

/** What is read of a `relay.pass` or `relay.take`, and nothing more: the request itself is for its receiver alone. */
export interface Passing extends Sealed {
  readonly peer: PeerId;
  readonly toBoot: string;
  readonly nonce: Uint8Array;
  readonly timeoutMs: number;
}

const refusal = (why: string) => err(coveyError('INVALID_PARAMS', { why }));

/** `peer`: the one to be asked, or, where it arrives, the one that asks. */
export function readPassing(body: WireMap): Result<Passing, ReturnType<typeof coveyError>> {
  const { peer, boot, nonce, request, signature, timeout_ms: timeoutMs } = body;
  if (typeof peer !== 'string' || typeof boot !== 'string') return refusal('a relay names a peer');
  if (!(nonce instanceof Uint8Array) || nonce.length !== NONCE_BYTES)
    return refusal('a relay has a nonce');
  if (!(signature instanceof Uint8Array) || signature.length !== SIGNATURE_BYTES)
    return refusal('a relay is signed');
  if (!(request instanceof Uint8Array)) return refusal('a relay carries a request');
  if (request.length > RELAY_BYTES_MAX) {
    const sizes = { bytes: request.length, limit_bytes: RELAY_BYTES_MAX };
    return err(coveyError('PAYLOAD_TOO_LARGE', { what: 'a relayed request', ...sizes }));
  }
  if (typeof timeoutMs !== 'number' || timeoutMs <= 0) return refusal('a relay has a time limit');
  return ok({ peer, toBoot: boot, nonce, bytes: request, signature, timeoutMs });
}

export const passingBody = (passing: Passing): WireMap => ({
  peer: passing.peer,
  boot: passing.toBoot,
  nonce: passing.nonce,
  request: passing.bytes,
  signature: passing.signature,
  timeout_ms: passing.timeoutMs,
});

/** The request or message that somebody sent; undefined: none that may be carried. */
export function readCarried(
  bytes: Uint8Array,
): Extract<Envelope, { kind: 'request' | 'message' }> | undefined {
  const decoded = decodeEnvelope(bytes);
  if (!decoded.ok) return undefined;
  const { value } = decoded;
  if (value.kind !== 'request' && value.kind !== 'message') return undefined;
  return value.type.startsWith(OWN_PREFIX) ? undefined : value;
}

export const encodeAnswer = (result: CallResult): Uint8Array =>
  result.ok
    ? encodeEnvelope({ kind: 'reply', id: 0, body: result.value })
    : encodeEnvelope({
        kind: 'refusal',
        id: 0,
        code: result.error.code,
        body: { ...result.error.details, message: result.error.message } as WireMap,
      });

/** What the third brought back; undefined: no answer of anybody. */
export function readSealed(body: WireMap): Sealed | undefined {
  const { answer: bytes, signature } = body;
  if (!isWireMap(body) || !(bytes instanceof Uint8Array)) return undefined;
  return signature instanceof Uint8Array ? { bytes, signature } : undefined;
}
