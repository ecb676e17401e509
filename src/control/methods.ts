/** The control surface of a peer: every method but the two that the server answers by itself. */
import type { MemberView, MethodName, MethodResult } from '../api/methods.ts';
import { coveyError } from '../base/errors.ts';
import { LogTap } from '../base/log-tap.ts';
import { err, ok } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import { silentLogger } from '../base/telemetry.ts';
import type { Member } from '../membership/types.ts';
import type { Peer } from '../peer/peer.ts';
import type { ControlBackend, Handler } from './backend.ts';
import type { Descriptors } from './checkup.ts';
import { Doctor } from './doctor.ts';
import { type AccessMethods, accessMethods } from './methods-access.ts';
import { LogFollowers } from './methods-logs.ts';
import {
  cancelTask,
  explainTask,
  findTasks,
  getTask,
  listTasks,
  retryTask,
  submitBulk,
  waitTasks,
} from './methods-task.ts';
import { WorkerMethodsImpl } from './methods-worker.ts';
import { Monitors } from './monitor.ts';
import { observeMethods } from './observe.ts';
import { PeerEvents } from './peer-events.ts';

type TaskMethods = Pick<
  ControlBackend,
  | 'ids.reserve'
  | 'task.submit'
  | 'task.submit_bulk'
  | 'task.get'
  | 'task.find'
  | 'task.cancel'
  | 'task.retry'
  | 'task.list'
  | 'task.wait'
  | 'task.explain'
>;
type MeshMethods = Pick<
  ControlBackend,
  'about' | 'system.status' | 'members.list' | 'members.forget' | 'mesh.join' | 'mesh.leave'
>;

export interface BackendOptions {
  readonly version: string;
  readonly pid: number;
  readonly socket: string;
  /** Leaves the mesh and ends the daemon; answers the ids that lie only here. */
  readonly leave: (timeoutMs: number | undefined) => Promise<string[]>;
  /** The log that `system.monitor` shows; none: it shows nothing. */
  readonly tap?: LogTap;
  /** Of this process, for `system.doctor`; none: it is not known. */
  readonly descriptors?: () => Promise<Descriptors | undefined>;
}

export function createBackend(peer: Peer, options: BackendOptions): ControlBackend {
  const events = new PeerEvents(peer);
  serveBecause(peer);
  const followers = new LogFollowers(peer);
  const workers = new WorkerMethodsImpl(peer);
  const tap = options.tap ?? new LogTap(silentLogger, 'error', () => peer.ports.clock.wallMs());
  const monitors = new Monitors(tap, peer.ports.clock);
  const doctor = new Doctor(peer, options.descriptors);
  return refusedWhenClosed(peer, {
    ...workers.methods,
    ...meshMethods(peer, options),
    ...taskMethods(peer),
    ...observeMethods(peer),
    'system.doctor': async ({ timeout_ms: timeoutMs }) => ok(await doctor.examine(timeoutMs)),
    'system.monitor': async (params, session) => monitors.subscribe(session, params),
    'task.logs': (params, session) => followers.logs(params, session),
    'events.subscribe': (params, session) => events.subscribe(session, params),
    'events.unsubscribe': async ({ subscription }, session) => {
      const isDone =
        events.unsubscribe(session, subscription) || monitors.unsubscribe(session, subscription);
      if (!isDone) followers.unsubscribe(subscription, session);
      return ok({});
    },
  });
}

/** What a peer that is no member of its mesh still answers. `task.wait` is not among it: nothing ends there. */
const OUTSIDE: ReadonlySet<string> = new Set<MethodName>([
  'system.status',
  'system.doctor',
  'system.monitor',
  'members.list',
  'members.stats',
  'ring.show',
  'ring.owner',
  'access.list',
  'task.get',
  'task.find',
  'task.list',
  'task.logs',
  'task.explain',
  'events.subscribe',
  'events.unsubscribe',
  'mesh.join',
  'mesh.leave',
]);

/** What they answer comes out of the stores. */
const READS: ReadonlySet<string> = new Set<MethodName>([
  'task.get',
  'task.find',
  'task.list',
  'task.logs',
  'task.wait',
  'task.explain',
]);

/**
 * The stores of a closed peer are empty: nobody may be told so. What was under way when it closed keeps its answer if it
 * wrote something, because that is as durable as it says; but "not found" is as untrue there as in a reading.
 */
function refusedWhenClosed(peer: Peer, backend: ControlBackend): ControlBackend {
  const { about, ...methods } = backend;
  const guarded: Record<string, unknown> = { ...methods };
  for (const [name, method] of Object.entries(methods)) {
    // The call that closes the peer is answered when it has.
    if (name === 'mesh.leave') continue;
    // Which parameters go with which method TypeScript cannot follow through a list; they are passed on as they came.
    const handler = method as unknown as Handler<MethodName>;
    const guard: Handler<MethodName> = async (params, session) => {
      if (peer.isClosed) return err(coveyError('STOPPING'));
      const outside = peer.membership.expelledError();
      if (outside !== undefined && !OUTSIDE.has(name)) return err(outside);
      const answer = await handler(params, session);
      const isUntrue = READS.has(name) || (!answer.ok && answer.error.code === 'NOT_FOUND');
      return peer.isClosed && isUntrue ? err(coveyError('STOPPING')) : answer;
    };
    guarded[name] = guard;
  }
  return { about, ...guarded } as ControlBackend;
}

