/**
 * The certificate of libp2p's TLS (github.com/libp2p/specs, tls/tls.md): signed by a key of its own, and holding an
 * extension in which the key of the PeerId signs that key. Made once, for it is the same for every connection; made and
 * read with Node's own cryptography, and no more of DER than these few fields need.
 */
import {
  createHash,
  generateKeyPair,
  type KeyObject,
  sign,
  type X509Certificate,
} from 'node:crypto';
import { promisify } from 'node:util';
import { publicKeyFromProtobuf, publicKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import type { PrivateKey, RemotePeer } from './libp2p-node.ts';

const newKeyPair = promisify(generateKeyPair);

const SIGNED_PREFIX = Buffer.from('libp2p-tls-handshake:');
/** 1.3.6.1.4.1.53594.1.1 */
const EXTENSION_OID = Buffer.from('2b0601040183a25a0101', 'hex');
/** 1.2.840.10045.4.3.2 */
const ECDSA_WITH_SHA256 = Buffer.from('2a8648ce3d040302', 'hex');
/** As RFC 5280 writes "always". A clock that is set right must not make a certificate of this boot invalid. */
const NOT_BEFORE = '700101000000Z';
const NOT_AFTER = '99991231235959Z';
/** Half a kilobyte is usual; RSA keys of 8,192 bits fit. */
const CERTIFICATE_BYTES_MAX = 8_192;

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  version: 0xa0,
  extensions: 0xa3,
} as const;

// Writing

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}

const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value));
/** With a leading zero: what begins with a set bit would be negative. */
const bitString = (bytes: Uint8Array): Buffer => der(TAG.bitString, Buffer.from([0]), bytes);

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export async function makeCertificate(identity: PrivateKey): Promise<Certificate> {
  const { publicKey, privateKey } = await newKeyPair('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const signature = await identity.sign(Buffer.concat([SIGNED_PREFIX, spki]));
  const owner = der(TAG.octetString, publicKeyToProtobuf(identity.publicKey));
  const signedKey = der(TAG.sequence, owner, der(TAG.octetString, signature));
  const critical = der(TAG.boolean, Buffer.from([0xff]));
  const extension = [der(TAG.oid, EXTENSION_OID), critical, der(TAG.octetString, signedKey)];
  const algorithm = der(TAG.sequence, der(TAG.oid, ECDSA_WITH_SHA256));
  const nobody = der(TAG.sequence);
  // Some number that is its own: positive, and of another certificate another one.
  const serial = createHash('sha256').update(spki).digest().subarray(0, 8);
  const body = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, Buffer.from([0x01]), serial),
    algorithm,
    nobody,
    der(TAG.sequence, text(TAG.utcTime, NOT_BEFORE), text(TAG.generalizedTime, NOT_AFTER)),
    nobody,
    spki,
    der(TAG.extensions, der(TAG.sequence, der(TAG.sequence, ...extension))),
  );
  const whole = der(TAG.sequence, body, algorithm, bitString(sign('sha256', body, privateKey)));
  const lines = whole.toString('base64').replace(/.{64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

// Reading: of bytes that a stranger sent

interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
}

/** The elements that the bytes are made of; undefined: they are not. */
function elements(bytes: Uint8Array): Element[] | undefined {
  const found: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] ?? 0;
    const first = bytes[at + 1];
    if (first === undefined || (tag & 0x1f) === 0x1f) return undefined;
    let length = first;
    let from = at + 2;
    if (first >= 0x80) {
      const count = first & 0x7f;
      // More than two bytes of length are more than a certificate may have.
      if (count < 1 || count > 2 || from + count > bytes.length) return undefined;
      length = 0;
      for (let i = 0; i < count; i++) length = length * 256 + (bytes[from + i] ?? 0);
      from += count;
    }
    if (from + length > bytes.length) return undefined;
    found.push({ tag, content: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return found;
}

const sequenceIn = (element: Element | undefined): Element[] | undefined =>
  element?.tag === TAG.sequence ? elements(element.content) : undefined;

/** The one extension that matters: the bytes of the owner's key, and its signature. */
export function signedKeyOf(
  certificate: Uint8Array,
): { readonly owner: Uint8Array; readonly signature: Uint8Array } | undefined {
  const whole = elements(certificate);
  if (whole?.length !== 1) return undefined;
  const body = sequenceIn(sequenceIn(whole[0])?.[0]);
  const wrapped = body?.find(({ tag }) => tag === TAG.extensions);
  const list = wrapped && sequenceIn(elements(wrapped.content)?.[0]);
  for (const extension of list ?? []) {
    const parts = sequenceIn(extension);
    const [oid, value] = [parts?.[0], parts?.at(-1)];
    if (oid?.tag !== TAG.oid || value?.tag !== TAG.octetString) continue;
    if (!EXTENSION_OID.equals(oid.content)) continue;
    const signedKey = elements(value.content);
    const pair = signedKey?.length === 1 ? sequenceIn(signedKey[0]) : undefined;
    const [owner, signature] = pair ?? [];
    if (pair?.length !== 2) return undefined;
    if (owner?.tag !== TAG.octetString || signature?.tag !== TAG.octetString) return undefined;
    return { owner: owner.content, signature: signature.content };
  }
  return undefined;
}

const isSelfSigned = (certificate: X509Certificate, key: KeyObject): boolean =>
  certificate.subject === certificate.issuer && certificate.verify(key);

/** Who is at the other end of a handshake in which this certificate was shown. Throws for anybody else than `expected`. */
export async function ownerOf(
  certificate: X509Certificate | undefined,
  expected: RemotePeer | undefined,
): Promise<RemotePeer> {
  if (certificate === undefined) throw new Error('the other end showed no certificate');
  const { raw, publicKey, issuerCertificate } = certificate;
  // Node tells the next one of the chain so, whether or not it has issued the first.
  if (issuerCertificate !== undefined) throw new Error('more than one certificate was shown');
  if (raw.length > CERTIFICATE_BYTES_MAX) throw new Error('the certificate is too long');
  const now = Date.now();
  if (certificate.validFromDate.getTime() > now || certificate.validToDate.getTime() < now)
    throw new Error('the certificate is not valid now');
  if (!isSelfSigned(certificate, publicKey)) throw new Error('the certificate is not self-signed');
  const signedKey = signedKeyOf(raw);
  if (!signedKey) throw new Error('the certificate does not tell whose it is');
  const owner = publicKeyFromProtobuf(signedKey.owner);
  // Of the key as it is used, not of the bytes that stood there: these might be read in two ways.
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const isOwners = await owner.verify(Buffer.concat([SIGNED_PREFIX, spki]), signedKey.signature);
  if (!isOwners) throw new Error('the certificate is not signed by its owner');
  const peer = peerIdFromPublicKey(owner);
  if (expected?.equals(peer) === false)
    throw new Error(`unexpected peer ${peer.toString()} instead of ${expected.toString()}`);
  return peer;
}
