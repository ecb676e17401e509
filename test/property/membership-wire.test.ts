/** Membership messages and facts: what is written is read back, and no bytes make the decoder throw. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/hash.ts';
import { decodeFact, factBytes, signFact } from '../../src/membership/fact.ts';
import { decodeAdmit, encodeAdmit } from '../../src/membership/hello.ts';
import { WORKER_TYPE_BYTES_MAX, WORKER_TYPES_TOLD_MAX } from '../../src/membership/limits.ts';
import {
  type ControlMessage,
  decodeMessage,
  encodeMessage,
} from '../../src/membership/messages.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { encodeValue, type WireValue } from '../../src/wire/codec.ts';

const turn = { epoch: 3, incarnation: 2 };
const load = {
  slots: 4,
  slotsFree: 1,
  active: 3,
  waiting: 9,
  workers: { t: { total: 2, free: 1 } },
};
const messages: ControlMessage[] = [
  { type: 'ready' },
  { type: 'pulse' },
  { type: 'pulse', nonce: 7 },
  { type: 'accused', turn: { epoch: 1, incarnation: 0 }, level: 'suspect', nonce: 7 },
  { type: 'heartbeat', seq: 7, load },
  { type: 'heartbeat', seq: 8, load: undefined },
  { type: 'opinion', peerId: 'p', turn, says: 'crash' },
  { type: 'accused', turn, level: 'dead' },
  { type: 'view', hash: '00ff' },
  { type: 'digest', lines: new Map([['record/p', '0011223344556677']]) },
  { type: 'delta', facts: [], want: ['record/p'] },
  { type: 'goodbye', reason: 'leave' },
];

describe('messages between members', () => {
  it.each(messages)('$type comes back as it was sent', (message) => {
    expect(decodeMessage(encodeMessage(message))).toEqual({ ok: true, value: message });
  });

  it('are these bytes on the wire', () => {
    expect(messages.map((message) => toHex(encodeMessage(message)))).toMatchInlineSnapshot(`
      [
        "840000657265616479a0",
        "8400006570756c7365a0",
        "8400006570756c7365a1656e6f6e636507",
        "8400006761636375736564a46565706f636801656c6576656c6773757370656374656e6f6e6365076b696e6361726e6174696f6e00",
        "84000069686561727462656174a26373657107646c6f6164a565736c6f74730466616374697665036777616974696e670967776f726b657273a161748202016a736c6f74735f6672656501",
        "84000069686561727462656174a16373657108",
        "840000676f70696e696f6ea464736179736563726173686565706f63680367706565725f696461706b696e6361726e6174696f6e02",
        "8400006761636375736564a36565706f636803656c6576656c64646561646b696e6361726e6174696f6e02",
        "8400006476696577a164686173686430306666",
        "84000066646967657374a1656c696e65738182687265636f72642f70480011223344556677",
        "8400006564656c7461a26477616e7481687265636f72642f7065666163747380",
        "84000067676f6f64627965a166726561736f6e656c65617665",
      ]
    `);
  });

  it('a heartbeat tells of so many types of workers, and no more', () => {
    const withTypes = (types: string[]) => {
      const workers = Object.fromEntries(types.map((type) => [type, { total: 2, free: 1 }]));
      return encodeMessage({ type: 'heartbeat', seq: 1, load: { ...load, workers } });
    };
    const most = Array.from({ length: WORKER_TYPES_TOLD_MAX }, (_, i) => `t${i}`);
    expect(decodeMessage(withTypes(most))).toMatchObject({ ok: true });
    expect(decodeMessage(withTypes([...most, 'one more']))).toMatchObject({ ok: false });
    expect(decodeMessage(withTypes(['x'.repeat(WORKER_TYPE_BYTES_MAX)]))).toMatchObject({
      ok: true,
    });
    expect(decodeMessage(withTypes(['x'.repeat(WORKER_TYPE_BYTES_MAX + 1)])).ok).toBe(false);
  });

  it('any bytes are a message or a refusal, never a throw', () => {
    const identity = createSimIdentity('x');
    const value = fc.jsonValue().map((json) => encodeValue(json as WireValue));
    const typed = fc
      .tuple(
        fc.constantFrom(...messages.map(({ type }) => type)),
        fc.dictionary(fc.string(), fc.jsonValue()),
      )
      .map(([type, body]) => encodeValue([0, 0, type, body as WireValue]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), value, typed), (bytes) => {
        decodeMessage(bytes);
        decodeAdmit(bytes);
        decodeFact(bytes, 'mesh', (...args) => identity.verify(...args));
      }),
      { numRuns: 500 },
    );
  });

  it('facts with one flipped bit are refused, or still the same statement', () => {
    const identity = createSimIdentity('x');
    const verify = identity.verify.bind(identity);
    const fact = signFact(identity, 'mesh', {
      kind: 'verdict',
      peerId: 'p',
      epoch: 1,
      incarnation: 0,
      evidence: 'silence',
      seenBy: ['q'],
      silenceMs: 7_000,
    });
    const bytes = factBytes(fact);
    expect(decodeFact(bytes, 'mesh', verify)).toEqual({ ok: true, value: fact });
    expect(decodeFact(bytes, 'other', verify)).toMatchObject({ ok: false });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const read = decodeFact(flipped, 'mesh', verify);
      if (read.ok) expect(read.value.statement).toEqual(fact.statement);
    }
  });

  it('an admit frame keeps its parts', () => {
    const frame = { type: 'redeem', secret: new Uint8Array(16), name: 'n' } as const;
    expect(decodeAdmit(encodeAdmit(frame))).toEqual({ ok: true, value: frame });
    expect(decodeAdmit(encodeValue({ type: 'hello' }))).toMatchObject({ ok: false });
  });
});
