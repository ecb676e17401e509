/**
 * The Identity port without cryptography: a seed name gives the key, a signature is a keyed hash, and verifying
 * computes it again. Fast and the same in every run. It proves who signed only because nobody in a simulated
 * world computes a signature that is not his; never let it near a real network.
 */
import { bytesEqual, sha256Of, utf8 } from '../base/hash.ts';
import type { Identity, PeerId } from '../ports/identity.ts';

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
/** An identity multihash of a libp2p public key in protobuf: Ed25519, 32 bytes. */
const PEER_ID_PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

function base58btc(bytes: Uint8Array): string {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  let text = '';
  for (; value > 0n; value /= 58n) text = (BASE58[Number(value % 58n)] ?? '') + text;
  // Each leading zero byte is a leading 1.
  for (const byte of bytes) {
    if (byte !== 0) break;
    text = `1${text}`;
  }
  return text;
}

const concat = (...parts: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

/** As long as an Ed25519 signature: two hashes of key and bytes. */
function signatureOf(peerId: PeerId, bytes: Uint8Array): Uint8Array {
  const first = sha256Of(concat(utf8(`covey simulated signature\n${peerId}\n`), bytes));
  return concat(first, sha256Of(first));
}

/** The PeerId that belongs to a seed name; shaped like a real one. */
export const simPeerId = (seedName: string): PeerId =>
  base58btc(concat(new Uint8Array(PEER_ID_PREFIX), sha256Of(`covey simulated key\n${seedName}`)));

export function createSimIdentity(seedName: string): Identity {
  const peerId = simPeerId(seedName);
  return {
    peerId,
    sign: (bytes) => signatureOf(peerId, bytes),
    verify: (signer, bytes, signature) =>
      /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(signer) &&
      bytesEqual(signature, signatureOf(signer, bytes)),
  };
}
