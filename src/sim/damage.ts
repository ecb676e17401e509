/** What faults do to the contents of a host's disk while its daemon is down or up: what that destroys is noted. */
import { prefixEnd } from '../ports/store.ts';
import type { DiskImage, SimDisk } from './disk.ts';
import { type Losses, runIdsOf } from './losses.ts';
import { lostBy, readRecord, storeOn } from './on-disk.ts';

export interface Struck {
  readonly host: string;
  readonly disk: SimDisk;
  readonly losses: Losses;
}

/** Other contents, while its daemon is down. */
export function putBack({ host, disk, losses }: Struck, image: DiskImage): void {
  const at = { host, store: storeOn(disk) };
  losses.anyReplaced = true;
  const left = new Map(image);
  for (const id of lostBy(disk, left)) {
    const before = readRecord(`r/${id}`, disk.read().get(`r/${id}`));
    losses.replacedBy(at, id, { before, after: readRecord(`r/${id}`, left.get(`r/${id}`)) });
  }
  const kept = image.filter(([key]) => key.startsWith('r/'));
  losses.onReplaced?.(host, runIdsOf(kept.map(([key, value]) => readRecord(key, value))));
  disk.restore(image);
}

/** `strike` damages one value, and answers its key; none if there was nothing to damage. */
export function damage(
  { host, disk, losses }: Struck,
  strike: () => string | undefined,
): string | undefined {
  const at = { host, store: storeOn(disk) };
  const before = new Map(disk.read().range('r/', prefixEnd('r/'), Number.MAX_SAFE_INTEGER, false));
  const key = strike();
  const id = key?.slice(2) ?? '';
  if (key?.startsWith('b/')) losses.payloadStruck(at, id);
  else if (key?.startsWith('r/'))
    losses.struck(at, id, { before: readRecord(key, before.get(key)), after: undefined });
  return key;
}
