/**
 * The envelope of every frame between members: a CBOR array [kind, id, type, body].
 *
 *   [0, 0, type, body]     a message without an answer
 *   [1, id, type, body]    a request; id is the sender's, unique among its unanswered requests, those of its
 *                          earlier boots included: each boot counts from a random number
 *   [2, id, '', body]      its answer
 *   [3, id, code, {message}]  its refusal: a code of the error table
 *
 * Elements after the fourth are kept for later versions and ignored. Bodies are maps with unknown keys kept.
 */
import type { Result } from '../base/result.ts';
import { err, ok } from '../base/result.ts';
import { decodeValue, encodeValue, type WireValue } from './codec.ts';

export type WireMap = { readonly [key: string]: WireValue | undefined };

export type Envelope =
  | { readonly kind: 'message'; readonly type: string; readonly body: WireMap }
  | { readonly kind: 'request'; readonly id: number; readonly type: string; readonly body: WireMap }
  | { readonly kind: 'reply'; readonly id: number; readonly body: WireMap }
  | {
      readonly kind: 'refusal';
      readonly id: number;
      readonly code: string;
      readonly body: WireMap;
    };

const KINDS = ['message', 'request', 'reply', 'refusal'] as const;
const TYPE_LENGTH_MAX = 64;

export function encodeEnvelope(envelope: Envelope): Uint8Array {
  const id = envelope.kind === 'message' ? 0 : envelope.id;
  const type =
    envelope.kind === 'refusal' ? envelope.code : envelope.kind === 'reply' ? '' : envelope.type;
  return encodeValue([KINDS.indexOf(envelope.kind), id, type, envelope.body]);
}

export const isWireMap = (value: WireValue | undefined): value is WireMap =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array);

export function decodeEnvelope(bytes: Uint8Array): Result<Envelope, string> {
  const decoded = decodeValue(bytes);
  if (!decoded.ok) return decoded;
  const value = decoded.value;
  if (!Array.isArray(value)) return err('an envelope is an array');
  const [kindIndex, id, type, body] = value as readonly WireValue[];
  const kind = typeof kindIndex === 'number' ? KINDS[kindIndex] : undefined;
  if (kind === undefined) return err(`unknown kind of envelope ${String(kindIndex)}`);
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
    return err('the id is no whole number');
  if (typeof type !== 'string' || type.length > TYPE_LENGTH_MAX)
    return err('the type is no short text');
  if (!isWireMap(body)) return err('the body is no map');
  if (kind === 'message') return ok({ kind, type, body });
  if (kind === 'request') return ok({ kind, id, type, body });
  if (kind === 'reply') return ok({ kind, id, body });
  return ok({ kind, id, code: type, body });
}
