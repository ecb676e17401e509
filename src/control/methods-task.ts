/** The `task.*` and `ids.*` methods, on the peer. */
import type { MethodParams, MethodResult } from '../api/methods.ts';
import { submitSchema, type TaskView } from '../api/task.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { utf8 } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import { canonicalSuffix, canonicalTaskId } from '../base/task-id.ts';
import type { Peer } from '../peer/peer.ts';
import { standingHome } from '../records/directory.ts';
import type { RecordState } from '../records/record.ts';
import { encodeBlob } from '../tasks/facts.ts';
import type { Found } from '../tasks/found.ts';
import { ownerOf } from '../tasks/ownership.ts';
import { currentAttempt, taskOf } from '../tasks/task.ts';
import { becauseOfActive, historyOf, standingOf, type ViewExtras, viewOf } from '../tasks/view.ts';
import { errorReply } from './jsonrpc.ts';
import { checkAgainst } from './params.ts';

/** Answers of one `task.wait` stay below what a client takes as a line. */
const WAIT_BYTES_MAX = 4 * 1_024 * 1_024;
/** Submits of one bulk that are under way at once: they share frames and disk writes. */
const BULK_WIDTH = 256;

const notFound = (id: string): CoveyError => coveyError('NOT_FOUND', { what: `task ${id}` });

/** Schemas check the shape; this finds what only looks like an id. */
export function idOf(text: string): Result<string, CoveyError> {
  const id = canonicalTaskId(text);
  return id === undefined
    ? err(coveyError('INVALID_PARAMS', { why: `'${text}' is not a task id` }))
    : ok(id);
}

export function viewFound(peer: Peer, found: Found): TaskView {
  const task = taskOf(found.record);
  const store = task.final === undefined ? ownerOf(task, peer.sight) : undefined;
  const owner = store === undefined ? undefined : nameOfStore(peer, store);
  const { owner: _told, ...extras } = found.extras;
  return viewHere(peer, found.record, {
    ...extras,
    ...(owner === undefined ? {} : { owner }),
  });
}

/** With the home as it stands: what was removed is not shown. */
const viewHere = (peer: Peer, record: RecordState, extras?: ViewExtras): TaskView => ({
  ...viewOf(record, peer.ports.clock.wallMs(), extras),
  home: standingHome(peer.sight.directory, record),
});

const nameOfStore = (peer: Peer, store: string): string =>
  peer.sight.peers().find((item) => item.storeId === store)?.name ?? store;

export async function submitBulk(
  peer: Peer,
  params: MethodParams<'task.submit_bulk'>,
): Promise<Result<MethodResult<'task.submit_bulk'>, CoveyError>> {
  const receipts: MethodResult<'task.submit_bulk'>['receipts'] = [];
  for (let from = 0; from < params.tasks.length; from += BULK_WIDTH) {
    const batch = params.tasks.slice(from, from + BULK_WIDTH);
    receipts.push(
      ...(await Promise.all(
        batch.map(async (item) => {
          const checked = checkAgainst(submitSchema, item);
          const done = checked.ok ? await peer.tasks.submit(checked.value) : checked;
          return done.ok ? done.value : { error: errorReply(done.error) };
        }),
      )),
    );
  }
  return ok({ receipts });
}

export async function getTask(
  peer: Peer,
  { id: text, read }: MethodParams<'task.get'>,
): Promise<Result<TaskView, CoveyError>> {
  const id = idOf(text);
  if (!id.ok) return id;
  const { reader } = peer.tasks;
  const found =
    read === undefined
      ? ok(await reader.findOrRemains(id.value, true))
      : await reader.findFrom(id.value, true, read);
  if (!found.ok) return found;
  return found.value === undefined ? err(notFound(id.value)) : ok(viewFound(peer, found.value));
}

export async function findTasks(
  peer: Peer,
  text: string,
): Promise<Result<MethodResult<'task.find'>, CoveyError>> {
  const suffix = canonicalSuffix(text);
  if (suffix === undefined)
    return err(coveyError('INVALID_PARAMS', { why: `'${text}' is not the end of an id` }));
  const listing = await peer.tasks.lister.list({ suffix, limit: 16 });
  return ok({
    ids: listing.tasks.map((task) => task.id),
    complete: listing.unreachable.length === 0 && listing.cursor === undefined,
  });
}

export async function cancelTask(
  peer: Peer,
  params: MethodParams<'task.cancel'>,
): Promise<Result<MethodResult<'task.cancel'>, CoveyError>> {
  const id = idOf(params.id);
  if (!id.ok) return id;
  const state = await peer.tasks.intents.cancel(id.value, params.reason ?? '');
  return state.ok ? ok({ id: id.value, state: state.value }) : state;
}

export async function retryTask(
  peer: Peer,
  text: string,
): Promise<Result<{ id: string }, CoveyError>> {
  const id = idOf(text);
  if (!id.ok) return id;
  if (peer.tasks.isStopping) return err(coveyError('STOPPING'));
  const found = await peer.tasks.reader.find(id.value, true);
  if (found === undefined) return err(notFound(id.value));
  const task = taskOf(found.record);
  if (task.final === undefined) {
    const { state } = standingOf(task, peer.ports.clock.wallMs());
    return err(coveyError('TASK_NOT_FINAL', { id: task.id, state }));
  }
  const blob = encodeBlob(found.extras.blob ?? {});
  const receipt = await peer.tasks.submitter.resubmit(found.record, task.header, blob);
  return receipt.ok ? ok({ id: receipt.value.id }) : receipt;
}

