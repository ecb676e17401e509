/** Joins of two versions of a record, and what is derived from each version: its task, its hash. */
import { contentHash, joinRecords, type RecordState } from '../../src/records/record.ts';
import { taskOf } from '../../src/tasks/task.ts';
import type { Bench } from '../common/bench.ts';
import type { Shape } from '../common/options.ts';
import { rateOf } from '../common/rate.ts';
import { created, ended, started } from './samples.ts';

const shape = {
  ms: { kind: 'number', default: 1_000, min: 10, max: 60_000 },
  attempts: { kind: 'number', default: 10, min: 1, max: 100 },
} satisfies Shape;

/** Another object each time: what is derived from a version is remembered with it. */
const fresh = (record: RecordState): RecordState => ({ ...record });

export const joinBench: Bench<typeof shape> = {
  shape,
  needs: () => ({}),
  measure: async ({ ms, attempts }) => {
    const before = started(created());
    const after = ended(before);
    let long = before;
    for (let i = 1; i < attempts; i += 1) long = started(long, `run ${i}`);
    const longEnded = ended(long);
    const figures = {
      // What a store does with the end of a task that it knows to run.
      joins_per_s: rateOf(ms, () => joinRecords(before, after)),
      joins_of_equals_per_s: rateOf(ms, () => joinRecords(after, { ...after })),
      joins_of_long_ones_per_s: rateOf(ms, () => joinRecords(long, longEnded)),
      tasks_per_s: rateOf(ms, () => taskOf(fresh(after))),
      hashes_per_s: rateOf(ms, () => contentHash(fresh(after))),
    };
    return { figures, targets: [] };
  },
};