function taskMethods(peer: Peer): TaskMethods {
  return {
    'ids.reserve': async ({ n }) => ok(peer.tasks.submitter.reserve(n)),
    'task.submit': (params) => peer.tasks.submit(params),
    'task.submit_bulk': (params) => submitBulk(peer, params),
    'task.get': (params) => getTask(peer, params),
    'task.find': ({ suffix }) => findTasks(peer, suffix),
    'task.cancel': (params) => cancelTask(peer, params),
    'task.retry': ({ id }) => retryTask(peer, id),
    'task.list': (params) => listTasks(peer, params),
    'task.wait': (params) => waitTasks(peer, params),
    'task.explain': ({ id }) => explainTask(peer, id),
  };
}

function meshMethods(peer: Peer, options: BackendOptions): MeshMethods & AccessMethods {
  return {
    about: () => ({ mesh_id: peer.membership.meshId, peer_id: peer.ports.identity.peerId }),
    'system.status': async () => ok(statusOf(peer, options)),
    'members.list': async () =>
      ok({
        members: peer.membership.members().map((member) => memberView(peer, member)),
        view_hash: peer.membership.viewHash(),
      }),
    'members.forget': async ({ peer: peerId }) => {
      const removed = await peer.membership.forget(peerId);
      if (!removed.ok) return removed;
      const { name, storeId } = removed.value;
      return ok({ peer_id: peerId, name, store_id: storeId });
    },
    ...accessMethods(peer),
    'mesh.join': async ({ token }) => {
      const joined = await peer.membership.join(token);
      if (!joined.ok) return joined;
      return ok({ mesh_id: joined.value.meshId, members: joined.value.members });
    },
    'mesh.leave': async ({ timeout_ms: timeoutMs }) => {
      const onlyHere = await options.leave(timeoutMs);
      return ok({ left: onlyHere.length === 0, only_here: onlyHere.slice(0, 1_000) });
    },
  };
}

function statusOf(peer: Peer, options: BackendOptions): MethodResult<'system.status'> {
  const self = peer.membership.self();
  const { expelled } = peer.membership;
  const { damaged, repaired, former } = peer.storeHealth();
  return {
    version: options.version,
    pid: options.pid,
    peer_id: self.peerId,
    store_id: peer.identity.storeId,
    mesh_id: peer.membership.meshId,
    name: self.name,
    addresses: [...self.addresses],
    socket: options.socket,
    stopping: peer.tasks.isStopping,
    uptime_ms: Math.max(0, Math.round(peer.ports.clock.nowMs() - peer.startedMs)),
    tasks: peer.counts(),
    conflicts: peer.conflicts,
    slots: peer.load().slots,
    ...(expelled === undefined
      ? {}
      : { expelled: { kind: expelled.kind, by: expelled.by, at: toRfc3339(expelled.atMs) } }),
    store: {
      damaged,
      repaired,
      set_aside: peer.replica.aside.count,
      room: peer.replica.room,
      ...(former === undefined
        ? {}
        : { former_store_id: former.storeId, renewed_because: former.why }),
    },
  };
}

function memberView(peer: Peer, member: Member): MemberView {
  const self = member.peerId === peer.ports.identity.peerId;
  const load = self ? peer.load() : member.load;
  return {
    peer_id: member.peerId,
    store_id: member.storeId,
    name: member.name,
    self,
    status: member.status,
    stopping: member.stopping,
    phi: member.phi,
    incarnation: member.incarnation,
    boot_count: member.bootCount,
    since: toRfc3339(member.sinceWallMs),
    ...(member.evidence === undefined ? {} : { evidence: member.evidence }),
    addresses: [...member.addresses],
    labels: { ...member.labels },
    version: member.version,
    ...(member.shortage === undefined ? {} : { shortage: member.shortage }),
    ...(load.setAside === undefined ? {} : { set_aside: load.setAside }),
    load: {
      slots: load.slots,
      slots_free: load.slotsFree,
      active: load.active,
      waiting: load.waiting,
      workers: load.workers as MemberView['load']['workers'],
    },
  };
}

function serveBecause(peer: Peer): void {
  peer.messenger.onRequest('task.because', async (_from, body) => {
    const found =
      typeof body.id === 'string' ? await peer.tasks.reader.find(body.id, false) : undefined;
    if (found === undefined)
      return { ok: false, error: coveyError('NOT_FOUND', { what: 'the task' }) };
    return ok({ because: peer.tasks.explainHere(found).because.map((item) => ({ ...item })) });
  });
}
