/**
 * What anti-entropy costs: two stores on LMDB in a temporary directory, messages through the codec in memory and
 * counted. Prints one line of JSON. `npm run bench:anti-entropy -- [RECORDS]` (100,000 unless said otherwise).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { coveyError } from '../src/base/errors.ts';
import { err } from '../src/base/result.ts';
import { encodeTaskId, fingerprintOf } from '../src/base/task-id.ts';
import { HostClock } from '../src/host/clock.ts';
import { HostRandom } from '../src/host/random.ts';
import { openStore } from '../src/host/store.ts';
import type { Store } from '../src/ports/store.ts';
import { CheckedStore } from '../src/records/checked-store.ts';
import type { StoreDirectory } from '../src/records/directory.ts';
import { PartnerSync } from '../src/records/partner-sync.ts';
import { contentHash, type RecordState, withFact } from '../src/records/record.ts';
import { Replica } from '../src/records/replica.ts';
import { Sharing } from '../src/records/sharing.ts';
import { StoreIdentity } from '../src/records/store-identity.ts';
import { keyRules } from '../src/tasks/dedupe.ts';
import { encodeHeader } from '../src/tasks/facts.ts';
import { taskRules } from '../src/tasks/task.ts';
import { decodeValue } from '../src/wire/codec.ts';
import { encodeEnvelope, isWireMap, type WireMap } from '../src/wire/envelope.ts';
import type { CallResult, Messaging, RequestHandler } from '../src/wire/messaging.ts';
import { endOf, factOf, finalOf, headerOf, startOf } from '../test/support/task-records.ts';

const TOTAL = Number(process.argv[2] ?? 100_000);
const SIZES = [1_000, 10_000, 100_000].filter((size) => size <= TOTAL);
const WIPED_TASKS = 20_000;
const HOURS_SPREAD = 24;
const AT_ONCE = 2_000;
const DROP_AFTER_MS = 86_400_000;

/** Requests and answers between the hosts of this program, and what they would take on the wire. */
class Wire {
  bytes = 0;
  messages = 0;
  readonly ends = new Map<string, Map<string, RequestHandler>>();

  pass(body: WireMap, type: string): WireMap {
    const bytes = encodeEnvelope({ kind: 'request', id: this.messages, type, body });
    this.bytes += bytes.length;
    this.messages += 1;
    const envelope = decodeValue(bytes);
    const copy = envelope.ok && Array.isArray(envelope.value) ? envelope.value[3] : undefined;
    if (!isWireMap(copy)) throw new Error('a body that does not travel');
    return copy;
  }

  end(self: string): Messaging {
    const handlers = new Map<string, RequestHandler>();
    this.ends.set(self, handlers);
    const call = async (to: string, type: string, body: WireMap): Promise<CallResult> => {
      const handler = this.ends.get(to)?.get(type);
      if (handler === undefined) return err(coveyError('UNREACHABLE', { what: to }));
      const answer = await handler(self, this.pass(body, type));
      return answer.ok ? { ok: true, value: this.pass(answer.value, '') } : answer;
    };
    const onRequest = (type: string, handler: RequestHandler) => void handlers.set(type, handler);
    return { call, onRequest, cast: () => false, onMessage: () => undefined };
  }
}

const clock = new HostClock();
const wire = new Wire();
const root = await mkdtemp(join(tmpdir(), 'covey-bench-'));
const open: Store[] = [];

