/** Another identity for a store that the mesh refused as rolled back or copied. */
import { ok, type Result } from '../base/result.ts';
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import { Book } from '../membership/book.ts';
import type { Ports } from '../ports/index.ts';
import { renew } from '../records/renewal.ts';
import type { LoadError } from '../records/store-identity.ts';

export interface Renewal {
  readonly why: string;
  readonly log: Logger;
  readonly tombstoneTtlMs: number;
}

/** Before a peer is made of these ports. Answers the new storeId. */
export async function renewStore(
  ports: Pick<Ports, 'store' | 'identityStore' | 'clock' | 'random'>,
  { why, log, tombstoneTtlMs }: Renewal,
): Promise<Result<string, LoadError>> {
  const { store, identityStore, clock, random } = ports;
  const taken = new Set(
    new Book(identityStore, clock, log).seenStores().map(({ storeId }) => fingerprintOf(storeId)),
  );
  const oldestMs = clock.wallMs() - tombstoneTtlMs;
  const renewed = await renew(store, random, {
    why,
    isTaken: (fingerprint) => taken.has(fingerprint),
    // Nobody may remember any more that such a task is over: offered to its home it would run again.
    isForgotten: (id) =>
      store.get(`u/${id}`) !== undefined && (parseTaskId(id)?.createdMs ?? oldestMs) < oldestMs,
  });
  if (!renewed.ok) return renewed;
  const { storeId, records } = renewed.value;
  log.log('warn', 'the store was refused: it is another one now', {
    why,
    store_id: storeId,
    records,
  });
  return ok(storeId);
}
