/**
 * The bytes that lie on disks and travel between peers of different versions, to the last one. A change here is a
 * change of the protocol or the store's layout: raise its version and say how old and new understand each other.
 */
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../src/base/hash.ts';
import { encodeTaskId, parseTaskId } from '../../src/base/task-id.ts';
import { decodeFact, factBytes, type Statement, signFact } from '../../src/membership/fact.ts';
import type { Identity } from '../../src/ports/identity.ts';
import {
  contentHash,
  decodeRecord,
  encodeRecord,
  factBytes as factBytesOfRecord,
  joinRecords,
  type RecordState,
} from '../../src/records/record.ts';
import { decodeHeader, encodeHeader, type TaskHeader, toWire } from '../../src/tasks/facts.ts';
import { decodeValue, encodeValue } from '../../src/wire/codec.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../src/wire/envelope.ts';

const bytesOf = (hex: string): Uint8Array => {
  const bytes = fromHex(hex.replaceAll(/\s/g, ''));
  if (bytes === undefined) throw new Error('not hexadecimal');
  return bytes;
};
/** In lines of 40 bytes, as below. */
const show = (bytes: Uint8Array): string => toHex(bytes).replaceAll(/.{80}(?=.)/g, '$&\n');
const golden = (text: string): string => text.trim().replaceAll(/[ \t]/g, '');

describe('an envelope between members', () => {
  test.each<[Envelope, string]>([
    [{ kind: 'message', type: 'tail', body: { n: 1 } }, '840000647461696ca1616e01'],
    [
      { kind: 'request', id: 7, type: 'record.put', body: { id: 'x' } },
      '8401076a7265636f72642e707574a16269646178',
    ],
    [{ kind: 'reply', id: 7, body: { ok: true } }, '84020760a1626f6bf5'],
    [
      { kind: 'refusal', id: 300, code: 'BUSY', body: { message: 'full' } },
      '840319012c6442555359a1676d6573736167656466756c6c',
    ],
  ])('%j', (envelope, hex) => {
    expect(show(encodeEnvelope(envelope))).toBe(golden(hex));
    expect(decodeEnvelope(bytesOf(hex))).toEqual({ ok: true, value: envelope });
  });

  test('of a later version: more elements are ignored, more keys are kept', () => {
    const later = encodeValue([1, 7, 'record.put', { id: 'x', colour: 'red' }, 'new element']);
    expect(decodeEnvelope(later)).toEqual({
      ok: true,
      value: { kind: 'request', id: 7, type: 'record.put', body: { id: 'x', colour: 'red' } },
    });
  });
});

const HEADER: TaskHeader = {
  queue: 'default',
  type: 'exec',
  argv: ['echo', 'hi'],
  priority: 0,
  delay_ms: 0,
  attempts: 1,
  losses_max: 3,
  on_lost: 'retry',
  durability: 'auto',
  on_partition: 'wait',
  output: 'full',
  labels: { zone: 'a' },
  digest: '00112233445566778899aabbccddeeff',
};
const HEADER_HEX = `ad646172677682646563686f626869647479706564657865636571756575656764656661756c7466
64696765737478203030313132323333343435353636373738383939616162626363646465656666
666c6162656c73a1647a6f6e656161666f75747075746466756c6c676f6e5f6c6f73746572657472
7968617474656d707473016864656c61795f6d7300687072696f72697479006a6475726162696c69
7479646175746f6a6c6f737365735f6d6178036c6f6e5f706172746974696f6e6477616974`;

describe('the header of a task', () => {
  test('is these bytes', () => {
    expect(show(encodeHeader(HEADER))).toBe(golden(HEADER_HEX));
    expect(decodeHeader(bytesOf(HEADER_HEX))).toEqual(HEADER);
  });

  test('of a later version keeps what this one does not know', () => {
    const later = { ...HEADER, lane: 'l' };
    expect(decodeHeader(encodeHeader(later))).toEqual(later);
  });
});

