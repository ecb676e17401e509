/**
 * Every decoder of bytes that come from outside (other peers, strangers, clients, a disk, a file, a person) in one
 * table: valid inputs to begin from, and what it makes of any input. For each holds: it answers and never throws, and
 * what it took it takes again, to the same bytes. fuzz.test.ts runs a share; `npm run fuzz` runs millions.
 */
import { createHash } from 'node:crypto';
import { parse as parseYaml } from 'yaml';
import { METHODS } from '../../src/api/methods.ts';
import { type Random, randomBelow } from '../../src/base/random.ts';
import { parseRfc3339 } from '../../src/base/rfc3339.ts';
import { encodeTaskId, parseTaskId } from '../../src/base/task-id.ts';
import { parseDuration, parseSize } from '../../src/base/units.ts';
import { readReport } from '../../src/control/checkup.ts';
import { readLine } from '../../src/control/jsonrpc.ts';
import { LineSplitter } from '../../src/control/lines.ts';
import { checkParams, isMethodName } from '../../src/control/params.ts';
import { mergeConfig } from '../../src/host/config.ts';
import { formatAddress, parseAddress } from '../../src/host/libp2p-address.ts';
import { FrameDecoder, FrameQueue } from '../../src/host/libp2p-framing.ts';
import { decodeFact, factBytes } from '../../src/membership/fact.ts';
import { decodeAdmit, encodeAdmit } from '../../src/membership/hello.ts';
import { decodeMessage, encodeMessage } from '../../src/membership/messages.ts';
import { decodeToken, encodeToken } from '../../src/membership/token.ts';
import { factKey } from '../../src/membership/view.ts';
import { checkBatch } from '../../src/ports/store.ts';
import { seal, unseal } from '../../src/records/checked-store.ts';
import { MerkleTree } from '../../src/records/merkle-tree.ts';
import { clockOf, contentHash, decodeRecord, joinRecords } from '../../src/records/record.ts';
import { readAnswer } from '../../src/records/sync-items.ts';
import { answerLeaves, answerSlots } from '../../src/records/sync-sums.ts';
import { decodeTombstone, encodeTombstone } from '../../src/records/tombstone.ts';
import { nextStep } from '../../src/tasks/decide.ts';
import { keyRules } from '../../src/tasks/dedupe.ts';
import { decodeBlob, decodeHeader, encodeBlob, encodeHeader } from '../../src/tasks/facts.ts';
import { taskOf, taskRules } from '../../src/tasks/task.ts';
import { historyOf, viewOf } from '../../src/tasks/view.ts';
import { decodeValue, encodeValue } from '../../src/wire/codec.ts';
import { decodeEnvelope, encodeEnvelope, isWireMap } from '../../src/wire/envelope.ts';
import { headerOf } from '../support/task-records.ts';
import {
  admits,
  bytesOf,
  facts,
  frames,
  identity,
  key,
  lines,
  MESH,
  messages,
  NOW,
  record,
  token,
  wireFacts,
} from './fuzz-corpus.ts';
import { drawMutations, type Mutation, mutate } from './fuzz-mutate.ts';

/** Bytes: taken, and written again so. `taken`: taken, and there is no way to write it. */
export type Read = Uint8Array | 'taken' | 'refused';

export interface Target {
  readonly name: string;
  readonly corpus: readonly Uint8Array[];
  read(bytes: Uint8Array): Read;
  /** Puts a right checksum on mutated bytes, so that more than the checksum is tried. */
  readonly reseal?: (bytes: Uint8Array) => Uint8Array;
  /** Of the inputs that others get: it is slow, and not reached from outside. */
  readonly share?: number;
}

const text = (value: string): Uint8Array => Buffer.from(value);
const decoded = new TextDecoder();
const ofText = (
  name: string,
  corpus: readonly string[],
  read: (text: string) => string | 'taken' | undefined,
): Target => ({
  name,
  corpus: corpus.map(text),
  read: (bytes) => {
    const again = read(decoded.decode(bytes));
    return again === undefined ? 'refused' : again === 'taken' ? 'taken' : text(again);
  },
});