export async function listTasks(
  peer: Peer,
  params: MethodParams<'task.list'>,
): Promise<Result<MethodResult<'task.list'>, CoveyError>> {
  const before = params.cursor === undefined ? undefined : canonicalTaskId(params.cursor);
  if (params.cursor !== undefined && before === undefined) return err(coveyError('CURSOR_INVALID'));
  const listing = await peer.tasks.lister.list({
    limit: params.limit,
    ...(before === undefined ? {} : { before }),
    ...(params.state === undefined ? {} : { state: params.state }),
    ...(params.queue === undefined ? {} : { queue: params.queue }),
    ...(params.type === undefined ? {} : { type: params.type }),
    ...(params.conflicts ? { conflicts: true } : {}),
  });
  return ok({
    tasks: listing.tasks,
    ...(listing.cursor === undefined ? {} : { cursor: listing.cursor }),
    complete: listing.unreachable.length === 0,
    unreachable: listing.unreachable,
  });
}

export async function waitTasks(
  peer: Peer,
  params: MethodParams<'task.wait'>,
): Promise<Result<MethodResult<'task.wait'>, CoveyError>> {
  // Canonical first: one id in two spellings is one task, which ends once.
  const wanted = new Set<string>();
  for (const text of params.ids) {
    const id = idOf(text);
    if (!id.ok) return id;
    wanted.add(id.value);
  }
  const ids = [...wanted];
  const records = await waitForFinals(peer, ids, params.timeout_ms, params.any);
  const done: TaskView[] = [];
  let bytes = 0;
  for (const record of records) {
    if (bytes > WAIT_BYTES_MAX) break;
    const view = viewHere(peer, record);
    bytes += utf8(JSON.stringify(view)).length;
    done.push(view);
  }
  const told = new Set(done.map((task) => task.id));
  return ok({ done, pending: ids.filter((id) => !told.has(id)) });
}

/** Final records among the ids, when all (or any) are final or time is up. */
function waitForFinals(
  peer: Peer,
  ids: readonly string[],
  timeoutMs: number,
  any: boolean,
): Promise<RecordState[]> {
  const { clock } = peer.ports;
  const records = new Map<string, RecordState>();
  return new Promise((resolve) => {
    const finish = (): void => {
      giveUp();
      timer.cancel();
      resolve([...records.values()]);
    };
    const withinMs = Math.max(timeoutMs, FIRST_ANSWER_MS);
    // What became final in the same turn is answered together.
    let scheduled = false;
    const settle = (record: RecordState): void => {
      records.set(record.id, record);
      if (scheduled || (!any && records.size < ids.length)) return;
      scheduled = true;
      clock.after(0, finish);
    };
    const giveUp = peer.tasks.reader.watch(ids, settle, withinMs);
    const timer = clock.after(withinMs, finish);
  });
}

/** Even a wait of 0 asks the homes once. */
const FIRST_ANSWER_MS = 100;

export async function explainTask(
  peer: Peer,
  text: string,
): Promise<Result<MethodResult<'task.explain'>, CoveyError>> {
  const id = idOf(text);
  if (!id.ok) return id;
  const found = await peer.tasks.reader.find(id.value, false);
  if (found === undefined) return err(notFound(id.value));
  const task = taskOf(found.record);
  const standing = standingOf(task, peer.ports.clock.wallMs(), found.extras.waitingReason);
  const owner = task.final === undefined ? ownerOf(task, peer.sight) : undefined;
  const runner = currentAttempt(task)?.start.runner_name;
  const view = viewHere(peer, found.record);
  return ok({
    id: id.value,
    state: standing.state,
    ...(standing.reason === undefined ? {} : { reason: standing.reason }),
    since: toRfc3339(standing.sinceWallMs),
    home: view.home.map((store) => nameOfStore(peer, store)),
    ...(owner === undefined ? {} : { owner: nameOfStore(peer, owner) }),
    ...(runner === undefined ? {} : { runner }),
    because: becauseOfActive(task, await becauseOf(peer, found, owner)),
    history: historyOf(found.record, (store) => nameOfStore(peer, store)),
  });
}

/** The owner's placement, asked of the owner itself; ours when it is out of reach. */
async function becauseOf(
  peer: Peer,
  found: Found,
  owner: string | undefined,
): Promise<MethodResult<'task.explain'>['because']> {
  if (owner === undefined) return [];
  const local = [...peer.tasks.explainHere(found).because];
  const at = peer.sight.directory.peerOf(owner);
  if (at === undefined) return local;
  const answer = await peer.messenger.call(at, 'task.because', { id: found.record.id });
  const items = answer.ok && Array.isArray(answer.value.because) ? answer.value.because : undefined;
  return items === undefined
    ? local
    : (items as unknown as MethodResult<'task.explain'>['because']);
}
