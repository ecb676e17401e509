/** What the muxer hands on in pieces leaves as one. */
import type { tls } from '@libp2p/tls';
import { encode } from 'it-length-prefixed';
import { expect, test } from 'vitest';
import { inWholeRecords } from '../../src/host/libp2p-records.ts';

type MakeEncrypter = ReturnType<typeof tls>;
type Encrypter = ReturnType<MakeEncrypter>;

/** An encrypter whose connections note what they are given. */
async function secured() {
  const sent: unknown[] = [];
  const connection = { send: (data: unknown) => sent.push(data) > 0 };
  const secure = () => Promise.resolve({ connection });
  const fake = { protocol: '/tls/1.0.0', secureInbound: secure, secureOutbound: secure };
  const make = inWholeRecords((() => fake as unknown as Encrypter) as MakeEncrypter);
  const encrypter = make({} as Parameters<MakeEncrypter>[0]);
  const made = await encrypter.secureInbound({} as Parameters<Encrypter['secureInbound']>[0]);
  return { sent, connection: made.connection };
}

test('a header and its data are one buffer, and what is larger than a record is left as it is', async () => {
  const { sent, connection } = await secured();
  const small = encode.single(new Uint8Array([7, 8, 9]));
  const large = encode.single(new Uint8Array(64 * 1_024));
  const plain = new Uint8Array([1, 2]);
  expect(connection.send(small)).toBe(true);
  connection.send(large);
  connection.send(plain);
  expect(sent).toEqual([new Uint8Array([3, 7, 8, 9]), large, plain]);
  expect(sent[0]).toBeInstanceOf(Uint8Array);
  expect(sent[1]).toBe(large);
});
