/** What the records room needs to know of the members; passed in, since rooms do not import one another. */
import type { StoreId } from './record.ts';

export type StoreStatus = 'alive' | 'suspect' | 'dead' | 'left' | 'unknown';

export interface StoreDirectory {
  /** The peer to send to, if a link to it is up; undefined for this store itself. */
  peerOf(store: StoreId): string | undefined;
  storeOfPeer(peer: string): StoreId | undefined;
  statusOf(store: StoreId): StoreStatus;
  /** Stores of members neither dead nor left, this one included. */
  present(): StoreId[];
  /** The first `count` present stores on the ring for this key. */
  preference(key: string, count: number): StoreId[];
}
