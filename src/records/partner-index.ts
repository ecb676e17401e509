/**
 * What this store shares with others, as it lies on the disk: for every record whose home holds this store and
 * another, an entry `x/LEAF/ID` with its content hash, its drop time and the stores of its home. It is written in the
 * record's own batch, so the sums of the Merkle trees are those of what is durable, whatever crashed; a start adds
 * the entries up instead of reading and hashing every record, and a leaf is listed without reading a record.
 */
import { fromHex, toHex } from '../base/hash.ts';
import { prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { leafOf } from './merkle-tree.ts';
import { contentHash, homeOf, type RecordState, type StoreId } from './record.ts';

export interface SharedEntry {
  readonly id: string;
  readonly leaf: number;
  /** The first 64 bits of the content hash. */
  readonly hash: bigint;
  /** Wall milliseconds; infinite while the record is not final. */
  readonly dropAtMs: number;
  /** The other stores of its home. */
  readonly partners: readonly StoreId[];
}

const PREFIX = 'x/';
export const SHARED_PREFIX = PREFIX;
/** Present when every record has its entry: a store of an older layout gets them at its first start. */
export const SHARED_COMPLETE_KEY = 'm/shared';
const STORE_BYTES = 16;
const HEAD_BYTES = 16;
/** Entries written at once when they are made anew. */
const REBUILD_BATCH = 1_000;

const leafText = (leaf: number): string => leaf.toString(16).padStart(4, '0');
const keyOf = (leaf: number, id: string): string => `${PREFIX}${leafText(leaf)}/${id}`;

/** What the trees of `self` know of a record; undefined if it is not shared with anybody. */
export function sharedEntry(
  self: StoreId,
  record: RecordState,
  dropAtMs: number | undefined,
): SharedEntry | undefined {
  const home = homeOf(record);
  if (home.length < 2 || !home.includes(self)) return undefined;
  return {
    id: record.id,
    leaf: leafOf(record.id),
    hash: BigInt(`0x${contentHash(record).slice(0, 16)}`),
    // As the keys of the list by drop time have it: one number for both, or the trees would drift.
    dropAtMs: dropAtMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Math.floor(dropAtMs)),
    partners: home.filter((store) => store !== self),
  };
}

/** To be written with the record. */
export const entryOps = (entry: SharedEntry | undefined): StoreOp[] =>
  entry === undefined ? [] : [{ put: keyOf(entry.leaf, entry.id), value: encodeEntry(entry) }];

/** To be written with the removal of a record. */
export const entryRemoval = (id: string): StoreOp => ({ del: keyOf(leafOf(id), id) });

function encodeEntry(entry: SharedEntry): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + entry.partners.length * STORE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, entry.hash);
  view.setFloat64(8, entry.dropAtMs);
  for (const [i, store] of entry.partners.entries())
    bytes.set(fromHex(store)?.subarray(0, STORE_BYTES) ?? [], HEAD_BYTES + i * STORE_BYTES);
  return bytes;
}

function decodeEntry(id: string, leaf: number, value: Uint8Array): SharedEntry | undefined {
  if (value.length < HEAD_BYTES) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const partners: StoreId[] = [];
  for (let at = HEAD_BYTES; at + STORE_BYTES <= value.length; at += STORE_BYTES)
    partners.push(toHex(value.subarray(at, at + STORE_BYTES)));
  return { id, leaf, hash: view.getBigUint64(0), dropAtMs: view.getFloat64(8), partners };
}

export interface EntryPage {
  readonly entries: readonly SharedEntry[];
  /** The last key looked at; '' when the range is at its end. */
  readonly mark: string;
}

export class PartnerIndex {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  get(id: string): SharedEntry | undefined {
    const leaf = leafOf(id);
    const value = this.#store.get(keyOf(leaf, id));
    return value === undefined ? undefined : decodeEntry(id, leaf, value);
  }

  /** Whether the entry of this id lies at or before the mark of a page. */
  isBehind(id: string, mark: string): boolean {
    return keyOf(leafOf(id), id) <= mark;
  }

  /** All entries in order of (leaf, id), from behind the mark. */
  page(mark: string, limit: number): EntryPage {
    return this.#range(mark === '' ? PREFIX : `${mark}\x00`, prefixEnd(PREFIX), limit);
  }

  /** Those of one leaf in order of id, from behind `after`; '' from the first on. */
  ofLeaf(leaf: number, after: string, limit: number): EntryPage {
    const prefix = `${PREFIX}${leafText(leaf)}/`;
    const from = after === '' ? prefix : `${prefix}${after}\x00`;
    return this.#range(from, prefixEnd(prefix), limit);
  }

  #range(from: string, to: string, limit: number): EntryPage {
    const found = this.#store.range({ from, to, limit });
    const entries: SharedEntry[] = [];
    for (const { key, value } of found) {
      const leaf = Number.parseInt(key.slice(PREFIX.length, PREFIX.length + 4), 16);
      const entry = decodeEntry(key.slice(PREFIX.length + 5), leaf, value);
      if (entry !== undefined) entries.push(entry);
    }
    return { entries, mark: found.length < limit ? '' : (found.at(-1)?.key ?? '') };
  }

  get isComplete(): boolean {
    return this.#store.get(SHARED_COMPLETE_KEY) !== undefined;
  }

  /** Makes the entries of all records anew. Only at the start, while nothing else is written. */
  async rebuild(entries: Iterable<SharedEntry | undefined>): Promise<void> {
    let batch: StoreOp[] = [];
    for (const entry of entries) {
      batch.push(...entryOps(entry));
      if (batch.length < REBUILD_BATCH) continue;
      const written = await this.#store.append(batch);
      // The mark must not say more than what is there: the next start does it again.
      if (!written.ok) return;
      batch = [];
    }
    await this.#store.append([...batch, { put: SHARED_COMPLETE_KEY, value: new Uint8Array(0) }]);
  }
}