async function host(name: string, peers: Map<string, string>) {
  const opened = await openStore({ directory: join(root, name), clock });
  if (!opened.ok) throw new Error(JSON.stringify(opened.error));
  open.push(opened.value);
  const identity = await StoreIdentity.load(opened.value, new HostRandom());
  if (!identity.ok) throw new Error(JSON.stringify(identity.error));
  const store = new CheckedStore(opened.value);
  const { storeId } = identity.value;
  const rules = { task: taskRules, key: keyRules };
  const replica = new Replica({
    store,
    identity: identity.value,
    rules,
    onFailed: () => undefined,
    runningMs: () => 0,
  });
  replica.load();
  peers.set(storeId, name);
  const directory: StoreDirectory = {
    peerOf: (id) => (id === storeId ? undefined : peers.get(id)),
    storeOfPeer: (peer) => [...peers].find(([, at]) => at === peer)?.[0],
    statusOf: () => 'alive',
    present: () => [...peers.keys()],
    preference: () => [...peers.keys()],
  };
  const messaging = wire.end(name);
  const deps = { replica, messaging, directory, clock };
  const sharing = new Sharing({
    ...deps,
    requestDigest: () => '',
    isDamaged: () => false,
    enrich: (record) => record,
  });
  const sync = new PartnerSync({ ...deps, sharing });
  await sync.load();
  return { storeId, replica, sync };
}
type Host = Awaited<ReturnType<typeof host>>;

/** Tasks as they are a while after they ran: about 900 bytes. */
function taskOf(i: number, home: readonly string[], atMs: number): RecordState {
  const random = (i * 2_654_435_761 + 12_345) % 2 ** 48;
  const id = encodeTaskId({
    createdMs: Math.floor(atMs),
    random: random.toString(16).padStart(12, '0'),
    fingerprints: home.map(fingerprintOf),
  });
  const stamp = Math.floor(atMs);
  const header = Uint8Array.from(encodeHeader(headerOf()));
  const firstHome = [...home].sort();
  const author = home[0] ?? '';
  const facts = [
    startOf(`run${i}`),
    endOf(`run${i}`, { stdout: new Uint8Array(64) }),
    finalOf({ run_id: `run${i}`, drop_at: stamp + 2 * DROP_AFTER_MS }),
  ];
  const record: RecordState = {
    id,
    kind: 'task',
    stamp,
    header,
    blobDigest: '',
    firstHome,
    facts: [],
  };
  return facts.reduce(
    (sum, value, n) => withFact(sum, factOf(author, i * 3 + n + 1, value)),
    record,
  );
}

async function put(at: Host, records: readonly RecordState[]): Promise<void> {
  for (let i = 0; i < records.length; i += AT_ONCE) {
    const changes = records
      .slice(i, i + AT_ONCE)
      .map((record) => at.replica.change(record.id, () => ({ value: 0, next: record })));
    await Promise.all(changes);
  }
}

/** `cpu_ms` is what remains comparable on a machine that others use too. */
async function measured<T>(work: () => Promise<T>) {
  const [bytes, messages, start, cpu] = [wire.bytes, wire.messages, clock.nowMs(), cpuMs()];
  const value = await work();
  const ms = round(clock.nowMs() - start);
  const cost = { bytes: wire.bytes - bytes, messages: wire.messages - messages, ms };
  return { value, cost: { ...cost, cpu_ms: round(cpuMs() - cpu) } };
}

