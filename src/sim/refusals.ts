/**
 * What a disk with little room may refuse: new tasks, new copies, starts, and what can be done without. An end, a
 * cancel or anything else about a task that lies there already has the reserve, and its refusal is a mistake.
 */
import type { StoreOp } from '../ports/store.ts';
import { clockOf, factsBeyond } from '../records/record.ts';
import type { SimDisk } from './disk.ts';
import { readRecord } from './on-disk.ts';

/** Facts that bring more work: a start, and the claim of a new task to a key, with the place in its home. */
const GROWING: ReadonlySet<unknown> = new Set(['start', 'id', 'home']);

/** Why this refusal is a mistake; none if it is not. */
export function wronglyRefused(disk: SimDisk, ops: readonly StoreOp[]): string | undefined {
  for (const op of ops) {
    const key = 'put' in op ? op.put : op.del;
    if (!key.startsWith('r/')) continue;
    if ('del' in op) {
      if (disk.read().get(key) !== undefined) return `the removal of ${key}`;
      continue;
    }
    const before = readRecord(op.put, disk.read().get(op.put));
    const after = readRecord(op.put, op.value);
    if (before === undefined || after === undefined) continue;
    const facts = factsBeyond(after, clockOf(before));
    const settling = facts.find(({ value }) => !GROWING.has(value.t));
    if (settling !== undefined) return `a fact ${String(settling.value.t)} of ${op.put.slice(2)}`;
    if (facts.length === 0) return `another version of ${op.put.slice(2)}`;
  }
  return undefined;
}