const STORE_A = 'a0'.repeat(16);
const STORE_B = 'b1'.repeat(16);
const RECORD: RecordState = {
  id: '01BZKW5G40ADFXH5ZAS8G2KE52X8HKB4CCNGQ0T',
  kind: 'task',
  stamp: 1_700_000_000_000,
  header: new Uint8Array([0xa0]),
  blobDigest: '',
  firstHome: [STORE_A, STORE_B],
  facts: [
    {
      store: STORE_A,
      seq: 5,
      value: toWire({
        t: 'start',
        n: 1,
        run_id: 'r1',
        runner: 'p',
        runner_store: STORE_B,
        runner_boot: 2,
        runner_name: 'host',
        at: 1_700_000_000_001,
        dbl: false,
      }),
    },
    {
      store: STORE_B,
      seq: 9,
      value: toWire({ t: 'end', n: 1, run_id: 'r1', out: 'completed', at: 1_700_000_000_002 }),
    },
  ],
};
const RECORD_HEX = `855853a462696478273031425a4b57354734304144465848355a41533847324b4535325838484b42
3443434e47513054646b696e64647461736b657374616d701b0000018bcfe568006b626c6f625f64
69676573746041a08278206130613061306130613061306130613061306130613061306130613061
3061307820623162316231623162316231623162316231623162316231623162316231623158a183
7820613061306130613061306130613061306130613061306130613061306130613005a9616e0161
746573746172746261741b0000018bcfe568016364626cf46672756e5f69646272316672756e6e65
7261706b72756e6e65725f626f6f74026b72756e6e65725f6e616d6564686f73746c72756e6e6572
5f73746f726578206231623162316231623162316231623162316231623162316231623162316231
5852837820623162316231623162316231623162316231623162316231623162316231623109a561
6e01617463656e646261741b0000018bcfe56802636f757469636f6d706c657465646672756e5f69
64627231`;

describe('a record', () => {
  test('is these bytes, in the store and between peers', () => {
    expect(show(encodeRecord(RECORD))).toBe(golden(RECORD_HEX));
    expect(decodeRecord(bytesOf(RECORD_HEX))).toEqual(RECORD);
  });

  test('keeps facts of unknown types, and unknown members of known ones, byte for byte', () => {
    const later: RecordState = {
      ...RECORD,
      facts: [
        { store: STORE_A, seq: 1, value: { t: 'lane', name: 'l', deep: { raw: bytesOf('00ff') } } },
        { store: STORE_B, seq: 1, value: { t: 'cancel', reason: 'r', by: 'p', at: 1, why: [1] } },
      ],
    };
    const bytes = encodeRecord(later);
    const again = decodeRecord(bytes);
    expect(again).toEqual(later);
    expect(again && encodeRecord(again)).toEqual(bytes);
  });

  test('keeps what others have encoded, even in another way, to the byte', () => {
    const fact = { store: STORE_A, seq: 5, value: { t: 'x', n: 1 } };
    // 5 in two bytes, where one is enough.
    const loose = bytesOf(toHex(factBytesOfRecord(fact)).replace('3005a2', '301805a2'));
    const creation = encodeValue({ id: RECORD.id, kind: 'task', stamp: 1, blob_digest: '', z: 1 });
    const bytes = encodeValue([creation, RECORD.header, RECORD.firstHome, loose]);
    const record = decodeRecord(bytes);
    expect(record).toMatchObject({ facts: [fact], later: { z: 1 } });
    expect(record && encodeRecord(record)).toEqual(bytes);
    const tidy = record && { ...record, facts: [fact] };
    expect(record && tidy && contentHash(record) !== contentHash(tidy)).toBe(true);
    // And of two encodings of one fact all keep the same one.
    const both = record && tidy && [joinRecords(record, tidy), joinRecords(tidy, record)];
    expect(new Set(both?.map(contentHash)).size).toBe(1);
  });
});