// ---- the table --------------------------------------------------------------------------------------------------

/** What is done with a record that came from elsewhere, by peers and for clients. */
function useRecord(bytes: Uint8Array): Read {
  const read = decodeRecord(bytes);
  if (read === undefined) return 'refused';
  const rules = read.kind === 'task' ? taskRules : keyRules;
  contentHash(read);
  clockOf(read);
  joinRecords(read, read.kind === 'task' ? record : key);
  checkBatch([{ put: `d/${read.id}`, value: bytes }]);
  if (rules.isReadable(read)) {
    rules.isFinal(read);
    rules.dropAtMs(read);
    if (read.kind === 'task') {
      const task = taskOf(read);
      nextStep(task, NOW);
      JSON.stringify(viewOf(read, NOW));
      JSON.stringify(historyOf(read, (store) => store));
    }
  }
  return bytesOf(read);
}

/** Cut anywhere, as a stream is; then written again as a queue writes it. */
function readFrames(bytes: Uint8Array): Read {
  const decoder = new FrameDecoder(32 * 1_024);
  const again = new FrameQueue();
  for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 3) % 4_097) {
    const result = decoder.push(bytes.subarray(at, at + step));
    for (const frame of result.frames) again.push(frame);
    if (decoder.heldBytes > bytes.length + 64 * 1_024) throw new Error('it holds more than came');
    if (!result.ok) return 'refused';
  }
  return again.take(1 << 30) ?? 'taken';
}

function readLines(bytes: Uint8Array): Read {
  let isTaken = false;
  const splitter = new LineSplitter(16 * 1_024, {
    line: (line) => {
      const read = readLine(line);
      const messages =
        read.kind === 'single' ? [read.message] : read.kind === 'batch' ? read.messages : [];
      for (const message of messages) {
        if (message.kind === 'invalid' || !isMethodName(message.method)) continue;
        if (checkParams(message.method, message.params).ok) isTaken = true;
      }
    },
    tooLong: () => undefined,
  });
  splitter.push(bytes);
  splitter.push(text('\n'));
  return isTaken ? 'taken' : 'refused';
}

const withSum = (body: Uint8Array): Uint8Array =>
  Buffer.concat([body, createHash('sha256').update(body).digest().subarray(0, 4)]);
const tokenText = (bytes: Uint8Array): string =>
  `covey1-${Buffer.from(bytes).toString('base64url')}`;
const TOKEN_BODY = Buffer.from(token.slice('covey1-'.length), 'base64url').subarray(0, -4);

const map = (bytes: Uint8Array) => {
  const value = decodeValue(bytes);
  return value.ok && isWireMap(value.value) ? value.value : undefined;
};

const tree = new MerkleTree();
for (const leaf of [1, 300, 16_000]) tree.add(leaf, 77n);

const SEALED = 'r/x';
const verify = (): boolean => true;

