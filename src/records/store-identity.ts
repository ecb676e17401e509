/**
 * Who this store is: storeId, boots, the counter behind every dot, and the version of what lies in it.
 *
 * Two things must hold after any crash: a boot count is never used twice (it is synced before the first packet),
 * and a dot is never used twice (the counter is written in the same batch as what carries the dot). The second must
 * hold even of a store that was rolled back, for as long as nobody has noticed: so each boot begins to count at a
 * random distance from where the one before ended. The spans of the last boots are shown to others: a dot of ours
 * outside of them is one that we have forgotten.
 */
import { crc32 } from '../base/crc32.ts';
import { toHex } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import { fingerprintOf } from '../base/task-id.ts';
import type { Random } from '../ports/random.ts';
import type { Store, StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import { IDENTITY_KEY, seal, sealOp, unseal } from './checked-store.ts';
import { LAYOUT, type Layout, migrationOps } from './layout.ts';
import { SHARED_COMPLETE_KEY } from './partner-index.ts';

export const BOOT_IDS_KEPT = 64;
/** Draws of a new storeId until one has a fingerprint that nobody has; four thousand million are free. */
const MINTS_MAX = 100;

export const SEQ_KEY = 'm/seq';
/** From here on a boot begins at a distance, and values carry checksums. */
const CHECKED_LAYOUT = 2;

/** Where a boot's counter began (the first dot is one more) and where the next boot found it; the last one counts on. */
export interface BootSpan {
  readonly start: number;
  readonly end: number | undefined;
}

export interface FormerStore {
  readonly storeId: string;
  readonly why: string;
}

interface Meta {
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootIds: readonly string[];
  readonly spans: readonly BootSpan[];
  readonly former: FormerStore | undefined;
}

/** newer: of a later Covey. corrupt: not what any Covey wrote. failed: the disk did not take the boot. */
export interface LoadError {
  readonly code: 'newer' | 'corrupt' | 'failed';
  readonly detail: string;
}

export class StoreIdentity {
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  readonly bootIds: readonly string[];
  /** Of `bootIds`, in their order. */
  readonly spans: readonly BootSpan[];
  /** The store that this one was before others refused it; its records are copies here that nobody counts on. */
  readonly former: FormerStore | undefined;
  #seq: number;
  #durableSeq: number;

  private constructor(meta: Meta, found: number) {
    this.storeId = meta.storeId;
    this.bootCount = meta.bootCount;
    this.bootIds = meta.bootIds;
    this.bootId = meta.bootIds.at(-1) ?? '';
    this.spans = meta.spans;
    this.former = meta.former;
    this.#seq = meta.spans.at(-1)?.start ?? found;
    this.#durableSeq = found;
  }

  /**
   * Reads or mints the identity, brings an older store to this layout and counts this boot, all in one batch.
   * The entry of the identity keeps its shape in every layout: its number must be readable before anything else.
   * The store is the one below the checksums. Of a store that was refused `refused` says why: it gets another id.
   */
  static async load(
    store: Store,
    random: Random,
    layout: Layout = LAYOUT,
  ): Promise<Result<StoreIdentity, LoadError>> {
    const read = readMeta(store, layout);
    if (!read.ok) return read;
    const { meta: known, batch } = read.value;
    const found = readSeq(store, read.value.version);
    if (found === undefined)
      return corrupt('the counter of the store is unreadable; its dots would be used twice');
    const start = layout.version < CHECKED_LAYOUT ? found : found + 1 + random.uint32();
    const spans = known === undefined ? [] : closed(known, found);
    const meta: Meta = {
      storeId: known?.storeId ?? toHex(random.bytes(16)),
      bootCount: (known?.bootCount ?? 0) + 1,
      bootIds: [...(known?.bootIds ?? []), toHex(random.bytes(8))].slice(-BOOT_IDS_KEPT),
      spans: [...spans, { start, end: undefined }].slice(-BOOT_IDS_KEPT),
      former: known?.former,
    };
    const written = await store.append([...batch, metaOp(meta, layout.version)]);
    if (!written.ok) {
      const detail = `the boot could not be counted on disk: ${written.detail}`;
      return err({ code: 'failed', detail });
    }
    return ok(new StoreIdentity(meta, found));
  }

  /** Before it is loaded. Undefined of a store that is new, and of one that cannot be read. */
  static peek(store: Store): Pick<StoreIdentity, 'storeId' | 'former'> | undefined {
    const read = readMeta(store, LAYOUT);
    return read.ok ? read.value.meta : undefined;
  }

  /**
   * Makes the store another one: a new id without boots, which shares nothing with anybody. Answers the new id. What
   * was true of the store that it was is gone by then (renewal.ts). Facts keep the dots of the store that it was. The
   * store is the one below the checksums, and of this layout.
   */
  static async remint(
    store: Store,
    random: Random,
    about: { readonly why: string; readonly isTaken: (fingerprint: string) => boolean },
  ): Promise<Result<string, LoadError>> {
    const read = readMeta(store, LAYOUT);
    if (!read.ok) return read;
    const { storeId: before = '' } = read.value.meta ?? {};
    let storeId = toHex(random.bytes(16));
    for (let mints = 1; about.isTaken(fingerprintOf(storeId)) && mints < MINTS_MAX; mints++)
      storeId = toHex(random.bytes(16));
    const former = { storeId: before, why: about.why };
    const meta: Meta = { storeId, bootCount: 0, bootIds: [], spans: [], former };
    const written = await store.append([
      ...read.value.batch,
      sealOp({ put: SEQ_KEY, value: encodeValue(0) }),
      { put: SHARED_COMPLETE_KEY, value: new Uint8Array(0) },
      metaOp(meta, LAYOUT.version),
    ]);
    return written.ok ? ok(storeId) : err({ code: 'failed', detail: written.detail });
  }

  /** The highest seq that is durable: what others may be told of. A higher one could be taken back by a crash. */
  seq(): number {
    return this.#durableSeq;
  }

  /** The batch with this seqOp was synced. */
  synced(seq: number): void {
    this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  /** The highest seq that a dot of this store has, durable or not. */
  get lastSeq(): number {
    return this.#seq;
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

const corrupt = (detail: string): Result<never, LoadError> => err({ code: 'corrupt', detail });

/** The spans of the boots before this one, which found the counter here. */
function closed({ bootIds, spans }: Meta, found: number): BootSpan[] {
  // A store of layout 1 has no spans: what is known of its boots is where they ended.
  if (spans.length !== bootIds.length) return bootIds.map(() => ({ start: 0, end: found }));
  return spans.map(({ start, end }) => ({ start, end: end ?? Math.max(start, found) }));
}

interface ReadMeta {
  /** Undefined in a store that is new. */
  readonly meta: Meta | undefined;
  readonly version: number;
  /** What brings the store to this layout. */
  readonly batch: readonly StoreOp[];
}

function readMeta(store: Store, layout: Layout): Result<ReadMeta, LoadError> {
  const unreadable = 'the identity of the store is unreadable';
  const bytes = store.get(IDENTITY_KEY);
  if (bytes === undefined) {
    // Records without an identity are of a store that somebody has taken apart.
    return ok({ meta: undefined, version: layout.version, batch: [] });
  }
  const decoded = decodeValue(bytes);
  if (!decoded.ok || !isWireMap(decoded.value)) return corrupt(unreadable);
  const map = decoded.value;
  const { schema_version: version, store_id: storeId, boot_count: bootCount } = map;
  if (typeof version !== 'number' || !isChecked(map, version)) return corrupt(unreadable);
  const migrated = migrationOps(store, version, layout);
  if (!migrated.ok) return err({ code: 'newer', detail: migrated.error });
  if (typeof storeId !== 'string' || typeof bootCount !== 'number') return corrupt(unreadable);
  const bootIds = Array.isArray(map.boot_ids) ? map.boot_ids.map(String) : [];
  const former = isWireMap(map.former)
    ? { storeId: String(map.former.store_id), why: String(map.former.why) }
    : undefined;
  const meta = { storeId, bootCount, bootIds, spans: readSpans(map.boot_spans), former };
  return ok({ meta, version, batch: migrated.value });
}

function readSpans(value: WireValue | undefined): BootSpan[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly WireValue[]).map((item) => {
    const [start, end] = Array.isArray(item) ? (item as readonly WireValue[]) : [];
    return { start: Number(start), end: typeof end === 'number' ? end : undefined };
  });
}

/** The check of the identity lies inside it, whatever the layout. */
const checkOf = ({ check: _check, ...rest }: WireMap): number =>
  crc32(seal('identity', encodeValue(rest)));

const isChecked = (map: WireMap, version: number): boolean =>
  version < CHECKED_LAYOUT || map.check === checkOf(map);

function metaOp({ storeId, bootCount, bootIds, spans, former }: Meta, version: number): StoreOp {
  const map: WireMap = {
    schema_version: version,
    store_id: storeId,
    boot_count: bootCount,
    boot_ids: [...bootIds],
    boot_spans: spans.map(({ start, end }) => (end === undefined ? [start] : [start, end])),
    ...(former === undefined ? {} : { former: { store_id: former.storeId, why: former.why } }),
  };
  return { put: IDENTITY_KEY, value: encodeValue({ ...map, check: checkOf(map) }) };
}

function readSeq(store: Store, version: number): number | undefined {
  const bytes = store.get(SEQ_KEY);
  if (bytes === undefined) return 0;
  const value = version < CHECKED_LAYOUT ? bytes : unseal(SEQ_KEY, bytes);
  const decoded = value === undefined ? undefined : decodeValue(value);
  return decoded?.ok === true && typeof decoded.value === 'number' ? decoded.value : undefined;
}
