/**
 * Runs that their runner holds, for a store that takes over: it must know of them before it starts anything. The stores
 * that know of their start may all be out of reach while the runner is not. Message: `run.held` (request).
 */
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import { decodeFacts, encodeFacts, type Fact, joinRecords } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { WireValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { CallResult, Messaging } from '../wire/messaging.ts';
import { isTaskFact } from './facts.ts';
import type { Runner } from './runner.ts';

/** Ids in one question: a round of a takeover. */
export const HELD_IDS_MAX = 1_024;

/** By task: the starts of its runs that are held. */
type Held = readonly (readonly [id: string, starts: readonly Fact[]])[];

export function heldOf(runner: Pick<Runner, 'held'>, ids: readonly string[]): Held {
  return ids.map((id) => [id, runner.held(id)] as const).filter(([, starts]) => starts.length > 0);
}

export function serveHeld(deps: {
  readonly messaging: Messaging;
  readonly runner: Pick<Runner, 'held'>;
}): void {
  deps.messaging.onRequest('run.held', (_from, { ids }): CallResult => {
    if (!Array.isArray(ids) || ids.length > HELD_IDS_MAX)
      return err(coveyError('INVALID_PARAMS', { why: `run.held takes ${HELD_IDS_MAX} ids` }));
    const runs = heldOf(deps.runner, ids.map(String));
    return ok({ runs: runs.map(([id, starts]): WireValue => [id, encodeFacts(starts)]) });
  });
}

/** Undefined: no answer. A peer of a version that does not know the question has answered: nothing. */
export async function askHeld(
  messaging: Messaging,
  peer: string,
  ids: readonly string[],
  timeoutMs?: number,
): Promise<Held | undefined> {
  const answer = await messaging.call(
    peer,
    'run.held',
    { ids: [...ids] },
    timeoutMs === undefined ? {} : { timeoutMs },
  );
  if (!answer.ok) return answer.error.code === 'METHOD_NOT_FOUND' ? [] : undefined;
  return readHeld(answer.value, new Set(ids));
}

function readHeld({ runs }: WireMap, asked: ReadonlySet<string>): Held {
  if (!Array.isArray(runs)) return [];
  return (runs as WireValue[]).flatMap((item) => {
    if (!Array.isArray(item)) return [];
    const [id, facts] = item as WireValue[];
    if (typeof id !== 'string' || !asked.has(id)) return [];
    const starts = decodeFacts(facts)?.filter((fact) => fact.value.t === 'start') ?? [];
    return [[id, starts.filter((fact) => isTaskFact(fact.value))] as const];
  });
}

/** Notes the starts here; an attempt that was unknown is open from then on. Answers what could not be written. */
export async function joinHeld(replica: Replica, held: Held): Promise<string[]> {
  const unwritten: string[] = [];
  for (const [id, starts] of held) {
    const written = await replica.change<void>(id, ({ current }) => {
      if (current?.kind !== 'task') return { value: undefined };
      const isNew = (fact: Fact): boolean =>
        !current.facts.some(({ store, seq }) => store === fact.store && seq === fact.seq);
      if (!starts.some(isNew)) return { value: undefined };
      const next = joinRecords(current, { ...current, facts: starts });
      return { value: undefined, next, purpose: 'settle' };
    });
    if (!written.ok) unwritten.push(id);
  }
  return unwritten;
}
