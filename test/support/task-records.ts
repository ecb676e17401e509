/** Task records for tests: a creation, and facts added to it by any store. */
import { digestOf } from '../../src/base/hash.ts';
import { encodeTaskId, fingerprintOf } from '../../src/base/task-id.ts';
import type { Fact, RecordState } from '../../src/records/record.ts';
import { withFact } from '../../src/records/record.ts';
import {
  type EndFact,
  encodeHeader,
  type FinalFact,
  type StartFact,
  type TaskFactValue,
  type TaskHeader,
  toWire,
} from '../../src/tasks/facts.ts';

/** 128 bits of a store id from a letter. */
export const storeOf = (name: string): string => digestOf(`store ${name}`);

export const headerOf = (more: Partial<TaskHeader> = {}): TaskHeader => ({
  queue: 'default',
  type: 'mail',
  priority: 0,
  delay_ms: 0,
  attempts: 1,
  losses_max: 3,
  on_lost: 'retry',
  durability: 'auto',
  on_partition: 'wait',
  output: 'full',
  labels: {},
  digest: 'request',
  ...more,
});

let minted = 0;

export function newRecord(
  home: readonly string[],
  more: { header?: Partial<TaskHeader>; stamp?: number; blob?: Uint8Array; id?: string } = {},
): RecordState {
  minted += 1;
  const stamp = more.stamp ?? 1_767_225_600_000;
  const id =
    more.id ??
    encodeTaskId({
      createdMs: stamp,
      random: minted.toString(16).padStart(12, '0'),
      fingerprints: home.slice(0, 3).map(fingerprintOf),
    });
  return {
    id,
    kind: 'task',
    stamp,
    // A plain Uint8Array, as it comes back from the disk; the encoder gives a Buffer.
    header: Uint8Array.from(encodeHeader(headerOf(more.header))),
    blobDigest: more.blob === undefined ? '' : digestOf(more.blob),
    firstHome: [...home].sort(),
    facts: [],
  };
}

export const factOf = (store: string, seq: number, value: TaskFactValue): Fact => ({
  store,
  seq,
  value: toWire(value),
});

export const withFacts = (record: RecordState, ...facts: Fact[]): RecordState =>
  facts.reduce(withFact, record);

export const startOf = (runId: string, more: Partial<StartFact> = {}): StartFact => ({
  t: 'start',
  n: 1,
  run_id: runId,
  runner: 'peer-r',
  runner_store: storeOf('r'),
  runner_boot: 1,
  runner_name: 'r',
  at: 1_767_225_600_100,
  dbl: false,
  ...more,
});

export const endOf = (runId: string, more: Partial<EndFact> = {}): EndFact => ({
  t: 'end',
  n: 1,
  run_id: runId,
  out: 'completed',
  at: 1_767_225_600_200,
  ...more,
});

export const finalOf = (more: Partial<FinalFact> = {}): FinalFact => ({
  t: 'final',
  state: 'completed',
  reason: '',
  run_id: 'run1',
  n: 1,
  digest: 'd',
  at: 1_767_225_600_300,
  drop_at: 1_767_225_700_000,
  ...more,
});
