/** TLS as libp2p's specification has it: with libp2p's own on the other side, and with whoever lies about who he is. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { multiaddrConnectionPair } from '@libp2p/utils';
import { yamux } from '@libp2p/yamux';
import fc from 'fast-check';
import { createLibp2p, type Libp2p } from 'libp2p';
import { afterEach, describe, expect, it } from 'vitest';
import { makeCertificate, ownerOf, signedKeyOf } from '../../src/host/libp2p-certificate.ts';
import { nodeTls } from '../../src/host/libp2p-tls.ts';

const newKey = () => generateKeyPair('Ed25519');
const shown = async (key: Awaited<ReturnType<typeof newKey>>): Promise<X509Certificate> =>
  new X509Certificate((await makeCertificate(key)).cert);

describe('the certificate', () => {
  it('tells whose it is', async () => {
    const key = await newKey();
    const peer = peerIdFromPrivateKey(key);
    const certificate = await shown(key);
    expect((await ownerOf(certificate, undefined)).toString()).toBe(peer.toString());
    expect((await ownerOf(certificate, peer)).equals(peer)).toBe(true);
  });

  it('is nobody else’s', async () => {
    const other = peerIdFromPrivateKey(await newKey());
    await expect(ownerOf(await shown(await newKey()), other)).rejects.toThrow(/unexpected peer/);
    await expect(ownerOf(undefined, other)).rejects.toThrow(/no certificate/);
  });

  it('is refused with a signature of another owner, or for another key', async () => {
    const [a, b] = [await shown(await newKey()), await shown(await newKey())];
    const [ours, theirs] = [signedKeyOf(a.raw), signedKeyOf(b.raw)];
    if (!ours || !theirs) throw new Error('a certificate without its extension');
    // The same lengths, so the rest of it stays what it was; its own signature is then wrong, which is seen first.
    for (const part of ['owner', 'signature'] as const) {
      const forged = Buffer.from(a.raw);
      forged.set(theirs[part], forged.indexOf(ours[part]));
      await expect(ownerOf(new X509Certificate(forged), undefined)).rejects.toThrow(/certificate/);
    }
  });

  it('is read with care: any change of it is refused, and no bytes are too odd to be looked at', async () => {
    const { raw } = await shown(await newKey());
    await fc.assert(
      fc.asyncProperty(fc.nat(raw.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const changed = Buffer.from(raw);
        changed[at] = (changed[at] ?? 0) ^ by;
        signedKeyOf(changed);
        let certificate: X509Certificate;
        try {
          certificate = new X509Certificate(changed);
        } catch {
          return; // none at all, and OpenSSL would not have let it through
        }
        await expect(ownerOf(certificate, undefined)).rejects.toThrow();
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        signedKeyOf(bytes);
        signedKeyOf(raw.subarray(0, bytes.length));
      }),
    );
  });
});

/** What the server and the client of a connection see where both show these. */
async function seenBy(cert: string, key: string): Promise<(X509Certificate | undefined)[]> {
  const common = { cert, key, rejectUnauthorized: false };
  const server = createServer({ ...common, requestCert: true });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const client = connect({ port, host: '127.0.0.1', ...common });
  const [served] = await accepted;
  const seen = [served, client].map((socket) => socket.getPeerX509Certificate());
  client.destroy();
  server.close();
  return seen;
}

it('a chain of more than one certificate is refused, whatever the others are', async () => {
  const [key, other] = [await newKey(), await makeCertificate(await newKey())];
  const own = await makeCertificate(key);
  const peer = peerIdFromPrivateKey(key);
  for (const seen of await seenBy(own.cert, own.key))
    expect((await ownerOf(seen, undefined)).equals(peer)).toBe(true);
  for (const seen of await seenBy(own.cert + other.cert, own.key))
    await expect(ownerOf(seen, peer)).rejects.toThrow(/more than one certificate/);
});

it('a certificate that could not be made is made for the next connection', async () => {
  const privateKey = await newKey();
  let attempts = 0;
  const failsOnce = {
    ...privateKey,
    publicKey: privateKey.publicKey,
    sign: (bytes: Uint8Array) => {
      attempts += 1;
      if (attempts === 1) throw new Error('no key at the moment');
      return privateKey.sign(bytes);
    },
  };
  const upgrader = { getStreamMuxers: () => new Map() };
  const encrypter = nodeTls()({ privateKey: failsOnce as typeof privateKey, upgrader });
  const attempt = () => {
    const [ours, theirs] = multiaddrConnectionPair();
    const controller = new AbortController();
    // A handshake has begun: that is enough.
    theirs.addEventListener('message', () => controller.abort());
    return encrypter.secureOutbound(ours, { signal: controller.signal });
  };
  await expect(attempt()).rejects.toThrow('no key at the moment');
  await expect(attempt()).rejects.toThrow('took too long');
  expect(attempts).toBe(2);
});

const nodes: Libp2p[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
});

async function start(encrypter: typeof tls): Promise<Libp2p> {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter()],
    streamMuxers: [yamux()],
  });
  nodes.push(node);
  return node;
}

describe.each([
  ['libp2p’s own', tls, nodeTls],
  ['ours to libp2p’s own', nodeTls, tls],
  ['both ours', nodeTls, nodeTls],
] as const)('a connection: %s', (_, dialler, listener) => {
  it('is encrypted, proves both ends, and carries a megabyte', async () => {
    const [a, b] = [await start(dialler as typeof tls), await start(listener as typeof tls)];
    const received = new Promise<number>((resolve) => {
      void b.handle('/echo/1', async (stream) => {
        let bytes = 0;
        for await (const chunk of stream) bytes += chunk.byteLength;
        resolve(bytes);
        await stream.close();
      });
    });
    const connection = await a.dial(b.getMultiaddrs());
    expect(connection.encryption).toBe('/tls/1.0.0');
    expect(connection.multiplexer).toBe('/yamux/1.0.0');
    expect(connection.remotePeer.equals(b.peerId)).toBe(true);
    const stream = await connection.newStream('/echo/1');
    for (let i = 0; i < 16; i++) {
      if (!stream.send(new Uint8Array(64 * 1_024))) await stream.onDrain();
    }
    await stream.close();
    expect(await received).toBe(1_024 * 1_024);
    expect(b.getPeers().map(String)).toEqual([a.peerId.toString()]);
  });
});
