/**
 * A store becomes another one. What lies in it is input to joins only: every record becomes a stand-in copy, which is
 * offered to its home and given up when the home has it, and nothing is known of what is shared with whom.
 *
 * It goes in batches, and the identity comes last: a store that was interrupted is still the one that the mesh refuses,
 * and begins again. One batch for all of it would be atomic by itself, but a million records are two million
 * operations, for which a disk must have 16 GiB free and half a minute.
 */
import { err, ok, type Result } from '../base/result.ts';
import type { Random } from '../ports/random.ts';
import { prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { sealOp } from './checked-store.ts';
import { SHARED_COMPLETE_KEY, SHARED_PREFIX } from './partner-index.ts';
import { type LoadError, StoreIdentity } from './store-identity.ts';

/** Records, or entries of the index, of one batch: it needs 16 MiB of the disk, and is written in some ten milliseconds. */
const BATCH_RECORDS = 500;

export interface Renewing {
  readonly why: string;
  readonly isTaken: (fingerprint: string) => boolean;
  /** Records that are kept out of sight, under `q/`, instead of being offered. */
  readonly isForgotten: (id: string) => boolean;
}

/** The store is the one below the checksums. Answers its new id, and how many records it offers. */
export async function renew(
  store: Store,
  random: Random,
  about: Renewing,
): Promise<Result<{ readonly storeId: string; readonly records: number }, LoadError>> {
  let records = 0;
  const opsOf = (id: string): StoreOp[] => {
    records += 1;
    if (about.isForgotten(id)) return asideOps(id, store.get(`r/${id}`));
    return [{ put: `s/${id}`, value: new Uint8Array(0) }];
  };
  // From here on the old one would make its index anew, should it be opened once more.
  const failure =
    (await written(store, [{ del: SHARED_COMPLETE_KEY }])) ??
    (await inBatches(store, SHARED_PREFIX, (key) => [{ del: key }])) ??
    (await inBatches(store, 'r/', (key) => opsOf(key.slice(2))));
  if (failure !== undefined) return err(failure);
  const storeId = await StoreIdentity.remint(store, random, about);
  return storeId.ok ? ok({ storeId: storeId.value, records }) : storeId;
}

/** The value keeps the checksum of the key that it had. */
const asideOps = (id: string, sealed: Uint8Array | undefined): StoreOp[] => [
  ...['r', 'u', 's'].map((mark): StoreOp => ({ del: `${mark}/${id}` })),
  ...(sealed === undefined ? [] : [sealOp({ put: `q/${id}`, value: sealed })]),
];

async function written(store: Store, batch: readonly StoreOp[]): Promise<LoadError | undefined> {
  const result = await store.append(batch);
  return result.ok ? undefined : { code: 'failed', detail: result.detail };
}

/** All keys of the prefix, damaged values too: whoever reads them later finds that out. */
async function inBatches(
  store: Store,
  prefix: string,
  opsOf: (key: string) => StoreOp[],
): Promise<LoadError | undefined> {
  for (let from = prefix; ; ) {
    const page = store.range({ from, to: prefixEnd(prefix), limit: BATCH_RECORDS });
    const last = page.at(-1);
    if (last === undefined) return undefined;
    const failure = await written(
      store,
      page.flatMap(({ key }) => opsOf(key)),
    );
    if (failure !== undefined || page.length < BATCH_RECORDS) return failure;
    from = `${last.key}\x00`;
  }
}
