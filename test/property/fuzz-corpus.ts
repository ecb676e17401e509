/** Valid inputs of every decoder: what the fuzzer begins from. */
import { FrameQueue } from '../../src/host/libp2p-framing.ts';
import { type Statement, signFact } from '../../src/membership/fact.ts';
import { encodeAdmit, type Hello } from '../../src/membership/hello.ts';
import type { ControlMessage } from '../../src/membership/messages.ts';
import { encodeToken } from '../../src/membership/token.ts';
import { encodeRecord, type RecordState } from '../../src/records/record.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import type { WireValue } from '../../src/wire/codec.ts';
import {
  endOf,
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
  withFacts,
} from '../support/task-records.ts';

const text = (value: string): Uint8Array => Buffer.from(value);

export const MESH = '00112233445566778899aabbccddeeff';
export const NOW = 1_767_225_700_000;
export const identity = createSimIdentity('fuzz');
export const other = createSimIdentity('other');
export const turn = { epoch: 3, incarnation: 2 };
export const STORE = storeOf('a');

export const statements: readonly Statement[] = [
  {
    ...{ kind: 'record', peerId: identity.peerId, ...turn, storeId: STORE, bootCount: 4 },
    ...{ bootId: '0011223344556677', name: 'n', addresses: ['127.0.0.1:1', '[::1]:2'] },
    ...{ labels: { zone: 'a' }, version: '0.1.0', features: ['f'], execEnabled: true },
    ...{ stopping: false, left: false },
  },
  {
    ...{ kind: 'verdict', peerId: other.peerId, ...turn, evidence: 'silence' },
    ...{ seenBy: ['q'], silenceMs: 7_000 },
  },
  { kind: 'entry', peerId: other.peerId, name: 'o', admittedAtMs: NOW },
  { kind: 'revocation', peerId: other.peerId, revokedAtMs: NOW, keeps: ['k'], keepsMeshes: ['m'] },
  { kind: 'merge', peerId: other.peerId, mesh: 'ff'.repeat(16), mergedAtMs: NOW },
  { kind: 'removal', peerId: other.peerId, storeId: storeOf('b'), removedAtMs: NOW },
];
export const facts = statements.map((statement) => signFact(identity, MESH, statement));
export const wireFacts = facts.map(
  (fact): WireValue => [fact.signed.by, fact.signed.payload, fact.signed.signature],
);

export const load = {
  slots: 4,
  slotsFree: 1,
  active: 3,
  waiting: 9,
  workers: { t: { total: 2, free: 1 } },
};
export const messages: readonly ControlMessage[] = [
  { type: 'ready' },
  { type: 'heartbeat', seq: 7, load: { ...load, setAside: 1 } },
  { type: 'opinion', peerId: 'p', turn, says: 'crash' },
  { type: 'accused', turn, level: 'dead' },
  { type: 'view', hash: '00ff' },
  { type: 'digest', lines: new Map([['record/p', '00112233445566778899aabbccddeeff']]) },
  { type: 'delta', facts: wireFacts, want: ['record/p'] },
  { type: 'goodbye', reason: 'leave' },
];

export const hello: Hello = {
  ...{ meshId: MESH, storeId: STORE, bootCount: 4, bootId: 'b', bootIds: ['a', 'b'], seq: 9 },
  ...{
    spans: [
      { start: 1, end: 5 },
      { start: 9, end: undefined },
    ],
    versions: { min: 1, max: 1 },
  },
  ...{
    features: ['f'],
    record: wireFacts[0] ?? null,
    chain: wireFacts.slice(2, 3),
    merges: wireFacts.slice(4, 5),
  },
  ...{ known: { ...turn, dead: true }, away: { storeId: STORE, ttlMs: 1, wallMs: NOW } },
};
const side = { meshId: MESH, root: 'r', members: 3, revoked: ['p'] };
const merging = { type: 'merge', isAgreed: true, withCuts: false } as const;
export const admits = [
  { type: 'hello', hello } as const,
  { type: 'redeem', secret: new Uint8Array(16), name: 'n' } as const,
  { type: 'welcome', meshId: MESH, root: 'r', facts: wireFacts } as const,
  { type: 'noted' } as const,
  { ...merging, secret: new Uint8Array(16), side, facts: wireFacts } as const,
  { type: 'terms', side, cuts: ['n'] } as const,
  { type: 'merged', meshId: MESH, root: 'r', facts: wireFacts } as const,
].map(encodeAdmit);

export const ends = endOf('run1', {
  out: 'completed',
  exit: 0,
  stdout: text('hi'),
  res: '{"a":1}',
});
export const record = withFacts(
  newRecord([STORE, storeOf('b')], { header: { argv: ['true'], labels: { a: 'b' } } }),
  factOf(STORE, 1, startOf('run1')),
  factOf(STORE, 2, { t: 'hold', run_id: 'run1', ms: 5, at: NOW }),
  factOf(STORE, 3, ends),
  factOf(STORE, 4, { t: 'cancel', reason: 'r', by: 'x', at: NOW }),
  factOf(STORE, 5, { t: 'home', store: storeOf('c'), at: NOW }),
  factOf(storeOf('b'), 1, finalOf({ run_id: 'run1', at: NOW, drop_at: NOW })),
);
export const key: RecordState = {
  ...{ id: 'key-0011', kind: 'key', stamp: NOW, header: new Uint8Array(1), blobDigest: '' },
  ...{
    firstHome: [STORE],
    facts: [{ store: STORE, seq: 1, value: { t: 'id', id: 'x', g: 1, at: NOW } }],
  },
};
export const bytesOf = (of: RecordState): Uint8Array => encodeRecord(of);

export const token = encodeToken({
  ...{ meshId: MESH, inviter: identity.peerId, addresses: ['10.0.0.1:26839'] },
  ...{ secret: new Uint8Array(16), expiresAtMs: NOW },
});

export const frames = new FrameQueue();
for (const length of [0, 1, 130, 20_000]) frames.push(new Uint8Array(length).fill(7));

export const rpc = (method: string, params: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
export const exec = { argv: ['echo', 'x'], cwd: '/', env: { A: 'b' }, stdin: 'in' };
export const lines = [
  rpc('task.submit', {
    exec,
    queue: 'q',
    priority: 1,
    delay_ms: 5,
    attempts: 3,
    labels: { a: 'b' },
  }),
  rpc('task.submit', { type: 't', payload: { deep: [1, [2, { a: null }]] }, dedupe_key: 'k' }),
  rpc('task.list', { limit: 10, state: 'active' }),
  rpc('events.subscribe', { topics: ['task'] }),
  `[${rpc('system.status', {})},${rpc('task.get', { id: record.id })}]`,
];
