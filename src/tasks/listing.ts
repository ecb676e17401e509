/**
 * Listing the tasks of the whole mesh: every peer scans what it holds from the newest on, the asker merges.
 * Message: `task.scan`.
 *
 * A scan ends where it has found or read enough and says where: its *cut*. Below the highest cut of all scans
 * somebody may hold a newer task that was not read yet, so nothing below it is shown, and the next scans begin there.
 */
import type { TaskState, TaskSummary } from '../api/task.ts';
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import { MIB } from '../base/units.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import { type MeshView, presentPeers } from './mesh-view.ts';
import { taskOf } from './task.ts';
import { standingOf, summaryOf } from './view.ts';
import type { Visibility } from './visibility.ts';

/** Records read without letting other work in between. */
const SCAN_PAGE = 500;
const SCAN_TIMEOUT_MS = 5_000;
/** Tasks of one scan's answer: a page of a list, as the control surface allows it. */
const SCAN_TASKS_MAX = 1_000;

/** What one call may cost, before it answers with what it has and a cursor. */
export const LIST_LIMITS = {
  /** Records and time that one scan may take: well within SCAN_TIMEOUT_MS, also on a busy host. */
  scanRecords: 50_000,
  scanMs: 1_500,
  /** Asked of a scan also where fewer are wanted: some turn out to be further along, and a round costs more. */
  scanTasks: 100,
  /** Of one answer, a scan's or the list's: a frame holds 8 MiB, a client's line 16, and a command line is 128 KiB. */
  answerBytes: 2 * MIB,
  /** Ids compared in one request; an answer to so many fits into a frame. */
  confirmIds: 1_000,
  /** Rounds of scans, and the time after which no other begins: a client waits for 60 s. */
  rounds: 64,
  listMs: 10_000,
};
export type ListLimits = Readonly<typeof LIST_LIMITS>;

export interface ListQuery {
  readonly state?: TaskState;
  readonly queue?: string;
  readonly type?: string;
  readonly suffix?: string;
  /** Only those of which concurrent finals were joined. */
  readonly conflicts?: true;
  readonly before?: string;
  readonly limit: number;
}

export interface Listing {
  readonly tasks: TaskSummary[];
  /** Names of members that did not answer. */
  readonly unreachable: string[];
  /** Set when there may be older ones: what to pass as `before`. Also with no tasks at all in this part. */
  readonly cursor: string | undefined;
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
  (task.reason === 'owner_unreachable' ? 0 : 0.5) +
  // And of two that are final the one that knows of more finals.
  Math.min(task.conflicts ?? 0, 99) / 1_000;

const isState = (value: unknown): value is TaskState =>
  typeof value === 'string' && Object.hasOwn(PROGRESS, value);
/** Of a summary without its command line: names in it are short. */
const SUMMARY_BYTES_MAX = 1_024;
/** About so many, on the safe side; the command line alone may be long. */
const bytesOf = ({ argv }: TaskSummary): number =>
  SUMMARY_BYTES_MAX + (argv === undefined ? 0 : JSON.stringify(argv).length);

/** A record that is final is shown alike for ever: neither the time nor its owner matters any more. */
const finals = new WeakMap<RecordState, TaskSummary>();

/** One part of a list, complete down to `cut`; without `cut` nothing is older. */
interface Part {
  readonly tasks: readonly TaskSummary[];
  readonly cut: string | undefined;
}

/** Where one list stands: what is furthest along of each task, and who does not answer. */
interface Walk {
  readonly query: ListQuery;
  readonly silent: Set<string>;
}

export class Lister {
  readonly #deps: ListingDeps;
  readonly #limits: ListLimits;

