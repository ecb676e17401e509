/** The control surface of a peer: every method but the two that the server answers by itself. */
import type { MemberView, MethodResult } from '../api/methods.ts';
import { coveyError } from '../base/errors.ts';
import { ok } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import type { Member } from '../membership/types.ts';
import type { Peer } from '../peer/peer.ts';
import { taskOf } from '../tasks/task.ts';
import { standingOf } from '../tasks/view.ts';
import type { ControlBackend, Session } from './backend.ts';
import { EventHub } from './events.ts';
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
  | 'about'
  | 'system.status'
  | 'members.list'
  | 'ring.owner'
  | 'access.invite'
  | 'access.list'
  | 'mesh.join'
  | 'mesh.leave'
>;

export interface BackendOptions {
  readonly version: string;
  readonly pid: number;
  readonly socket: string;
  /** Leaves the mesh and ends the daemon; answers the ids that lie only here. */
  readonly leave: (timeoutMs: number | undefined) => Promise<string[]>;
}

export function createBackend(peer: Peer, options: BackendOptions): ControlBackend {
  const events = new EventHub(peer.identity.bootId, peer.ports.clock);
  publishEvents(peer, events);
  serveBecause(peer);
  const followers = new LogFollowers(peer);
  const workers = new WorkerMethodsImpl(peer);
  return {
    ...workers.methods,
    ...meshMethods(peer, options),
    ...taskMethods(peer),
    'task.logs': (params, session) => followers.logs(params, session),
    'events.subscribe': async (params, session) => {
      const subscribed = events.subscribe(session, params);
      if (subscribed.ok && params.ids !== undefined) followIds(peer, events, session, params.ids);
      return subscribed;
    },
    'events.unsubscribe': async ({ subscription }, session) => {
      if (!events.unsubscribe(session, subscription)) followers.unsubscribe(subscription, session);
      return ok({});
    },
  };
}

function taskMethods(peer: Peer): TaskMethods {
  return {
    'ids.reserve': async ({ n }) => ok(peer.tasks.submitter.reserve(n)),
    'task.submit': (params) => peer.tasks.submit(params),
    'task.submit_bulk': (params) => submitBulk(peer, params),
    'task.get': ({ id }) => getTask(peer, id),
    'task.find': ({ suffix }) => findTasks(peer, suffix),
    'task.cancel': (params) => cancelTask(peer, params),
    'task.retry': ({ id }) => retryTask(peer, id),
    'task.list': (params) => listTasks(peer, params),
    'task.wait': (params) => waitTasks(peer, params),
    'task.explain': ({ id }) => explainTask(peer, id),
  };
}

function meshMethods(peer: Peer, options: BackendOptions): MeshMethods {
  return {
    about: () => ({ mesh_id: peer.membership.meshId, peer_id: peer.ports.identity.peerId }),
    'system.status': async () => ok(statusOf(peer, options)),
    'members.list': async () =>
      ok({
        members: peer.membership.members().map((member) => memberView(peer, member)),
        view_hash: peer.membership.viewHash(),
      }),
    'ring.owner': async ({ key }) => {
      const stores = peer.sight.directory.preference(key, peer.options.config.copies);
      const sights = peer.sight.peers();
      return ok({
        preference: stores.map((store) => {
          const sight = sights.find((item) => item.storeId === store);
          return { store_id: store, peer_id: sight?.peerId ?? '', name: sight?.name ?? '' };
        }),
      });
    },
    'access.invite': async ({ ttl_ms: ttlMs }) => {
      const invited = await peer.membership.invite(ttlMs);
      if (!invited.ok) return invited;
      return ok({ token: invited.value.token, expires_at: toRfc3339(invited.value.expiresAtMs) });
    },
    'access.list': async () =>
      ok({
        entries: peer.membership.accessList().map((entry) => ({
          peer_id: entry.peerId,
          name: entry.name,
          admitted_by: entry.admittedBy,
          admitted_at: toRfc3339(entry.admittedAtMs),
          revoked: entry.revoked,
        })),
      }),
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
    addresses: [...member.addresses],
    labels: { ...member.labels },
    version: member.version,
    load: {
      slots: load.slots,
      slots_free: load.slotsFree,
      active: load.active,
      waiting: load.waiting,
      workers: load.workers as MemberView['load']['workers'],
    },
  };
}

/** Changes of members, and of the tasks whose records this daemon holds. */
function publishEvents(peer: Peer, events: EventHub): void {
  peer.membership.onEvent(({ type, member, evidence }) => {
    if (type === 'linked' || type === 'unlinked' || type === 'updated') return;
    events.publish({
      topic: 'member',
      type,
      id: member.peerId,
      data: {
        name: member.name,
        incarnation: member.incarnation,
        ...(evidence === undefined ? {} : { evidence }),
      },
    });
  });
  const last = new Map<string, string>();
  peer.tasks.visibility.onTold((id) => {
    const record = peer.tasks.visibility.get(id);
    if (record === undefined || record.kind !== 'task') return;
    const task = taskOf(record);
    const standing = standingOf(task, peer.ports.clock.wallMs());
    const attempt = task.attempts.at(-1)?.start.n ?? 0;
    const key = `${standing.state}/${attempt}`;
    if (last.get(id) === key) return;
    if (task.final === undefined) last.set(id, key);
    else last.delete(id);
    // Why a task waits is known at its owner alone; a state of its own is no reason.
    const reason =
      standing.reason === undefined || standing.state === 'waiting'
        ? {}
        : { reason: standing.reason };
    events.publish({
      topic: 'task',
      type: standing.state,
      id,
      data: { attempt, queue: task.header.queue, ...reason },
    });
  });
}

/** Ids that lie elsewhere: their ends are watched at their homes and published here. */
function followIds(peer: Peer, events: EventHub, session: Session, ids: readonly string[]): void {
  const elsewhere = ids.filter((id) => peer.replica.get(id) === undefined);
  if (elsewhere.length === 0) return;
  const giveUp = peer.tasks.reader.watch(elsewhere, (record) => {
    const { final, attempts } = taskOf(record);
    // A copy that came here since is told of by its own change.
    if (final === undefined || peer.replica.get(record.id) !== undefined) return;
    const attempt = attempts.at(-1)?.start.n ?? 0;
    events.publish({
      topic: 'task',
      type: final.state,
      id: record.id,
      data: { attempt, reason: final.reason },
    });
  });
  session.onClosed(giveUp);
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
