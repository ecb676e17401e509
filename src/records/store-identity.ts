/**
 * Who this store is: storeId, boots, the counter behind every dot, and the version of what lies in it.
 *
 * Two things must hold after any crash: a boot count is never used twice (it is synced before the first packet),
 * and a dot is never used twice (the counter is written in the same batch as what carries the dot).
 */
import { toHex } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Random } from '../ports/random.ts';
import type { Store, StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { LAYOUT, type Layout, migrationOps } from './layout.ts';

export const BOOT_IDS_KEPT = 64;

const META_KEY = 'm/store';
const SEQ_KEY = 'm/seq';

export class StoreIdentity {
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  readonly bootIds: readonly string[];
  #seq: number;
  #durableSeq: number;

  private constructor(
    meta: { storeId: string; bootCount: number; bootIds: readonly string[] },
    seq: number,
  ) {
    this.storeId = meta.storeId;
    this.bootCount = meta.bootCount;
    this.bootIds = meta.bootIds;
    this.bootId = meta.bootIds.at(-1) ?? '';
    this.#seq = seq;
    this.#durableSeq = seq;
  }

  /**
   * Reads or mints the identity, brings an older store to this layout and counts this boot, all in one batch.
   * The entry of the identity keeps its shape in every layout: its number must be readable before anything else.
   */
  static async load(
    store: Store,
    random: Random,
    layout: Layout = LAYOUT,
  ): Promise<Result<StoreIdentity, string>> {
    const metaBytes = store.get(META_KEY);
    let storeId = toHex(random.bytes(16));
    let bootCount = 0;
    let bootIds: string[] = [];
    const batch: StoreOp[] = [];
    if (metaBytes !== undefined) {
      const decoded = decodeValue(metaBytes);
      if (!decoded.ok || !isWireMap(decoded.value))
        return err('the identity of the store is unreadable');
      const meta = decoded.value;
      const { schema_version: version, store_id: knownId, boot_count: boots } = meta;
      if (typeof version !== 'number') return err('the identity of the store is unreadable');
      const migrated = migrationOps(store, version, layout);
      if (!migrated.ok) return migrated;
      batch.push(...migrated.value);
      if (typeof knownId !== 'string' || typeof boots !== 'number')
        return err('the identity of the store is unreadable');
      storeId = knownId;
      bootCount = boots;
      bootIds = Array.isArray(meta.boot_ids) ? meta.boot_ids.map(String) : [];
    }
    bootCount += 1;
    bootIds = [...bootIds, toHex(random.bytes(8))].slice(-BOOT_IDS_KEPT);
    batch.push({
      put: META_KEY,
      value: encodeValue({
        schema_version: layout.version,
        store_id: storeId,
        boot_count: bootCount,
        boot_ids: bootIds,
      }),
    });
    const seq = readSeq(store);
    if (seq === undefined)
      return err('the counter of the store is unreadable; its dots would be used twice');
    const written = await store.append(batch);
    if (!written.ok) return err(`the boot could not be counted on disk: ${written.detail}`);
    return ok(new StoreIdentity({ storeId, bootCount, bootIds }, seq));
  }

  /** The highest seq that is durable: what others may be told of. A higher one could be taken back by a crash. */
  seq(): number {
    return this.#durableSeq;
  }

  /** The batch with this seqOp was synced. */
  synced(seq: number): void {
    this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  /** The next dot's seq. It is only safe to use with `seqOp` in the batch that writes what carries it. */
  nextSeq(): number {
    this.#seq += 1;
    return this.#seq;
  }

  /** To be written with what carries a dot; `seq` is what `synced` is told afterwards. */
  seqOp(): { readonly op: StoreOp; readonly seq: number } {
    return { op: { put: SEQ_KEY, value: encodeValue(this.#seq) }, seq: this.#seq };
  }
}

function readSeq(store: Store): number | undefined {
  const bytes = store.get(SEQ_KEY);
  if (bytes === undefined) return 0;
  const decoded = decodeValue(bytes);
  return decoded.ok && typeof decoded.value === 'number' ? decoded.value : undefined;
}
