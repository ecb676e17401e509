/**
 * The order to start an attempt, on its way from the owner to the runner. After a silence between the two whatever
 * the network kept arrives at once, and an order of then may be about an attempt that others have given up since: a
 * runner that was only just out of touch with the owner has it said again before it starts anything.
 */
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import type { Clock } from '../ports/clock.ts';
import { decodeRecord, encodeRecord, homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import type { Placed } from './attempts.ts';
import { PLACED_MAX } from './decide.ts';
import type { Credit } from './dispatcher.ts';
import type { StartFact } from './facts.ts';
import type { MeshView, PeerSight } from './mesh-view.ts';
import { orderOf } from './order.ts';
import type { Runner, StartAnswer } from './runner.ts';
import { isOpen, isTaskRecord, taskOf } from './task.ts';

/** An owner waits so long for the answer; what comes later may be an order that it has given up. */
export const START_TIMEOUT_MS = 4_000;
/** The same order is sent again for want of a payload, and after a silence: not more often than this. */
const SENDS_MAX = 3;
/** Two readings of one moment differ by no more than this. */
const SAME_MOMENT_MS = 1;

export interface StartOrderDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly runner: Runner;
}

/** Undefined: no answer, which is not a refusal. */
export async function sendStart(
  deps: StartOrderDeps,
  placed: Placed,
  credit: Credit,
): Promise<StartAnswer | undefined> {
  const { view, runner, messaging, replica } = deps;
  const { record, fact } = placed;
  // It was found damaged here, and is being fetched again: without it another command would run.
  if (record.blobDigest !== '' && replica.blob(record.id) === undefined)
    return { taken: false, code: 'no_payload' };
  const task = taskOf(replica.get(record.id) ?? record);
  const known = task.attempts.filter((item) => !isOpen(item)).map(({ start }) => start.run_id);
  if (credit.peerId === view.self().peerId) {
    const order = orderOf(placed, replica.storeId, replica.blob(record.id));
    return runner.start(order, credit.credit, new Set(known));
  }
  const blob = (): WireMap => ({ blob: replica.blob(record.id) ?? new Uint8Array(0) });
  const isHome = homeOf(record).includes(placed.start.runner_store);
  let body: WireMap = {
    record: encodeRecord({ ...record, facts: [fact] }),
    run_id: placed.start.run_id,
    owner: replica.storeId,
    credit: credit.credit,
    ...(known.length === 0 ? {} : { known }),
    ...(isHome ? {} : blob()),
  };
  for (let sends = 1; ; sends++) {
    const options = { timeoutMs: START_TIMEOUT_MS };
    const answer = await messaging.call(credit.peerId, 'run.start', body, options);
    if (!answer.ok) return undefined;
    const { taken, code, since_ms } = answer.value;
    if (taken === true) return { taken: true };
    if (sends >= SENDS_MAX) return { taken: false, code: String(code) };
    if (code === 'need_blob') body = { ...body, ...blob() };
    else if (code === 'say_again') body = { ...body, again: since_ms ?? 0 };
    else return { taken: false, code: String(code) };
  }
}

/** Since when the owner is heard without a break, when that is so short that an order may be from before it. */
function heardAnewSince(deps: StartOrderDeps, ownerStore: string): number | undefined {
  const inTouchMs = deps.view.inTouchForMs(ownerStore);
  if (inTouchMs > START_TIMEOUT_MS) return undefined;
  return Math.round(deps.clock.nowMs() - Math.max(0, inTouchMs));
}

const isForThisBoot = (self: PeerSight, start: StartFact): boolean =>
  start.runner === self.peerId &&
  start.runner_store === self.storeId &&
  start.runner_boot === self.bootCount;

export function onStart(deps: StartOrderDeps, body: WireMap): CallResult {
  const record = decodeRecord(body.record);
  const fact = record?.facts.find(
    (item) => item.value.t === 'start' && item.value.run_id === body.run_id,
  );
  if (record === undefined || fact === undefined || !isTaskRecord(record)) {
    return err(coveyError('INVALID_PARAMS', { why: 'run.start without its attempt' }));
  }
  const since = heardAnewSince(deps, String(body.owner));
  if (since !== undefined) {
    const isSaidAgain =
      typeof body.again === 'number' && Math.abs(body.again - since) <= SAME_MOMENT_MS;
    if (!isSaidAgain) return ok({ taken: false, code: 'say_again', since_ms: since });
  }
  const blob = body.blob instanceof Uint8Array ? body.blob : deps.replica.blob(record.id);
  if (blob === undefined && record.blobDigest !== '')
    return ok({ taken: false, code: 'need_blob' });
  const start = fact.value as unknown as StartFact;
  // An order to an earlier boot of this store, that comes after its restart: whoever reads the record takes
  // the attempt for lost with that boot, and would start another beside it.
  if (!isForThisBoot(deps.view.self(), start)) return ok({ taken: false, code: 'other_boot' });
  const answer = deps.runner.start(
    orderOf({ record, start, fact }, String(body.owner), blob),
    String(body.credit),
    new Set(Array.isArray(body.known) ? body.known.slice(0, PLACED_MAX).map(String) : []),
  );
  return ok({ ...answer });
}
