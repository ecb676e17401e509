/** Listing the tasks of the whole mesh: every peer scans what it holds, the asker merges. Message: `task.scan`. */
import type { TaskState, TaskSummary } from '../api/task.ts';
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { Replica } from '../records/replica.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import { type MeshView, presentPeers } from './mesh-view.ts';
import { summaryOf } from './view.ts';
import type { Visibility } from './visibility.ts';

/** Records read without letting other work in between. */
const SCAN_PAGE = 500;
/** Records one scan may pass over; a rarer match is found by the next page of the list. */
const SCAN_RECORDS_MAX = 200_000;
const SCAN_TIMEOUT_MS = 5_000;
/** Ids of one scan by id: what five peers can find at the limit of a list. */
const SCAN_IDS_MAX = 10_000;

export interface ListQuery {
  readonly state?: TaskState;
  readonly queue?: string;
  readonly type?: string;
  readonly suffix?: string;
  readonly before?: string;
  readonly limit: number;
}

export interface Listing {
  readonly tasks: TaskSummary[];
  /** Names of members that did not answer. */
  readonly unreachable: string[];
  readonly more: boolean;
}

export interface ListingDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly visibility: Visibility;
  readonly view: MeshView;
  readonly waitingReason: (id: string) => string | undefined;
}

/** The standing that is further along stands for the task: copies lag behind, they never lead. */
const PROGRESS: Record<TaskState, number> = {
  blocked: 0,
  delayed: 1,
  waiting: 1,
  active: 2,
  expired: 4,
  canceled: 5,
  failed: 6,
  completed: 7,
};
const rankOf = (task: TaskSummary): number =>
  (PROGRESS[task.state] >= 4 ? 1e6 : task.attempt * 10) +
  PROGRESS[task.state] +
  // Of equal copies the owner's stands: it alone knows why the task waits.
  (task.reason === 'owner_unreachable' ? 0 : 0.5);

export class Lister {
  readonly #deps: ListingDeps;

  constructor(deps: ListingDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('task.scan', (_from, body) => this.#onScan(body));
  }

  async list(query: ListQuery): Promise<Listing> {
    const { view } = this.#deps;
    // A copy lags behind: whether a task still waits is only known when all copies of it were compared.
    const isUnfinished = query.state !== undefined && PROGRESS[query.state] < 4;
    const body: WireMap = isUnfinished
      ? { ...query, state: undefined, unfinished: true }
      : { ...query };
    const best = new Map<string, TaskSummary>();
    const scanned = await this.#scanAll(body, best);
    // The first scan left out final copies, which are further along than any other.
    if (isUnfinished && best.size > 0) await this.#scanAll({ ids: [...best.keys()] }, best);
    const dead = view.peers().filter((peer) => peer.status === 'dead');
    const sorted = [...best.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
    const matching = sorted.filter(
      (task) => query.state === undefined || task.state === query.state,
    );
    return {
      tasks: matching.slice(0, query.limit),
      unreachable: [...scanned.unreachable, ...dead.map((peer) => peer.name)].sort(),
      more: scanned.more || matching.length > query.limit,
    };
  }

  /** One scan of every peer in sight; what is furthest along stays in `best`. */
  async #scanAll(
    body: WireMap,
    best: Map<string, TaskSummary>,
  ): Promise<{ unreachable: string[]; more: boolean }> {
    const { messaging, view } = this.#deps;
    const unreachable: string[] = [];
    let more = false;
    await Promise.all(
      presentPeers(view).map(async (peer) => {
        const options = { timeoutMs: SCAN_TIMEOUT_MS, frameClass: 'bulk' } as const;
        const answer = await messaging.call(peer.peerId, 'task.scan', body, options);
        if (!answer.ok) {
          unreachable.push(peer.name);
          return;
        }
        more ||= answer.value.more === true;
        const tasks = Array.isArray(answer.value.tasks) ? (answer.value.tasks as WireValue[]) : [];
        for (const item of tasks) {
          if (!isWireMap(item)) continue;
          const task = item as unknown as TaskSummary;
          const known = best.get(task.id);
          if (known === undefined || rankOf(task) > rankOf(known)) best.set(task.id, task);
        }
      }),
    );
    return { unreachable, more };
  }

  /** What this store may tell of these very tasks. */
  #summaries(ids: readonly WireValue[]): WireValue[] {
    const { visibility, clock, waitingReason } = this.#deps;
    return ids.slice(0, SCAN_IDS_MAX).flatMap((id) => {
      const record = typeof id === 'string' ? visibility.get(id) : undefined;
      if (record?.kind !== 'task') return [];
      return [summaryOf(record, clock.wallMs(), waitingReason(record.id)) as unknown as WireMap];
    });
  }

  async #onScan(body: WireMap): Promise<CallResult> {
    const { replica, visibility, clock, waitingReason } = this.#deps;
    if (Array.isArray(body.ids)) return ok({ tasks: this.#summaries(body.ids), more: false });
    const limit = typeof body.limit === 'number' ? Math.min(body.limit, 1_000) : 100;
    const tasks: WireValue[] = [];
    let before = typeof body.before === 'string' ? body.before : undefined;
    const suffix = typeof body.suffix === 'string' ? body.suffix : undefined;
    if (limit < 1) return err(coveyError('INVALID_PARAMS', { why: 'limit must be 1 or more' }));
    for (let read = 0; read < SCAN_RECORDS_MAX; read += SCAN_PAGE) {
      const ids = replica.ids({
        ...(before === undefined ? {} : { before }),
        limit: SCAN_PAGE,
        newestFirst: true,
      });
      for (const id of ids) {
        before = id;
        if (suffix !== undefined && !id.endsWith(suffix)) continue;
        const record = visibility.get(id);
        if (record === undefined || record.kind !== 'task') continue;
        const task = summaryOf(record, clock.wallMs(), waitingReason(id));
        const matches =
          (body.state === undefined || task.state === body.state) &&
          (body.unfinished !== true || PROGRESS[task.state] < 4) &&
          (body.queue === undefined || task.queue === body.queue) &&
          (body.type === undefined || task.type === body.type);
        if (!matches) continue;
        tasks.push(task as unknown as WireMap);
        if (tasks.length >= limit) return ok({ tasks, more: true });
      }
      if (ids.length < SCAN_PAGE) return ok({ tasks, more: false });
      await sleep(clock, 0);
    }
    return ok({ tasks, more: true });
  }
}