  constructor(deps: ListingDeps, limits: ListLimits = LIST_LIMITS) {
    this.#deps = deps;
    this.#limits = limits;
    deps.messaging.onRequest('task.scan', (_from, body) => this.#onScan(body));
  }

  async list(query: ListQuery): Promise<Listing> {
    const { view, clock } = this.#deps;
    const { rounds, listMs, answerBytes } = this.#limits;
    const walk: Walk = { query, silent: new Set() };
    const until = clock.nowMs() + listMs;
    const tasks: TaskSummary[] = [];
    let bytes = 0;
    const isFull = () => tasks.length >= query.limit || bytes >= answerBytes;
    let cursor = query.before;
    for (let round = 0; round < rounds && clock.nowMs() < until; round++) {
      const part = await this.#part(walk, cursor, query.limit - tasks.length);
      cursor = part.cut;
      for (const task of part.tasks) {
        if (isFull()) {
          // What does not fit any more comes with the next call: from the last one that was shown.
          cursor = tasks.at(-1)?.id;
          break;
        }
        tasks.push(task);
        bytes += bytesOf(task);
      }
      if (cursor === undefined || isFull()) break;
    }
    const dead = view.peers().filter((peer) => peer.status === 'dead');
    const unreachable = [...walk.silent, ...dead.map((peer) => peer.name)].sort();
    return { tasks, unreachable, cursor };
  }

  /** The newest matching tasks older than `before`: one scan of every peer in sight. */
  async #part(walk: Walk, before: string | undefined, wanted: number): Promise<Part> {
    const { limit: _limit, before: _before, ...filter } = walk.query;
    const best = new Map<string, TaskSummary>();
    const limit = Math.max(wanted, this.#limits.scanTasks);
    const body: WireMap = { ...filter, limit, ...(before === undefined ? {} : { before }) };
    let cut = await this.#scanAll(body, walk, best);
    let tasks = [...best.values()]
      .filter((task) => cut === undefined || task.id >= cut)
      .sort((a, b) => (a.id < b.id ? 1 : -1));
    const { state } = walk.query;
    if (state === undefined || tasks.length === 0) return { tasks, cut };
    // Scans answer by their own copy, and a copy lags behind: whether a task is in this state only shows when all
    // copies of it were compared. The one that is furthest along is in it too, so no scan has left it out.
    if (tasks.length > this.#limits.confirmIds) {
      tasks = tasks.slice(0, this.#limits.confirmIds);
      cut = tasks.at(-1)?.id;
    }
    await this.#scanAll({ ids: tasks.map((task) => task.id) }, walk, best);
    tasks = tasks.map((task) => best.get(task.id) ?? task).filter((task) => task.state === state);
    return { tasks, cut };
  }

  /** Asks every peer in sight; what is furthest along stays in `best`. Answers the highest cut. */
  async #scanAll(
    body: WireMap,
    { silent }: Walk,
    best: Map<string, TaskSummary>,
  ): Promise<string | undefined> {
    const { messaging, view } = this.#deps;
    let highest: string | undefined;
    const ask = presentPeers(view).map(async (peer) => {
      // Once is enough: it would cost the whole patience again, and the list is incomplete anyway.
      if (silent.has(peer.name)) return;
      const options = { timeoutMs: SCAN_TIMEOUT_MS, frameClass: 'bulk' } as const;
      const answer = await messaging.call(peer.peerId, 'task.scan', body, options);
      const cut = answer.ok ? cutOf(answer.value, body.before) : undefined;
      if (!answer.ok || cut === 'wrong') {
        silent.add(peer.name);
        return;
      }
      if (cut !== undefined && (highest === undefined || cut > highest)) highest = cut;
      const tasks = Array.isArray(answer.value.tasks) ? (answer.value.tasks as WireValue[]) : [];
      for (const item of tasks) {
        if (!isWireMap(item)) continue;
        const task = item as unknown as TaskSummary;
        const known = best.get(task.id);
        if (known !== undefined && rankOf(task) <= rankOf(known)) continue;
        // A comparison comes without the command line, which is the same in all copies.
        best.set(task.id, known?.argv === undefined ? task : { ...task, argv: known.argv });
      }
    });
    await Promise.all(ask);
    return highest;
  }

  #summary(record: RecordState): TaskSummary {
    const known = finals.get(record);
    if (known !== undefined) return known;
    const { clock, waitingReason } = this.#deps;
    const summary = summaryOf(record, clock.wallMs(), waitingReason(record.id));
    if (taskOf(record).final !== undefined) finals.set(record, summary);
    return summary;
  }

