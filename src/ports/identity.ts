/** A peer's libp2p PeerId in its base58btc text form (`12D3KooW…`); it contains the Ed25519 public key. */
export type PeerId = string;

/**
 * The key pair of this peer. Sign and verify are synchronous on purpose: no real await hides in the protocol,
 * so the simulator sees every interleaving there is.
 */
export interface Identity {
  readonly peerId: PeerId;
  /** Ed25519 over the bytes; 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
  /** True if `signature` is `peerId`'s over `bytes`. False, never a throw, for malformed input of any kind. */
  verify(peerId: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean;
}
