/** What a runner is told of an attempt. */
import { homeOf } from '../records/record.ts';
import type { Placed } from './attempts.ts';
import { decodeBlob } from './facts.ts';
import type { RunOrder } from './runner.ts';
import { taskOf } from './task.ts';

export function orderOf(
  placed: Placed,
  ownerStore: string,
  blob: Uint8Array | undefined,
): RunOrder {
  const { record, start, fact } = placed;
  return {
    id: record.id,
    n: start.n,
    runId: start.run_id,
    header: taskOf(record).header,
    blob: decodeBlob(blob),
    home: homeOf(record),
    ownerStore,
    startFact: fact,
  };
}
