/** Another identity for a store that the mesh refused as rolled back or copied, or that was put here in place of this peer's. */
import { ok, type Result } from '../base/result.ts';
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import { Book } from '../membership/book.ts';
import type { Ports } from '../ports/index.ts';
import { renew } from '../records/renewal.ts';
import { type LoadError, StoreIdentity } from '../records/store-identity.ts';

export interface StoreCare {
  /** Why a member refused the store in the start before. */
  readonly refusal: string | undefined;
  readonly log: Logger;
  readonly tombstoneTtlMs: number;
}

type StorePorts = Pick<Ports, 'store' | 'identityStore' | 'clock' | 'random'>;

/** Before a peer is made of these ports: what lies in `store/` must be this peer's own, or become it. */
export async function readyStore(
  ports: StorePorts,
  { refusal, ...care }: StoreCare,
): Promise<Result<void, LoadError>> {
  const why = refusal ?? foreign(ports, care.log);
  if (why === undefined) return ok(undefined);
  const renewed = await renewStore(ports, { why, ...care });
  return renewed.ok ? ok(undefined) : renewed;
}

/**
 * A store that has had starts, and this peer's last one was with another: a copy of somebody's, or of an earlier store of
 * this peer. Others would refuse it; but what it wrote until it meets one of them would bear the name of a store that lives
 * elsewhere, and dots beyond those that it writes there: its changes would be taken for known ones.
 */
function foreign({ store, identityStore, clock }: StorePorts, log: Logger): string | undefined {
  const last = new Book(identityStore, clock, log).lastStore();
  const lying = StoreIdentity.peek(store);
  if (last === undefined || lying === undefined || lying.storeId === last) return undefined;
  // Renewed, and not started since.
  if (lying.former?.storeId === last) return undefined;
  return `the last start of this peer was with store ${last}: this one was put in its place`;
}

/** Answers the new storeId. */
async function renewStore(
  ports: StorePorts,
  { why, log, tombstoneTtlMs }: Omit<StoreCare, 'refusal'> & { readonly why: string },
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
  log.log('warn', 'this store is another one now', {
    why,
    store_id: storeId,
    records,
  });
  return ok(storeId);
}
