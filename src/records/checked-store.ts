/**
 * A checksum with every value of `store/`: four bytes at its end, over the key and the value, so that a value that
 * lies under another key is found too. A value with a wrong one is not there for whoever reads, and noted.
 *
 * An empty value is stored as it is: nothing of it can be damaged, and a marker whose reader skipped it for a wrong
 * checksum would hide an unfinished task. The identity of the store (IDENTITY_KEY) has its check inside: a daemon of
 * any version must be able to read its number first.
 */
import { crc32, crc32OfText } from '../base/crc32.ts';
import type { Purpose, Room } from '../ports/room.ts';
import {
  type AppendResult,
  prefixEnd,
  type RangeQuery,
  type Store,
  type StoreOp,
} from '../ports/store.ts';

export const IDENTITY_KEY = 'm/store';
/** Damaged keys remembered until they are written again; a disk with more is no disk. */
export const DAMAGED_MAX = 10_000;

const CHECK_BYTES = 4;
/** Entries that a scrub reads at once. */
const SCRUB_PAGE = 50;

const isPlain = (key: string, value: Uint8Array): boolean =>
  value.length === 0 || key === IDENTITY_KEY;

/** The value as it lies on the disk. */
export function seal(key: string, value: Uint8Array): Uint8Array {
  if (isPlain(key, value)) return value;
  const sealed = new Uint8Array(value.length + CHECK_BYTES);
  sealed.set(value);
  new DataView(sealed.buffer).setUint32(value.length, crc32(value, crc32OfText(key)));
  return sealed;
}

/** The value that was sealed under this key, or undefined when these are not its bytes. */
export function unseal(key: string, sealed: Uint8Array): Uint8Array | undefined {
  if (isPlain(key, sealed)) return sealed;
  const length = sealed.length - CHECK_BYTES;
  if (length <= 0) return undefined;
  const value = new Uint8Array(sealed.buffer, sealed.byteOffset, length);
  const check = new DataView(sealed.buffer, sealed.byteOffset + length).getUint32(0);
  return check === crc32(value, crc32OfText(key)) ? value : undefined;
}

export const sealOp = (op: StoreOp): StoreOp =>
  'put' in op ? { put: op.put, value: seal(op.put, op.value) } : op;

export class CheckedStore implements Store {
  readonly #store: Store;
  readonly #damaged = new Set<string>();
  /** Where the scrub goes on. */
  #scrubbed = ' ';
  /** Called once for each damaged key, from inside a read: may set a timer, no more. */
  onDamaged: ((key: string) => void) | undefined;
  /** Called when a scrub has come to the end of the store. */
  onScrubbed: (() => void) | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  get(key: string): Uint8Array | undefined {
    const sealed = this.#store.get(key);
    return sealed === undefined ? undefined : this.#open(key, sealed);
  }

  /** As long as asked for, whatever is damaged: callers take a shorter page for the last one. */
  range(query: RangeQuery): { key: string; value: Uint8Array }[] {
    const entries: { key: string; value: Uint8Array }[] = [];
    let { from, to } = query;
    for (;;) {
      const limit = query.limit - entries.length;
      const page = this.#store.range({ ...query, from, to, limit });
      for (const { key, value } of page) {
        const opened = this.#open(key, value);
        if (opened !== undefined) entries.push({ key, value: opened });
      }
      const last = page.at(-1);
      if (last === undefined || page.length < limit || entries.length >= query.limit)
        return entries;
      if (query.reverse === true) to = last.key;
      else from = `${last.key}\x00`;
    }
  }

  async append(batch: readonly StoreOp[], purpose?: Purpose): Promise<AppendResult> {
    const result = await this.#store.append(batch.map(sealOp), purpose);
    if (result.ok && this.#damaged.size > 0)
      for (const op of batch) this.#damaged.delete('put' in op ? op.put : op.del);
    return result;
  }

  usedBytes(): number {
    return this.#store.usedBytes();
  }

  room(): Room {
    return this.#store.room();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Something damaged lies under this key, as far as it was read. */
  isDamaged(key: string): boolean {
    return this.#damaged.has(key);
  }

  /** Keys under which something damaged lies. */
  damaged(): string[] {
    return [...this.#damaged];
  }

  /**
   * The key that a damaged value was written under, if one bit of that key has turned since: its checksum says so. Some
   * three hundred tries; the chance that one of them is right by accident is one to ten million.
   */
  writtenUnder(key: string): { readonly right: string | undefined; readonly valueBytes: number } {
    const sealed = this.#store.get(key);
    const valueBytes = sealed?.length ?? 0;
    if (sealed === undefined || isPlain(key, sealed)) return { right: undefined, valueBytes };
    for (let at = 0; at < 7 * key.length; at++) {
      const i = Math.floor(at / 7);
      const turned = String.fromCharCode(key.charCodeAt(i) ^ (1 << (at % 7)));
      const other = key.slice(0, i) + turned + key.slice(i + 1);
      if (unseal(other, sealed) !== undefined) return { right: other, valueBytes };
    }
    return { right: undefined, valueBytes };
  }

  /**
   * Reads on where the last call ended, about so many bytes: what nobody asks for would be found damaged too late. True at
   * the end of a pass.
   */
  scrub(bytesMax: number): boolean {
    for (let bytes = 0; bytes < bytesMax; ) {
      const page = this.#store.range({
        from: this.#scrubbed,
        to: prefixEnd(''),
        limit: SCRUB_PAGE,
      });
      for (const { key, value } of page) {
        bytes += key.length + value.length;
        this.#open(key, value);
      }
      const last = page.at(-1);
      this.#scrubbed = last === undefined || page.length < SCRUB_PAGE ? ' ' : `${last.key}\x00`;
      if (this.#scrubbed !== ' ') continue;
      this.onScrubbed?.();
      return true;
    }
    return false;
  }

  #open(key: string, sealed: Uint8Array): Uint8Array | undefined {
    const value = unseal(key, sealed);
    if (value !== undefined || this.#damaged.has(key)) return value;
    if (this.#damaged.size >= DAMAGED_MAX) return undefined;
    this.#damaged.add(key);
    this.onDamaged?.(key);
    return undefined;
  }
}