function raise(): never {
  throw new Error('a record is gone');
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

async function syncUntilEqual(one: Host, other: Host): Promise<number> {
  for (let rounds = 1; ; rounds++) {
    const round = await one.sync.syncWith(other.storeId);
    if (!round.ok) throw new Error(round.error.code);
    if (round.value.equal) return rounds;
  }
}

const report: Record<string, unknown> = { records: TOTAL };
try {
  const peers = new Map<string, string>();
  const [a, b] = [await host('a', peers), await host('b', peers)];
  const home = [a.storeId, b.storeId];
  const now = clock.wallMs();
  const at = (i: number): number =>
    now - ((i * 7_919) % TOTAL) * ((HOURS_SPREAD * 3_600_000) / TOTAL);
  const records = Array.from({ length: TOTAL }, (_, i) => taskOf(i, home, at(i)));
  let held = 0;
  for (const size of SIZES) {
    await put(a, records.slice(held, size));
    await put(b, records.slice(held, size).reverse());
    held = size;
    const { value, cost } = await measured(() => a.sync.syncWith(b.storeId));
    report[`equal_${size}`] = { ...cost, equal: value.ok && value.value.equal };
  }
  report.tree_bytes_per_partner = a.sync.trees.bytes / a.sync.trees.count;

  for (const count of [1, 100]) {
    const step = Math.floor(held / count);
    for (let i = 0; i < count; i++) {
      const id = records[i * step]?.id ?? '';
      await a.replica.change(id, ({ current, fact }) => {
        if (current === undefined) return { value: 0 };
        const drop = taskRules.earlierDrop(now + DROP_AFTER_MS + i);
        return { value: 0, next: withFact(current, fact(drop)) };
      });
    }
    const { cost } = await measured(() => a.sync.syncWith(b.storeId));
    const after = await measured(() => a.sync.syncWith(b.storeId));
    const equal = after.value.ok && after.value.value.equal;
    report[`repair_${count}_of_${held}`] = { ...cost, equal_after: equal };
  }

  const reload = await measured(() => a.sync.trees.load());
  report.sums_from_index = { entries: a.replica.heldCount, cpu_ms: reload.cost.cpu_ms };
  const decoded = await measured(async () => {
    for (const id of a.replica.ids({ limit: 10_000 })) contentHash(a.replica.get(id) ?? raise());
  });
  report.sums_from_records = { entries: Math.min(10_000, held), cpu_ms: decoded.cost.cpu_ms };

  const c = await host('c', peers);
  const d = await host('d', peers);
  const tasks = Array.from({ length: WIPED_TASKS }, (_, i) =>
    taskOf(5_000_000 + i, [c.storeId, d.storeId], now - i * 1_000),
  );
  await put(c, tasks);
  report.restore_wiped_20000_tasks = (await measured(() => syncUntilEqual(d, c))).cost;
  const e = await host('e', peers);
  const more = tasks.map((task) => ({
    ...task,
    firstHome: [c.storeId, d.storeId, e.storeId].sort(),
  }));
  for (const one of [c, d]) await put(one, more);
  report.restore_wiped_20000_tasks_asked_by_the_others = (
    await measured(() => syncUntilEqual(c, e))
  ).cost;
  report.restored = { held_there: e.replica.heldCount, of: WIPED_TASKS };

  report.write = await writeCost();
} finally {
  for (const store of open) await store.close();
  await rm(root, { recursive: true, force: true });
}
process.stdout.write(`${JSON.stringify(report)}\n`);

/** Writes of records that two partners share, and the same of records that nobody shares: the difference is the tree. */
async function writeCost() {
  const peers = new Map<string, string>();
  const alone = await host('alone', peers);
  const sharedBy = await host('shared', peers);
  const [x, y] = ['1'.repeat(32), '2'.repeat(32)];
  const count = 10_000;
  const one = async (at: Host, home: readonly string[], offset: number): Promise<number> => {
    const list = Array.from({ length: count }, (_, i) => taskOf(offset + i, home, clock.wallMs()));
    const { cost } = await measured(() => put(at, list));
    return (cost.cpu_ms * 1_000) / count;
  };
  const us = { alone: [] as number[], shared: [] as number[] };
  for (let i = 0; i < 3; i++) {
    us.alone.push(await one(alone, [x, y, '3'.repeat(32)], (10 + i) * count));
    us.shared.push(await one(sharedBy, [sharedBy.storeId, x, y], (10 + i) * count));
  }
  const hashed = Array.from({ length: count }, (_, i) => taskOf(i, [x, y], clock.wallMs()));
  const { cost } = await measured(async () => {
    for (const record of hashed) contentHash(record);
  });
  const least = (list: number[]): number => Math.round(Math.min(...list) * 10) / 10;
  return {
    cpu_us_unshared: least(us.alone),
    cpu_us_shared_by_3: least(us.shared),
    cpu_us_of_which_hash: round((cost.cpu_ms * 1_000) / count),
  };
}
