/**
 * The Identity port: an Ed25519 key in a file of mode 0600, in libp2p's own protobuf form. Signing is done with
 * node:crypto and not with libp2p's key objects, because those sign asynchronously (see ports/identity.ts).
 */
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id';
import { err, ok, type Result } from '../base/result.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { PrivateKey } from './libp2p-node.ts';

/** An Ed25519 key takes 68 bytes; whatever is longer is no key file. */
const KEY_FILE_BYTES_MAX = 1_024;
/** Parsed public keys of other peers: every member of a large mesh. */
const PUBLIC_KEYS_CACHED_MAX = 4_096;
const SIGNATURE_BYTES = 64;
const SEED_BYTES = 32;
/** The DER headers of RFC 8410 in front of a raw Ed25519 seed and public key. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

export interface LoadedIdentity {
  readonly identity: Identity;
  readonly privateKey: PrivateKey;
}

class HostIdentity implements Identity {
  readonly peerId: PeerId;
  readonly #privateKey: KeyObject;
  readonly #publicKeys = new Map<PeerId, KeyObject | undefined>();

  constructor(privateKey: PrivateKey) {
    this.peerId = peerIdFromPrivateKey(privateKey).toString();
    // libp2p's raw form is the seed and the public key.
    const seed = privateKey.raw.subarray(0, SEED_BYTES);
    this.#privateKey = createPrivateKey({
      key: Buffer.concat([PKCS8_PREFIX, seed]),
      format: 'der',
      type: 'pkcs8',
    });
  }

  sign(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, bytes, this.#privateKey));
  }

  verify(peerId: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== SIGNATURE_BYTES) return false;
    const key = this.#publicKeyOf(peerId);
    return key !== undefined && verify(null, bytes, key, signature);
  }

  #publicKeyOf(peerId: PeerId): KeyObject | undefined {
    if (this.#publicKeys.has(peerId)) return this.#publicKeys.get(peerId);
    const key = parsePublicKey(peerId);
    // Clearing all is crude and enough: keys are parsed in 20 µs.
    if (this.#publicKeys.size >= PUBLIC_KEYS_CACHED_MAX) this.#publicKeys.clear();
    this.#publicKeys.set(peerId, key);
    return key;
  }
}

/** The Ed25519 public key inside the text of a PeerId. */
function parsePublicKey(peerId: PeerId): KeyObject | undefined {
  try {
    const parsed = peerIdFromString(peerId);
    // A PeerId has several texts (CID, base58btc); only one of them names a member.
    if (parsed.type !== 'Ed25519' || parsed.toString() !== peerId) return undefined;
    return createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, parsed.publicKey.raw]),
      format: 'der',
      type: 'spki',
    });
  } catch {
    // Whatever is wrong with it, it is nobody's key.
    return undefined;
  }
}

/** Reads the key file, or makes one. The error is a sentence for the operator. */
export async function loadOrCreateIdentity(path: string): Promise<Result<LoadedIdentity, string>> {
  const read = await readKeyFile(path);
  if (!read.ok) return read;
  if (read.value) return parseKey(path, read.value);
  const privateKey = await generateKeyPair('Ed25519');
  try {
    await writeKeyFile(path, privateKeyToProtobuf(privateKey));
  } catch (error) {
    return err(`the key file ${path} cannot be written: ${messageOf(error)}`);
  }
  return ok({ identity: new HostIdentity(privateKey), privateKey });
}

/** Undefined: there is no such file. */
async function readKeyFile(path: string): Promise<Result<Buffer | undefined, string>> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const stat = await file.stat();
    if (!stat.isFile()) return err(`the key file ${path} is not a regular file`);
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      return err(
        `the key file ${path} may be read by others (mode ${mode}); run chmod 600 ${path}`,
      );
    }
    if (stat.size > KEY_FILE_BYTES_MAX) {
      return err(`the key file ${path} is no key: ${stat.size} bytes`);
    }
    return ok(await file.readFile());
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ok(undefined);
    return err(`the key file ${path} cannot be read: ${messageOf(error)}`);
  } finally {
    await file?.close();
  }
}

function parseKey(path: string, bytes: Uint8Array): Result<LoadedIdentity, string> {
  try {
    const privateKey = privateKeyFromProtobuf(bytes);
    if (privateKey.type !== 'Ed25519') {
      return err(`the key file ${path} holds a ${privateKey.type} key; Covey uses Ed25519`);
    }
    return ok({ identity: new HostIdentity(privateKey), privateKey });
  } catch (error) {
    // Never made anew: a peer with another key is another peer, and its mesh would not know it.
    return err(
      `the key file ${path} is damaged (${messageOf(error)}): put it back from a copy, or move the data directory away and invite this host again`,
    );
  }
}

/** All or nothing, also when the power fails: written aside, synced, renamed, and the directory synced. */
async function writeKeyFile(path: string, bytes: Uint8Array): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(aside, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
