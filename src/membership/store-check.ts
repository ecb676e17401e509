/**
 * Is the store that a peer presents the one we saw last, further on? A rolled back or cloned store
 * would reuse its dots, and its changes would be taken for old ones (Riak's lost updates): it is
 * refused and starts afresh.
 */
import { fingerprintOf } from '../base/task-id.ts';
import type { PeerId } from '../ports/identity.ts';
import { BOOT_IDS_MAX } from './limits.ts';

/** Changes that a store writes while its hello is on the way: 60,000 a second, for half a minute. */
const OVERTAKING_MAX = 2 ** 21;

/** What was last seen of a store. */
export interface SeenStore {
  readonly storeId: string;
  readonly peerId: PeerId;
  readonly bootCount: number;
  readonly bootId: string;
  readonly seq: number;
}
/** Where the counter of a boot began, and where the next boot found it; the last one counts on. */
export interface BootSpan {
  readonly start: number;
  readonly end: number | undefined;
}
export interface PresentedStore extends SeenStore {
  readonly bootIds: readonly string[];
  /** Of `bootIds`; empty from a peer of an earlier version. */
  readonly spans?: readonly BootSpan[];
}

/** Undefined: it may come in; else why not. `seen` holds every store known, our own as well. */
export function refusalOfStore(
  seen: readonly SeenStore[],
  presented: PresentedStore,
): string | undefined {
  const { storeId } = presented;
  const fingerprint = fingerprintOf(storeId);
  const clash = seen.find(
    (other) => other.storeId !== storeId && fingerprintOf(other.storeId) === fingerprint,
  );
  if (clash) return `its fingerprint ${fingerprint} is taken by another store`;
  const last = seen.find((other) => other.storeId === storeId);
  if (!last) return undefined;
  if (last.peerId !== presented.peerId) return 'the same store was seen at another peer: a copy';
  if (presented.bootCount < last.bootCount) {
    return `boot ${presented.bootCount} is older than boot ${last.bootCount}: rolled back`;
  }
  if (presented.bootCount === last.bootCount && presented.bootId !== last.bootId) {
    return `boot ${last.bootCount} was seen with another boot id: rolled back or copied`;
  }
  const kept = presented.bootCount - last.bootCount < BOOT_IDS_MAX;
  if (kept && !presented.bootIds.includes(last.bootId)) {
    return 'a boot seen before is missing from its history: rolled back or copied';
  }
  // Within one boot the sequence only rises: a lower one is a hello that another one overtook, each on a
  // connection of its own (two peers greet each other at once). Only a new boot can have lost what was seen.
  const isNew = presented.bootCount > last.bootCount;
  if (isNew && presented.seq < last.seq && !isOvertaken(presented.spans ?? [], last.seq)) {
    return `its sequence ${presented.seq} is older than ${last.seq} seen before: rolled back`;
  }
  if (hasForgotten(presented.spans ?? [], last.seq)) {
    return `its sequence ${last.seq}, seen before, is missing from its history: rolled back`;
  }
  return undefined;
}

/**
 * What this very boot wrote after its hello has come through others, before the hello itself. Were it of a boot that was
 * lost, it would lie anywhere in the 32 bits from which each boot begins, and not right behind the start of this one.
 */
function isOvertaken(spans: readonly BootSpan[], seq: number): boolean {
  const start = spans.at(-1)?.start ?? Number.POSITIVE_INFINITY;
  return seq >= start && seq - start < OVERTAKING_MAX;
}

/** A seq that a boot of this store never came to by its own account, though somebody saw it: each begins far off. */
function hasForgotten(spans: readonly BootSpan[], seq: number): boolean {
  const span = spans.findLast(({ start }) => start <= seq);
  return span?.end !== undefined && seq > span.end;
}