/** Signs with a fixed byte: these tests are about bytes, not about Ed25519. */
const IDENTITY: Identity = {
  peerId: 'peer-1',
  sign: () => new Uint8Array([0x51]),
  verify: (_peer, _payload, signature) => signature[0] === 0x51,
};

describe('a fact about a member', () => {
  test.each<[Statement, string]>([
    [
      {
        kind: 'record',
        peerId: 'peer-1',
        epoch: 1,
        incarnation: 2,
        storeId: STORE_A,
        bootCount: 3,
        bootId: 'b007',
        name: 'host',
        addresses: ['127.0.0.1:26839'],
        labels: {},
        version: '0.1.0',
        features: [],
        execEnabled: true,
        stopping: false,
        left: false,
      },
      `8366706565722d3158dcb06465786563f5646b696e64667265636f7264646c656674f4646e616d65
64686f73746565706f636801666c6162656c73a067626f6f745f69646462303037676d6573685f69
64646d65736867706565725f696466706565722d316776657273696f6e65302e312e306866656174
75726573806873746f7070696e67f46873746f72655f696478206130613061306130613061306130
61306130613061306130613061306130613069616464726573736573816f3132372e302e302e313a
32363833396a626f6f745f636f756e74036b696e6361726e6174696f6e024151`,
    ],
    [
      { kind: 'verdict', peerId: 'p', epoch: 1, incarnation: 2, evidence: 'crash' },
      `8366706565722d315848a6646b696e6467766572646963746565706f636801676d6573685f696464
6d65736867706565725f696461706865766964656e63656563726173686b696e6361726e6174696f
6e024151`,
    ],
    [
      { kind: 'entry', peerId: 'p', name: 'n', admittedAtMs: 1_700_000_000_000 },
      `8366706565722d315842a5646b696e6465656e747279646e616d65616e676d6573685f6964646d65
736867706565725f696461706e61646d69747465645f61745f6d731b0000018bcfe568004151`,
    ],
    [
      { kind: 'revocation', peerId: 'p', revokedAtMs: 1_700_000_000_000, keeps: ['q'] },
      `8366706565722d315848a5646b696e646a7265766f636174696f6e656b65657073816171676d6573
685f6964646d65736867706565725f696461706d7265766f6b65645f61745f6d731b0000018bcfe5
68004151`,
    ],
  ])('%j', (statement, hex) => {
    expect(show(factBytes(signFact(IDENTITY, 'mesh', statement)))).toBe(golden(hex));
    const decoded = decodeFact(bytesOf(hex), 'mesh', IDENTITY.verify);
    expect(decoded).toMatchObject({ ok: true, value: { statement } });
  });

  test('of a later version is passed on as the bytes that were signed', () => {
    const fact = signFact(IDENTITY, 'mesh', {
      kind: 'entry',
      peerId: 'p',
      name: 'n',
      admittedAtMs: 1,
    });
    const payload = decodeValue(fact.signed.payload);
    if (!payload.ok) throw new Error(payload.error);
    const later = encodeValue({ ...(payload.value as object), colour: 'red' });
    const bytes = encodeValue(['peer-1', later, new Uint8Array([0x51])]);
    const decoded = decodeFact(bytes, 'mesh', IDENTITY.verify);
    expect(decoded.ok && toHex(factBytes(decoded.value))).toBe(toHex(bytes));
  });
});

test('a task id is 48 bits of time, three fingerprints and 48 of chance', () => {
  const parts = {
    createdMs: 1_700_000_000_000,
    random: '0123456789ab',
    fingerprints: ['deadbeef', '00000001', 'cafebabe'],
  };
  expect(encodeTaskId(parts)).toBe('00RQKZ5D00DXBDYXW000001SBZBNFG14D2PF2DB');
  expect(parseTaskId('00RQKZ5D00DXBDYXW000001SBZBNFG14D2PF2DB')).toEqual(parts);
});
