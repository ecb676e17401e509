/** What lies on a simulated disk, read past the port: for the world's own books. */
import { bytesEqual } from '../base/hash.ts';
import type { Random } from '../base/random.ts';
import { prefixEnd } from '../ports/store.ts';
import { IDENTITY_KEY, unseal } from '../records/checked-store.ts';
import { decodeRecordBytes, type RecordState } from '../records/record.ts';
import { decodeValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import type { DiskImage, SimDisk } from './disk.ts';
import type { Losses } from './losses.ts';

const NOTHING = new Uint8Array(0);

export function readRecord(key: string, sealed: Uint8Array | undefined): RecordState | undefined {
  const value = sealed === undefined ? undefined : unseal(key, sealed);
  return value === undefined ? undefined : decodeRecordBytes(value);
}

/** The id of the store on the disk; none if there is no readable one. */
function storeOn(disk: SimDisk): string {
  const bytes = disk.read().get(IDENTITY_KEY);
  const decoded = bytes === undefined ? undefined : decodeValue(bytes);
  return decoded?.ok === true && isWireMap(decoded.value) ? String(decoded.value.store_id) : '';
}

/** A disk that a fault strikes, and the book of what is lost by it. */
export interface StruckDisk {
  readonly host: string;
  readonly disk: SimDisk;
  readonly losses: Losses;
}

const recordsOn = (disk: SimDisk) =>
  disk.read().range('r/', prefixEnd('r/'), Number.MAX_SAFE_INTEGER, false);

/** Puts an older copy, or none, in the place of what lies there. */
export function replaceContents({ host, disk, losses }: StruckDisk, image: DiskImage): void {
  const at = { host, store: storeOn(disk) };
  const left = new Map(image);
  for (const [key, value] of recordsOn(disk)) {
    if (bytesEqual(left.get(key) ?? NOTHING, value)) continue;
    const after = readRecord(key, left.get(key));
    losses.replacedBy(at, key.slice(2), { before: readRecord(key, value), after });
  }
  disk.restore(image);
}

/** Turns one bit; answers the key whose value it belongs to, none if nothing lies there. */
export function turnBit({ host, disk, losses }: StruckDisk, random: Random): string | undefined {
  const at = { host, store: storeOn(disk) };
  const before = new Map(recordsOn(disk));
  const key = disk.flipBit(random);
  const id = key?.slice(2) ?? '';
  if (key?.startsWith('b/')) losses.payloadStruck(at, id);
  else if (key?.startsWith('r/'))
    losses.struck(at, id, { before: readRecord(key, before.get(key)), after: undefined });
  return key;
}
