/** Into and out of what a store has set aside (aside.ts), through the queue of the record. */
import type { CoveyError } from '../base/errors.ts';
import type { Result } from '../base/result.ts';
import { clockOf, covers, type RecordState } from './record.ts';
import type { Replica } from './replica.ts';

/** Keeps an unfinished task out of the way: it may have ended elsewhere, and been forgotten. */
export async function setAside(replica: Replica, id: string): Promise<Result<boolean, CoveyError>> {
  const { aside } = replica;
  const done = await replica.change(id, ({ current }) => {
    if (current === undefined || !replica.isUnfinished(id)) return { value: false };
    return { value: true, forget: true, extra: aside.putOps(current, replica.blob(id)) };
  });
  if (done.ok && done.value) aside.written(id, true);
  return done;
}

/** Another store holds this of what was set aside: if that is all of it, the copy here is not needed. */
export async function releaseAside(
  replica: Replica,
  held: RecordState,
): Promise<Result<boolean, CoveyError>> {
  const { id } = held;
  const { aside } = replica;
  const done = await replica.change(id, ({ current }) => {
    const record = aside.get(id);
    if (current !== undefined || record === undefined) return { value: false };
    if (!covers(clockOf(held), clockOf(record))) return { value: false };
    return { value: true, extra: [...aside.removalOps(id), { del: `b/${id}` }] };
  });
  if (done.ok && done.value) aside.written(id, false);
  return done;
}
