/** What lies on a simulated disk, read past the port: for the world's own books. */
import { bytesEqual } from '../base/hash.ts';
import { prefixEnd } from '../ports/store.ts';
import { IDENTITY_KEY, unseal } from '../records/checked-store.ts';
import { decodeRecordBytes, type RecordState } from '../records/record.ts';
import { decodeValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import type { SimDisk } from './disk.ts';

const NOTHING = new Uint8Array(0);

export function readRecord(key: string, sealed: Uint8Array | undefined): RecordState | undefined {
  const value = sealed === undefined ? undefined : unseal(key, sealed);
  return value === undefined ? undefined : decodeRecordBytes(value);
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