  /** What this store may tell of these very tasks; without command lines, which the asker has. */
  #summaries(ids: readonly WireValue[]): WireValue[] {
    return ids.slice(0, this.#limits.confirmIds).flatMap((id) => {
      const record = typeof id === 'string' ? this.#deps.visibility.get(id) : undefined;
      if (record?.kind !== 'task') return [];
      const { argv: _argv, ...summary } = this.#summary(record);
      return [summary as unknown as WireMap];
    });
  }

  /** The task of this id if the scan asks for it. */
  #matching(id: string, body: WireMap): RecordState | undefined {
    const { replica, visibility, clock } = this.#deps;
    if (typeof body.suffix === 'string' && !id.endsWith(body.suffix)) return undefined;
    const state = isState(body.state) ? body.state : undefined;
    const wantsUnfinished = state !== undefined && PROGRESS[state] < PROGRESS.expired;
    // Most of a store is final: that need not be read from the disk to be passed over.
    const mayMatch = !wantsUnfinished || replica.isUnfinished(id) || visibility.isHidden(id);
    const record = mayMatch ? visibility.get(id) : undefined;
    if (record?.kind !== 'task') return undefined;
    const task = taskOf(record);
    const matches =
      (body.queue === undefined || task.header.queue === body.queue) &&
      (body.type === undefined || task.header.type === body.type) &&
      (body.conflicts !== true || task.conflicts > 0) &&
      (state === undefined || standingOf(task, clock.wallMs()).state === state);
    return matches ? record : undefined;
  }

  async #onScan(body: WireMap): Promise<CallResult> {
    const { replica, clock } = this.#deps;
    const { scanRecords, scanMs, answerBytes } = this.#limits;
    if (Array.isArray(body.ids)) return ok({ tasks: this.#summaries(body.ids) });
    const limit = typeof body.limit === 'number' ? Math.min(body.limit, SCAN_TASKS_MAX) : 100;
    if (limit < 1) return err(coveyError('INVALID_PARAMS', { why: 'limit must be 1 or more' }));
    const tasks: WireValue[] = [];
    const until = clock.nowMs() + scanMs;
    let before = typeof body.before === 'string' ? body.before : undefined;
    let bytes = 0;
    for (let read = 0; ; ) {
      const page = Math.min(SCAN_PAGE, scanRecords - read);
      const from = before === undefined ? {} : { before };
      const ids = replica.ids({ ...from, limit: page, newestFirst: true });
      for (const id of ids) {
        before = id;
        const record = this.#matching(id, body);
        if (record === undefined) continue;
        const task = this.#summary(record);
        tasks.push(task as unknown as WireMap);
        bytes += bytesOf(task);
        if (tasks.length >= limit || bytes >= answerBytes) return ok({ tasks, cut: id });
      }
      read += ids.length;
      if (ids.length < page) return ok({ tasks });
      if (read >= scanRecords || clock.nowMs() >= until) {
        return ok({ tasks, ...(before === undefined ? {} : { cut: before }) });
      }
      await sleep(clock, 0);
    }
  }
}

/** Where a scan ended. One that did not get on would be asked the same for ever. */
function cutOf(answer: WireMap, before: WireValue | undefined): string | undefined | 'wrong' {
  const { cut } = answer;
  if (cut === undefined) return undefined;
  return typeof cut === 'string' && (typeof before !== 'string' || cut < before) ? cut : 'wrong';
}
