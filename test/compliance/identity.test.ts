/** Identity: one suite on both twins, then the key file. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadOrCreateIdentity } from '../../src/host/identity.ts';
import type { Identity } from '../../src/ports/identity.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

function identitySuite(create: (name: string) => Promise<Identity>): void {
  let a: Identity;
  let b: Identity;
  beforeAll(async () => {
    [a, b] = [await create('a'), await create('b')];
  });

  test('what one signs, the other verifies', () => {
    const bytes = new Uint8Array([1, 2, 3]);
    const signature = a.sign(bytes);
    expect(signature).toHaveLength(64);
    expect(b.verify(a.peerId, bytes, signature)).toBe(true);
    expect(a.verify(a.peerId, bytes, signature)).toBe(true);
  });

  test('a PeerId looks like one, and two peers have two', () => {
    expect(a.peerId).toMatch(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);
    expect(a.peerId).not.toBe(b.peerId);
  });

  test('any change of signer, bytes or signature is seen', () => {
    const anyBytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(anyBytes, fc.nat(), fc.nat(7), (bytes, at, bit) => {
        const signature = a.sign(bytes);
        expect(b.verify(a.peerId, bytes, signature)).toBe(true);
        expect(b.verify(b.peerId, bytes, signature)).toBe(false);
        expect(b.verify(a.peerId, new Uint8Array([...bytes, 0]), signature)).toBe(false);
        const flipped = Uint8Array.from(signature, (byte, i) =>
          i === at % 64 ? byte ^ (1 << bit) : byte,
        );
        expect(b.verify(a.peerId, bytes, flipped)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  test('malformed input is false, never a throw', () => {
    const bytes = new Uint8Array([1]);
    const signature = a.sign(bytes);
    for (const peerId of [
      '',
      'nobody',
      `${a.peerId}1`,
      a.peerId.slice(1),
      '\u0000',
      'z'.repeat(500),
    ]) {
      expect(b.verify(peerId, bytes, signature), peerId).toBe(false);
    }
    for (const length of [0, 1, 63, 65, 1_000]) {
      expect(b.verify(a.peerId, bytes, new Uint8Array(length))).toBe(false);
    }
    fc.assert(
      fc.property(fc.string(), fc.uint8Array(), (peerId, junk) => !b.verify(peerId, bytes, junk)),
    );
  });
}

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'covey-identity-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function loaded(path: string) {
  const result = await loadOrCreateIdentity(path);
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

async function refusal(path: string): Promise<string> {
  const result = await loadOrCreateIdentity(path);
  return result.ok ? 'it was loaded' : result.error;
}

describe('simulated', () => {
  identitySuite((name) => Promise.resolve(createSimIdentity(name)));

  test('a name gives the same peer in every run', () => {
    expect(createSimIdentity('p1').peerId).toBe(createSimIdentity('p1').peerId);
    expect(createSimIdentity('p1').sign(new Uint8Array([1]))).toEqual(
      createSimIdentity('p1').sign(new Uint8Array([1])),
    );
  });
});

describe('real', () => {
  identitySuite(async (name) => (await loaded(join(directory, name))).identity);

  test('the key survives a restart; only its owner may read it', async () => {
    const path = join(directory, 'kept');
    const first = await loaded(path);
    const second = await loaded(path);
    expect(second.identity.peerId).toBe(first.identity.peerId);
    expect(peerIdFromPrivateKey(second.privateKey).toString()).toBe(first.identity.peerId);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await readdir(directory)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test("signatures are those of libp2p's own key", async () => {
    const { identity, privateKey } = await loaded(join(directory, 'libp2p'));
    const bytes = new Uint8Array([5, 6, 7]);
    expect(identity.sign(bytes)).toEqual(new Uint8Array(await privateKey.sign(bytes)));
    expect(await privateKey.publicKey.verify(bytes, identity.sign(bytes))).toBe(true);
  });

  test('a damaged, foreign, open or strange key file is refused with a sentence, and kept', async () => {
    const damaged = join(directory, 'damaged');
    await writeFile(damaged, 'no key', { mode: 0o600 });
    expect(await refusal(damaged)).toContain(`the key file ${damaged} is damaged`);
    expect(await readFile(damaged, 'utf8')).toBe('no key');

    const empty = join(directory, 'empty');
    await writeFile(empty, '', { mode: 0o600 });
    expect(await refusal(empty)).toContain('is damaged');

    const open = join(directory, 'open');
    await loaded(open);
    await chmod(open, 0o640);
    expect(await refusal(open)).toContain('run chmod 600');

    const foreign = join(directory, 'foreign');
    await writeFile(foreign, privateKeyToProtobuf(await generateKeyPair('secp256k1')), {
      mode: 0o600,
    });
    expect(await refusal(foreign)).toContain('Ed25519');

    const large = join(directory, 'large');
    await writeFile(large, new Uint8Array(5_000), { mode: 0o600 });
    expect(await refusal(large)).toContain('is no key');

    const folder = join(directory, 'folder');
    await mkdir(folder);
    expect(await refusal(folder)).toContain('not a regular file');
  });

  test('a place that cannot be written is refused with a sentence', async () => {
    expect(await refusal(join(directory, 'missing', 'key'))).toContain('cannot be written');
  });
});