export const TARGETS: readonly Target[] = [
  {
    name: 'wire value',
    corpus: [...admits, bytesOf(record), encodeValue([1, -1, 1.5, 'x', null, { a: [true] }])],
    read: (bytes) => {
      const value = decodeValue(bytes);
      return value.ok ? encodeValue(value.value) : 'refused';
    },
  },
  {
    name: 'envelope',
    corpus: [
      encodeEnvelope({ kind: 'request', id: 7, type: 'rec.ask', body: { ids: ['x'] } }),
      encodeEnvelope({ kind: 'reply', id: 7, body: {} }),
      encodeEnvelope({ kind: 'refusal', id: 7, code: 'BUSY', body: { message: 'm' } }),
      encodeEnvelope({ kind: 'message', type: 'news', body: { facts: wireFacts } }),
    ],
    read: (bytes) => {
      const envelope = decodeEnvelope(bytes);
      return envelope.ok ? encodeEnvelope(envelope.value) : 'refused';
    },
  },
  {
    name: 'admit frame',
    corpus: admits,
    read: (bytes) => {
      const frame = decodeAdmit(bytes);
      return frame.ok ? encodeAdmit(frame.value) : 'refused';
    },
  },
  {
    name: 'control message',
    corpus: messages.map(encodeMessage),
    read: (bytes) => {
      const message = decodeMessage(bytes);
      return message.ok ? encodeMessage(message.value) : 'refused';
    },
  },
  {
    name: 'fact',
    corpus: facts.map(factBytes),
    // Whatever is signed: the statement itself is what is tried.
    read: (bytes) => {
      const fact = decodeFact(bytes, MESH, verify);
      if (!fact.ok) return 'refused';
      // Its name becomes a key of the peer book; the store throws at one that is none.
      checkBatch([{ put: `facts/${factKey(fact.value)}`, value: bytes }]);
      return factBytes(fact.value);
    },
  },
  {
    name: 'signature',
    corpus: facts.map(factBytes),
    read: (bytes) => {
      const fact = decodeFact(bytes, MESH, (...args) => identity.verify(...args));
      return fact.ok ? factBytes(fact.value) : 'refused';
    },
  },
  ofText('token', [token], (value) => {
    const read = decodeToken(value);
    return read.ok ? encodeToken(read.value) : undefined;
  }),
  {
    name: 'token body',
    corpus: [TOKEN_BODY],
    reseal: withSum,
    read: (bytes) => {
      const read = decodeToken(tokenText(bytes));
      return read.ok
        ? Buffer.from(encodeToken(read.value).slice('covey1-'.length), 'base64url')
        : 'refused';
    },
  },
  { name: 'record', corpus: [bytesOf(record), bytesOf(key)], read: useRecord },
  {
    name: 'task header',
    corpus: [
      encodeHeader(headerOf({ argv: ['a'], cwd: '/', backoff: { type: 'fixed', delay_ms: 1 } })),
    ],
    read: (bytes) => {
      const header = decodeHeader(bytes);
      return header === undefined ? 'refused' : encodeHeader(header);
    },
  },
  {
    name: 'task blob',
    corpus: [encodeBlob({ payload: '{"a":1}', stdin: text('in'), env: { A: 'b' } })],
    read: (bytes) => encodeBlob(decodeBlob(bytes)),
  },
  {
    name: 'tombstone',
    corpus: [encodeValue(encodeTombstone({ final: 'completed', digest: 'd', droppedWallMs: NOW }))],
    read: (bytes) => {
      const stone = decodeTombstone(map(bytes));
      return stone === undefined ? 'refused' : encodeValue(encodeTombstone(stone));
    },
  },
  {
    name: 'sync sums',
    corpus: [
      encodeValue({ cut: NOW, sums: tree.slotSums() }),
      encodeValue({ cut: NOW, slots: [0, 1, 62], sums: new Uint8Array(3 * 256 * 8) }),
    ],
    read: (bytes) => {
      const body = map(bytes);
      if (body === undefined) return 'refused';
      const answers = [answerSlots(tree, body), answerLeaves(tree, body)];
      return answers.some((answer) => answer !== undefined) ? 'taken' : 'refused';
    },
  },
  {
    name: 'sync items',
    corpus: [
      encodeValue({
        ...{ differing: ['x'], wanted: ['y'], offered: ['z'], upto: [5, 'x'] },
        stones: [{ id: 'x', final: 'completed', digest: 'd', at: NOW }],
      }),
    ],
    read: (bytes) => {
      const body = map(bytes);
      if (body === undefined) return 'refused';
      readAnswer(body);
      return 'taken';
    },
  },
  {
    name: 'checkup report',
    corpus: [
      encodeValue({
        ...{ version: '1', wall_ms: NOW, linked: ['p'], room: 'low', slots: 3 },
        ...{ store: { damaged: 0 }, tasks: { looked_at: 1, below_required: 0, below_copies: 0 } },
      }),
    ],
    read: (bytes) => (readReport(map(bytes)).ok ? 'taken' : 'refused'),
  },
  {
    name: 'store value',
    corpus: [seal(SEALED, bytesOf(record)), seal(SEALED, new Uint8Array(3))],
    read: (bytes) => {
      const value = unseal(SEALED, Uint8Array.from(bytes));
      return value === undefined ? 'refused' : seal(SEALED, value);
    },
  },
  { name: 'frames', corpus: [frames.take(1 << 20) ?? new Uint8Array(0)], read: readFrames },
  { name: 'control line', corpus: lines.map(text), read: readLines },
  ofText('task id', [record.id, record.id.toLowerCase()], (value) => {
    const id = parseTaskId(value);
    if (id === undefined) return undefined;
    // A store without a fingerprint has no place in the middle.
    return id.fingerprints.length === 2 ? encodeTaskId(id) : 'taken';
  }),
  ofText('address', ['127.0.0.1:80', '[::1]:26839', 'host.example:1'], (value) => {
    const address = parseAddress(value);
    return address === undefined ? undefined : formatAddress(address);
  }),
  ofText('duration, size, time', ['90m', '64KiB', '2026-01-01T00:00:00.000Z'], (value) => {
    const isTaken =
      parseDuration(value).ok || parseSize(value).ok || parseRfc3339(value) !== undefined;
    return isTaken ? 'taken' : undefined;
  }),
  {
    share: 0.1,
    ...ofText(
      'configuration',
      [
        'name: a\nlabels: {zone: b}\nslots: 3\nshutdown_timeout: 5s\n',
        '{"copies": 3, "bind": "h:1"}',
      ],
      (value) => {
        let values: unknown;
        try {
          values = parseYaml(value, { logLevel: 'error' });
        } catch {
          return undefined; // as readConfigFile, which says that the file is not valid YAML
        }
        if (typeof values !== 'object' || values === null || Array.isArray(values))
          return undefined;
        const file = { path: 'f', values: values as Record<string, unknown> };
        return mergeConfig({ file, env: {}, flags: {} }).ok ? 'taken' : undefined;
      },
    ),
  },
];

