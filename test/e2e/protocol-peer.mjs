/**
 * A member of a mesh that shares no line with Covey: libp2p, CBOR, SHA-256, and what docs/protocol.md says. It
 * redeems a token, says hello, learns the view, reads a task, and hands in one of its own, then leaves. What it saw
 * goes to stdout as one JSON object; anything that does not fit the document ends it with an error.
 *
 *   node protocol-peer.mjs TOKEN HOST TASK_ID
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { decode, encode, rfc8949EncodeOptions } from 'cborg';
import * as lengthPrefixed from 'it-length-prefixed';
import { createLibp2p } from 'libp2p';

const [tokenText = '', ownHost = '', taskId = ''] = process.argv.slice(2);
const REQUEST_MS = 5_000;
const VIEW_TRIES_MAX = 20;
const VIEW_PAUSE_MS = 500;
const FRAME_BYTES_MAX = 8 * 1024 * 1024;

const cbor = (value) => encode(value, rfc8949EncodeOptions);
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const digestOf = (bytes) => hex(sha256(bytes).subarray(0, 16));
const hash64 = (text) => sha256(text).readBigUInt64BE(0);

function framed(value) {
  const bytes = cbor(value);
  const length = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) return Buffer.concat([Uint8Array.from(length), bytes]);
  }
}

// ---- the token, the node, the way in ----------------------------------------------------------------------------

function readToken(text) {
  assert.ok(text.startsWith('covey1-'));
  const bytes = Buffer.from(text.slice('covey1-'.length), 'base64url');
  const map = bytes.subarray(0, -4);
  assert.deepEqual(sha256(map).subarray(0, 4), bytes.subarray(-4));
  return decode(map);
}

const token = readToken(tokenText);
const privateKey = await generateKeyPair('Ed25519');
const me = peerIdFromPrivateKey(privateKey).toString();
const node = await createLibp2p({
  privateKey,
  addresses: { listen: [`/ip4/${ownHost}/tcp/0`] },
  transports: [tcp({ dialOpts: { localAddress: ownHost } })],
  connectionEncrypters: [tls()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false },
});
const [listening] = node.getMultiaddrs();
const ownAddress = `${ownHost}:${listening.toString().split('/')[4]}`;

/** Frames that came, by connection; answers go to their requests, messages to whoever waits for their type. */
const answers = new Map();
const heard = [];
let wake = () => undefined;

async function read(stream) {
  for await (const bytes of lengthPrefixed.decode(stream, { maxDataLength: FRAME_BYTES_MAX })) {
    const [kind, id, type, body] = decode(bytes.subarray());
    if (kind === 2 || kind === 3)
      answers.get(id)?.({ refused: kind === 3 ? type : undefined, body });
    else if (kind === 0) heard.push({ type, body });
    wake();
  }
}
for (const name of ['control', 'data', 'bulk']) {
  await node.handle(`/covey/${name}/1`, (stream) => {
    // Its end is the end of the connection; what was being waited for times out.
    read(stream).catch(() => undefined);
  });
}

/** The first message of this type, come or to come. */
async function message(type, accepts = () => true) {
  const until = Date.now() + REQUEST_MS;
  for (;;) {
    const found = heard.findLast((item) => item.type === type && accepts(item.body));
    if (found) return found.body;
    assert.ok(Date.now() < until, `no '${type}' came`);
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, 100);
    });
  }
}

async function dial(address, peer) {
  const [host, port] = address.split(':');
  return await node.dial(multiaddr(`/ip4/${host}/tcp/${port}/p2p/${peer}`));
}

async function admit(connection, request) {
  const stream = await connection.newStream('/covey/admit/1');
  stream.send(framed(request));
  for await (const bytes of lengthPrefixed.decode(stream)) return decode(bytes.subarray());
  throw new Error(`no reply to '${request.type}'`);
}

async function factBy(statement) {
  const payload = cbor({ ...statement, mesh_id: token.mesh_id, peer_id: me });
  return [me, payload, await privateKey.sign(payload)];
}

