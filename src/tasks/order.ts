/** What a runner is told of an attempt. */
import type { RunRequest } from '../executors/executor.ts';
import { type Fact, homeOf } from '../records/record.ts';
import type { Placed } from './attempts.ts';
import { decodeBlob } from './facts.ts';
import { taskOf } from './task.ts';

export interface RunOrder extends RunRequest {
  /** Stores of the record's home, for reports and ends. */
  readonly home: readonly string[];
  readonly ownerStore: string;
  /** The fact that placed the attempt: whoever takes its end may not have heard of its start. */
  readonly startFact: Fact;
}

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
