/** A task as it travels and lies: 100 bytes of payload and result, an attempt that ended, its final. */

import { type RecordState, withFact } from '../../src/records/record.ts';
import { encodeBlob } from '../../src/tasks/facts.ts';
import {
  endOf,
  factOf,
  finalOf,
  newRecord,
  startOf,
  storeOf,
} from '../../test/support/task-records.ts';
import { PAYLOAD, RESULT } from '../throughput/system.ts';

const HOME = ['a', 'b', 'c'].map(storeOf);
export const BLOB = encodeBlob({ payload: JSON.stringify(PAYLOAD) });

export const created = (): RecordState => newRecord(HOME, { blob: BLOB });

export function started(record: RecordState, runId = '5f0d0cbfd6b6a0c1'): RecordState {
  return withFact(record, factOf(HOME[0] ?? '', 7, startOf(runId)));
}

export function ended(record: RecordState, runId = '5f0d0cbfd6b6a0c1'): RecordState {
  const end = endOf(runId, { res: JSON.stringify(RESULT) });
  const withEnd = withFact(record, factOf(HOME[0] ?? '', 8, end));
  return withFact(withEnd, factOf(HOME[0] ?? '', 9, finalOf({ run_id: runId })));
}