async function statementOf([by, payload, signature]) {
  const isSigned = await peerIdFromString(by).publicKey.verify(payload, signature);
  assert.ok(isSigned, `a fact that ${by} did not sign`);
  return { by, payload, ...decode(payload) };
}

const inviter = await dial(token.addresses[0], token.inviter);
const welcome = await admit(inviter, { type: 'redeem', secret: token.secret, name: 'scratch' });
assert.equal(welcome.type, 'welcome', JSON.stringify(welcome));
assert.equal(welcome.mesh_id, token.mesh_id);

const store = hex(randomBytes(16));
const boot = hex(randomBytes(8));
const own = {
  ...{ kind: 'record', epoch: 1, incarnation: 0, store_id: store, boot_count: 1, boot_id: boot },
  ...{ name: 'scratch', addresses: [ownAddress], labels: {}, version: '0', features: [] },
  ...{ exec: false, stopping: false, left: false },
};
const record = await factBy(own);
const chain = welcome.facts.filter(([, payload]) => decode(payload).kind === 'entry');

/** Streams that we opened, by peer and class: ours to write, never to read. */
const streams = new Map();
async function send(connection, frameClass, envelope) {
  const key = `${connection.remotePeer} ${frameClass}`;
  let stream = streams.get(key);
  if (!stream) {
    stream = await connection.newStream(`/covey/${frameClass}/1`);
    streams.set(key, stream);
  }
  stream.send(framed(envelope));
}

async function greet(connection) {
  const hello = await admit(connection, {
    ...{ type: 'hello', mesh_id: token.mesh_id, store_id: store, boot_count: 1, boot_id: boot },
    ...{ boot_ids: [boot], seq: 0, versions: [2, 2], features: [], record, chain },
  });
  assert.equal(hello.type, 'hello', JSON.stringify(hello));
  await send(connection, 'control', [0, 0, 'ready', {}]);
  return (await statementOf(hello.record)).store_id;
}

let lastRequest = 0;
async function request(connection, frameClass, type, body) {
  const id = ++lastRequest;
  const answered = new Promise((resolve, reject) => {
    answers.set(id, resolve);
    setTimeout(() => reject(new Error(`no answer to '${type}'`)), REQUEST_MS).unref();
  });
  await send(connection, frameClass, [1, id, type, body]);
  const answer = await answered;
  answers.delete(id);
  return answer;
}

// ---- the view of the members ------------------------------------------------------------------------------------

function keyOf({ kind, peer_id: about, by }) {
  return kind === 'entry' || kind === 'revocation' ? `${kind}/${about}/${by}` : `${kind}/${about}`;
}

function viewHashOf(facts) {
  const sum = Buffer.alloc(16);
  for (const fact of facts) {
    const line = Buffer.concat([
      sha256(fact.payload).subarray(0, 8),
      sha256(fact.by).subarray(0, 8),
    ]);
    const hash = sha256(`${keyOf(fact)}\n${hex(line)}`);
    for (let i = 0; i < sum.length; i += 1) sum[i] ^= hash[i];
  }
  return hex(sum);
}

/**
 * All facts, when our hash of them is one that the other side told: when the link came up, and every two seconds to
 * one of its peers. The view may change while we ask.
 */
async function learnView(connection) {
  for (let tries = 1; ; tries += 1) {
    const before = heard.length;
    await send(connection, 'control', [0, 0, 'digest', { lines: [] }]);
    const delta = await message(
      'delta',
      (body) => heard.findIndex((item) => item.body === body) >= before,
    );
    const facts = await Promise.all(delta.facts.map(statementOf));
    const hash = viewHashOf(facts);
    if (heard.some(({ type, body }) => type === 'view' && body.hash === hash)) return facts;
    assert.ok(tries < VIEW_TRIES_MAX, 'the view has another hash than the document says');
    await new Promise((resolve) => setTimeout(resolve, VIEW_PAUSE_MS));
  }
}

// ---- records ----------------------------------------------------------------------------------------------------

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const fingerprintOf = (storeId) =>
  (hash64(`fingerprint:${storeId}`) >> 32n || 1n).toString(16).padStart(8, '0');

