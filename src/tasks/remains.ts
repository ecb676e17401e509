/**
 * What may still be told of a task whose record was dropped: how it ended. It has the shape of a record, so that
 * whoever waits is told as of any other task, but it is none: it is never stored, sent or joined with one.
 */
import { isFinalState, TASK_STATES } from '../api/task.ts';
import { parseTaskId } from '../base/task-id.ts';
import type { RecordState } from '../records/record.ts';
import type { Tombstone } from '../records/tombstone.ts';
import { encodeHeader, type FinalFact, toWire } from './facts.ts';

/** The reason of its final: result, attempts, queue and type are gone. */
export const DROPPED = 'dropped';

/** Nothing of the request is left; the texts are empty rather than guessed. */
const FORGOTTEN_HEADER = encodeHeader({
  queue: '',
  type: '',
  priority: 0,
  delay_ms: 0,
  attempts: 1,
  losses_max: 0,
  on_lost: 'fail',
  durability: 'auto',
  on_partition: 'wait',
  output: 'full',
  labels: {},
  digest: '',
});

/** Undefined when the tombstone names no final state: what another version or a broken peer sent may be anything. */
export function remainsOf(id: string, stone: Tombstone): RecordState | undefined {
  const createdMs = parseTaskId(id)?.createdMs;
  const state = TASK_STATES.find((known) => known === stone.final);
  if (createdMs === undefined || state === undefined || !isFinalState(state)) return undefined;
  const final: FinalFact = {
    t: 'final',
    state: state as FinalFact['state'],
    reason: DROPPED,
    run_id: '',
    n: 0,
    digest: stone.digest,
    // It ended at some time before it was dropped.
    at: stone.droppedWallMs,
    drop_at: stone.droppedWallMs,
  };
  return {
    id,
    kind: 'task',
    stamp: createdMs,
    header: FORGOTTEN_HEADER,
    blobDigest: '',
    firstHome: [],
    facts: [{ store: '', seq: 1, value: toWire(final) }],
  };
}
