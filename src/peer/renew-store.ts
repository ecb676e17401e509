/**
 * Another identity for a store that the mesh refused as rolled back or copied. What lies in it is input to joins only:
 * every record becomes a stand-in copy of a new store, is offered to its home, and goes when the home has it.
 */

import type { Result } from '../base/result.ts';
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import { Book } from '../membership/book.ts';
import type { Ports } from '../ports/index.ts';
import { prefixEnd, type Store } from '../ports/store.ts';
import { SHARED_PREFIX } from '../records/partner-index.ts';
import { type LoadError, StoreIdentity } from '../records/store-identity.ts';

const PAGE_MAX = 1_000;

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
  const ids = keysOf(store, 'r/').map((key) => key.slice(2));
  const oldestMs = clock.wallMs() - tombstoneTtlMs;
  // Nobody may remember any more that such a task is over: offered to its home it would run again.
  const isForgotten = (id: string): boolean =>
    store.get(`u/${id}`) !== undefined && (parseTaskId(id)?.createdMs ?? oldestMs) < oldestMs;
  const renewed = await StoreIdentity.remint(store, random, {
    why,
    isTaken: (fingerprint) => taken.has(fingerprint),
    offered: ids.filter((id) => !isForgotten(id)),
    aside: ids.filter(isForgotten),
    stale: keysOf(store, SHARED_PREFIX),
  });
  if (renewed.ok) {
    const fields = { why, store_id: renewed.value, records: ids.length };
    log.log('warn', 'the store was refused: it is another one now', fields);
  }
  return renewed;
}

/** Damaged values too: whoever reads them later finds that out. */
function keysOf(store: Store, prefix: string): string[] {
  const keys: string[] = [];
  for (let from = prefix; ; ) {
    const page = store.range({ from, to: prefixEnd(prefix), limit: PAGE_MAX });
    for (const { key } of page) keys.push(key);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_MAX) return keys;
    from = `${last.key}\x00`;
  }
}
