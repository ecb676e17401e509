/** What the tasks room needs to see of the members; given by the peer, built on membership. */
import type { Load } from '../membership/types.ts';
import type { Shortage } from '../ports/room.ts';
import type { StoreDirectory } from '../records/directory.ts';
import type { OwnerView } from './ownership.ts';

export interface PeerSight {
  readonly peerId: string;
  readonly storeId: string;
  readonly name: string;
  readonly bootCount: number;
  readonly status: 'alive' | 'suspect' | 'dead' | 'left' | 'removed';
  /** The death is proven: its process ended (refused redials after a reset), it did not merely fall silent. */
  readonly crashed: boolean;
  readonly stopping: boolean;
  /** Of room on its disk, as it told; absent: there is enough. */
  readonly shortage?: Shortage;
  /** A request gets there: over its link, over one that is made for it, or through a third member. */
  readonly reachable: boolean;
  /** There is a link: asking it costs no dial. */
  readonly linked: boolean;
  readonly self: boolean;
  readonly execEnabled: boolean;
  readonly load: Load;
  /** Its heartbeats go to others: whether it has room, or a worker, is learned by asking. */
  readonly isLoadUnknown?: boolean;
}

export interface MeshView extends OwnerView {
  readonly directory: StoreDirectory;
  /**
   * For how long this peer and the store have been in touch, in ms: one link, never silent for long, and nobody took
   * this peer for dead. −1: the store is not heard now.
   */
  inTouchForMs(store: string): number;
  peers(): PeerSight[];
  peer(peerId: string): PeerSight | undefined;
  self(): PeerSight;
}

/** Members neither dead nor left. */
export const presentPeers = (view: MeshView): PeerSight[] =>
  view.peers().filter((peer) => peer.status === 'alive' || peer.status === 'suspect');

/** How many they are; each task asks several times, and what is seen of a thousand members is not looked up for that. */
export const presentCount = (view: MeshView): number => view.directory.present().length;

/** W as it is now: never more than there are members, oneself included; never lowered by the merely unreachable. */
export const requiredNow = (view: MeshView, copiesRequired: number): number =>
  Math.max(1, Math.min(copiesRequired, presentCount(view)));

/**
 * Whether W stores are in touch, silent ones not counted: an attempt placed without them would only be taken back, or,
 * worse, be confirmed at the end of a silence in which the others went on without this store.
 */
export function isEnoughInTouch(view: MeshView, copiesRequired: number): boolean {
  const required = requiredNow(view, copiesRequired);
  const own = view.self().storeId;
  let within = 0;
  for (const store of view.directory.present()) {
    const isSeen = view.directory.statusOf(store) === 'alive' && view.inTouchForMs(store) >= 0;
    if (isSeen || store === own) within += 1;
    if (within >= required) return true;
  }
  return false;
}

/** The other peers among these stores that a request gets to. A read or a wait asks for the few of one home. */
export const reachableAt = (
  view: MeshView,
  stores: readonly string[],
): { readonly peerId: string; readonly storeId: string }[] =>
  stores.flatMap((storeId) => {
    const peerId = view.directory.peerOf(storeId);
    return peerId === undefined || peerId === view.self().peerId ? [] : [{ peerId, storeId }];
  });

/**
 * Fewer than half of the last known members are in sight: this may be the small side of a partition. A suspect is
 * not in sight: the members of the other side are convicted one by one, and the first of them must not be taken for
 * the only one.
 */
export function inMinority(view: MeshView): boolean {
  const known = view.peers().filter(({ status }) => status !== 'left' && status !== 'removed');
  const seen = known.filter((peer) => peer.self || peer.status === 'alive');
  return seen.length * 2 < known.length;
}
