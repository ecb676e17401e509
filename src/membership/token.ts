/**
 * Invite tokens: `covey1-` and base64url of a CBOR map followed by four bytes of its SHA-256, so
 * that a token cut in a terminal is called malformed instead of unknown.
 */
import { bytesEqual, sha256Of, toHex } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import { decodeValue, encodeValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { ADDRESSES_MAX } from './limits.ts';
import { readInt, readText, readTexts } from './read.ts';

export interface Token {
  readonly meshId: string;
  readonly inviter: PeerId;
  readonly addresses: readonly Address[];
  /** 128 bits. */
  readonly secret: Uint8Array;
  /** Wall time of the inviter, which alone judges it. */
  readonly expiresAtMs: number;
  /** It joins two meshes, and admits no single peer. */
  readonly forMerge?: boolean;
}

const PREFIX = 'covey1-';
const CHECKSUM_BYTES = 4;
export const SECRET_BYTES = 16;

/** What is kept of a secret: the book lets nobody redeem. */
export const secretHash = (secret: Uint8Array): string => toHex(sha256Of(secret));

export function encodeToken(token: Token): string {
  const body = encodeValue({
    mesh_id: token.meshId,
    inviter: token.inviter,
    addresses: token.addresses,
    secret: token.secret,
    expires_at_ms: token.expiresAtMs,
    ...(token.forMerge && { merge: true }),
  });
  const bytes = new Uint8Array(body.length + CHECKSUM_BYTES);
  bytes.set(body);
  bytes.set(sha256Of(body).subarray(0, CHECKSUM_BYTES), body.length);
  return PREFIX + toBase64Url(bytes);
}

export function decodeToken(text: string): Result<Token, string> {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) return err(`it does not start with ${PREFIX}`);
  const bytes = fromBase64Url(trimmed.slice(PREFIX.length));
  if (!bytes || bytes.length <= CHECKSUM_BYTES) return err('it is cut or has foreign characters');
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  if (!bytesEqual(sha256Of(body).subarray(0, CHECKSUM_BYTES), bytes.subarray(-CHECKSUM_BYTES))) {
    return err('its checksum is wrong; was it copied whole?');
  }
  const decoded = decodeValue(body);
  if (!decoded.ok || !isWireMap(decoded.value)) return err('it holds no token');
  const map = decoded.value;
  const meshId = readText(map.mesh_id);
  const inviter = readText(map.inviter);
  const addresses = readTexts(map.addresses, ADDRESSES_MAX);
  const expiresAtMs = readInt(map.expires_at_ms);
  const secret = map.secret;
  if (!meshId || !inviter || !addresses || expiresAtMs === undefined) return err('it lacks a part');
  if (!(secret instanceof Uint8Array) || secret.length !== SECRET_BYTES) {
    return err('it lacks its secret');
  }
  const forMerge = map.merge === true;
  return ok({ meshId, inviter, addresses, secret, expiresAtMs, ...(forMerge && { forMerge }) });
}

const toBase64Url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '');

function fromBase64Url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