export const METHOD_COUNT = Object.keys(METHODS).length;

// ---- trying -----------------------------------------------------------------------------------------------------

/** The input that these numbers stand for. */
export function inputOf(
  target: Target,
  seed: number,
  otherSeed: number,
  mutations: readonly Mutation[],
): Uint8Array {
  const { corpus, reseal } = target;
  let bytes = corpus[seed % corpus.length] ?? new Uint8Array(0);
  const spliced = corpus[otherSeed % corpus.length] ?? bytes;
  for (const mutation of mutations) bytes = mutate(bytes, mutation, spliced);
  return reseal === undefined ? bytes : reseal(bytes);
}

export function draw(target: Target, random: Random): Uint8Array {
  const { length } = target.corpus;
  return inputOf(
    target,
    randomBelow(random, length),
    randomBelow(random, length),
    drawMutations(random),
  );
}

/** Throws when the decoder throws, or does not take what it wrote itself, or writes that otherwise. */
export function tryInput(target: Target, bytes: Uint8Array): 'taken' | 'refused' {
  const read = target.read(bytes);
  if (!(read instanceof Uint8Array)) return read;
  const again = target.read(read);
  if (!(again instanceof Uint8Array) || Buffer.compare(again, read) !== 0) {
    const got = again instanceof Uint8Array ? Buffer.from(again).toString('hex') : again;
    throw new Error(`written again it is ${got}, not ${Buffer.from(read).toString('hex')}`);
  }
  return 'taken';
}