/** 48 bits of milliseconds, the fingerprints of the home, 48 random bits; here a home of two. */
function mintId(home, nowMs) {
  const prints = [...home.map(fingerprintOf), '00000000'].join('');
  const random = hex(randomBytes(6));
  let bits = BigInt(`0x${nowMs.toString(16).padStart(12, '0')}${prints}${random}`);
  let text = '';
  for (let i = 0; i < 39; i += 1, bits >>= 5n) text = BASE32[Number(bits & 31n)] + text;
  return text;
}

function taskOf(bytes) {
  const [, header, , ...facts] = decode(bytes);
  const values = facts.map((fact) => decode(fact)[2]);
  const end = values.find((value) => value.t === 'end');
  const final = values.find((value) => value.t === 'final');
  const { out, exit, sig, err, res, stdout, stderr } = end;
  const told = Object.entries({ out, exit, sig, err, res, stdout, stderr });
  // What the owner accepted is what the runner said.
  assert.equal(
    digestOf(cbor(Object.fromEntries(told.filter(([, value]) => value !== undefined)))),
    final.digest,
  );
  return {
    argv: decode(header).argv,
    state: final.state,
    stdout: Buffer.from(stdout).toString(),
  };
}

function newTask(home) {
  const stamp = Date.now();
  const header = cbor({
    ...{ queue: 'default', type: 'exec', argv: ['echo', 'from scratch'], priority: 0, delay_ms: 0 },
    ...{ attempts: 1, losses_max: 3, on_lost: 'retry', durability: 'auto', on_partition: 'wait' },
    ...{ output: 'full', labels: {}, digest: digestOf(cbor('of the request')) },
  });
  const id = mintId(home, stamp);
  const creation = cbor({ id, kind: 'task', stamp, blob_digest: '' });
  return { id, bytes: cbor([creation, header, [...home].sort()]) };
}

// ---- one life of a member ---------------------------------------------------------------------------------------

const inviterStore = await greet(inviter);
let seq = 0;
const beat = setInterval(() => {
  seq += 1;
  for (const connection of node.getConnections()) {
    if (!streams.has(`${connection.remotePeer} control`)) continue;
    send(connection, 'control', [0, 0, 'heartbeat', { seq }]).catch(() => undefined);
  }
}, 500);

const view = await learnView(inviter);
const others = view.filter((fact) => fact.kind === 'record' && fact.peer_id !== me);
const second = others.find((fact) => fact.peer_id !== token.inviter);
const connection = await dial(second.addresses[0], second.peer_id);
assert.equal(await greet(connection), second.store_id);

const answer = await request(inviter, 'data', 'task.read', { ids: [taskId], blobs: false });
const unknown = await request(inviter, 'data', 'no.such', {});
const task = newTask([inviterStore, second.store_id]);
const put = { record: task.bytes, fresh: true, stand_in: false };
const puts = await Promise.all(
  [inviter, connection].map((to) => request(to, 'data', 'rec.put', put)),
);

clearInterval(beat);
const left = await factBy({ ...own, incarnation: 1, left: true });
for (const to of [inviter, connection]) {
  await send(to, 'control', [0, 0, 'delta', { facts: [left], want: [] }]);
  await send(to, 'control', [0, 0, 'goodbye', { reason: 'leave' }]);
}
process.stdout.write(
  `${JSON.stringify({
    peer_id: me,
    members: others.map(({ name }) => name).sort(),
    read: answer.body.items.map((item) => taskOf(item.record)),
    unknown: unknown.refused,
    put: puts.map(({ refused, body }) => refused ?? body),
    task: task.id,
  })}\n`,
);
// Its reader closes a stream that we ended: then everything was read.
const ended = [...streams.values()].map(async (stream) => {
  const closed = new Promise((resolve) =>
    stream.addEventListener('close', resolve, { once: true }),
  );
  await stream.close();
  await closed;
});
await Promise.all(ended);
await node.stop();
process.exit(0);
