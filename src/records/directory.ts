/** What the records room needs to know of the members; passed in, since rooms do not import one another. */
import { homeOf, type RecordState, type StoreId } from './record.ts';

/** removed: it does not come back, and has no part in any home. */
export type StoreStatus = 'alive' | 'suspect' | 'dead' | 'left' | 'removed' | 'unknown';

export interface StoreDirectory {
  /** The peer to send to, if a link to it is up; undefined for this store itself. */
  peerOf(store: StoreId): string | undefined;
  storeOfPeer(peer: string): StoreId | undefined;
  statusOf(store: StoreId): StoreStatus;
  /** Stores of members neither dead nor left, this one included. */
  present(): readonly StoreId[];
  /** The first `count` present stores on the ring for this key. */
  preference(key: string, count: number): StoreId[];
}

/** The home as it is now: the grow-only set of the record without what operators removed. */
export const standingHome = (
  directory: Pick<StoreDirectory, 'statusOf'>,
  record: RecordState,
): StoreId[] => homeOf(record).filter((store) => directory.statusOf(store) !== 'removed');
