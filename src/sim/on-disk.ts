/** What lies on a simulated disk, read past the port: for the world's own books. */
import { bytesEqual } from '../base/hash.ts';
import { prefixEnd } from '../ports/store.ts';
import { IDENTITY_KEY, unseal } from '../records/checked-store.ts';
import { decodeRecord, type RecordState } from '../records/record.ts';
import { decodeValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import type { SimDisk } from './disk.ts';

const NOTHING = new Uint8Array(0);

/** Nobody changes bytes that lie on a simulated disk: what they say is read once. */
const read = new WeakMap<Uint8Array, { readonly key: string; readonly record: Known }>();
type Known = RecordState | undefined;

export function readRecord(key: string, sealed: Uint8Array | undefined): Known {
  if (sealed === undefined) return undefined;
  const known = read.get(sealed);
  if (known?.key === key) return known.record;
  const value = unseal(key, sealed);
  const record = value === undefined ? undefined : decodeRecord(value);
  read.set(sealed, { key, record });
  return record;
}

/** Task records as they lie there. */
export const tasksOn = (disk: SimDisk): RecordState[] =>
  disk
    .read()
    .range('r/', prefixEnd('r/'), Number.MAX_SAFE_INTEGER, false)
    .flatMap(([key, value]) => readRecord(key, value) ?? [])
    .filter(({ kind }) => kind === 'task');

/** The id of the store on the disk; none if there is no readable one. */
export function storeOn(disk: SimDisk): string {
  const bytes = disk.read().get(IDENTITY_KEY);
  const decoded = bytes === undefined ? undefined : decodeValue(bytes);
  return decoded?.ok === true && isWireMap(decoded.value) ? String(decoded.value.store_id) : '';
}

/** Ids of records that are gone, or older, once the disk has these contents. */
export function lostBy(disk: SimDisk, left: ReadonlyMap<string, Uint8Array>): string[] {
  return disk
    .read()
    .range('r/', prefixEnd('r/'), Number.MAX_SAFE_INTEGER, false)
    .filter(([key, value]) => !bytesEqual(left.get(key) ?? NOTHING, value))
    .map(([key]) => key.slice(2));
}
