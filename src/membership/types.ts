/** What the other rooms see of membership: members, events, and what it needs to run. */
import type { Config } from '../api/config.ts';
import type { Random } from '../base/random.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { Address, Network } from '../ports/network.ts';
import type { Shortage } from '../ports/room.ts';
import type { Store } from '../ports/store.ts';
import type { Cause } from './cause.ts';
import type { BootSpan } from './store-check.ts';
import type { Traffic } from './traffic.ts';

export interface Load {
  readonly slots: number;
  readonly slotsFree: number;
  readonly active: number;
  readonly waiting: number;
  readonly workers: Readonly<Record<string, { readonly total: number; readonly free: number }>>;
  /** Unfinished tasks that its store has set aside after a long absence; absent: none. */
  readonly setAside?: number;
}

export interface SelfChange {
  /** Travels on the next heartbeat; no event. */
  readonly load?: Load;
  readonly stopping?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
}

/** To a store that was away for longer than `tombstone_ttl`, by the running time of the member that tells it. */
export interface AwayNotice {
  readonly storeId: string;
  readonly ttlMs: number;
  readonly wallMs: number;
}

export const NO_LOAD: Load = { slots: 0, slotsFree: 0, active: 0, waiting: 0, workers: {} };

/** removed: an operator said that its store does not come back. */
export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left' | 'removed';
/** crash: its process is known to have ended. silence: nobody heard it; it may still run. */
export type Evidence = 'crash' | 'silence';

export interface Member {
  readonly peerId: PeerId;
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  readonly name: string;
  /** Host part of the first advertised address: stores of one host are one risk. */
  readonly host: string;
  readonly status: MemberStatus;
  /** Only when dead, or dead when it was removed. */
  readonly deadBy?: Evidence;
  readonly incarnation: number;
  readonly stopping: boolean;
  /** Of room on its disk; absent: there is enough. */
  readonly shortage?: Shortage;
  /** Boot time of this peer's clock when the status was entered. */
  readonly sinceMs: number;
  readonly sinceWallMs: number;
  /** Why the status was entered, as a sentence; absent: it is the one that this peer knew first. */
  readonly evidence?: string;
  readonly addresses: readonly Address[];
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly features: readonly string[];
  readonly execEnabled: boolean;
  /** As the last heartbeat said. */
  readonly load: Load;
  /** Of the moment at which it is read. Capped at 100; 0 for oneself and where this peer does not observe. */
  readonly phi: number;
}

/**
 * joined: seen for the first time. boot: the same peer with a higher boot (every attempt of the
 * lower one has ended) or another store; comes before `alive` of the same change. updated:
 * something else in its own record. condemned: others took this very peer for dead, and it has refuted that.
 * revoked: its admission. flapping: it came back too often lately.
 * heard: after a silence, whatever its status was meanwhile; comes before what it said is handled.
 */
export interface MemberEvent {
  readonly type:
    | 'joined'
    | 'alive'
    | 'suspect'
    | 'dead'
    | 'left'
    | 'removed'
    | 'revoked'
    | 'flapping'
    | 'updated'
    | 'boot'
    | 'linked'
    | 'unlinked'
    | 'condemned'
    | 'heard';
  readonly member: Member;
  /** joined: of a mesh that was merged, which may have decided what was decided here as well. */
  readonly isMerged?: boolean;
  /** The status before, where another one was entered. */
  readonly was?: MemberStatus;
  readonly cause?: Cause;
  /** The cause as a sentence. */
  readonly evidence?: string;
}
export type MemberListener = (event: MemberEvent) => void;

export interface StoreIdentity {
  readonly storeId: string;
  readonly bootCount: number;
  readonly bootId: string;
  /** The last 64, this one included. */
  readonly bootIds: readonly string[];
  readonly spans: readonly BootSpan[];
  /** The last seq that is durable. */
  seq(): number;
}

export type MembershipConfig = Pick<
  Config,
  | 'heartbeat_interval'
  | 'phi_threshold'
  | 'heartbeat_pause'
  | 'silence_patience'
  | 'observers'
  | 'max_connections'
  | 'anti_entropy_interval'
  | 'redial_max'
  | 'labels'
  | 'exec'
> &
  Partial<Pick<Config, 'name' | 'dial_from' | 'peers'>>;

export interface MembershipDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly identity: Identity;
  readonly network: Network;
  readonly identityStore: Store;
  readonly store: StoreIdentity;
  readonly config: MembershipConfig;
  readonly log: Logger;
  /** What `network` counts, if it does. */
  readonly traffic?: Traffic;
  /** Own pauses and lag change nothing: for measuring what local health is good for, and nothing else. */
  readonly trustsItself?: boolean;
  /** Of the software, for display. */
  readonly version?: string;
  readonly features?: readonly string[];
  /** Frames for the other rooms, from linked members. */
  frame(from: PeerId, frameClass: 'data' | 'bulk', bytes: Uint8Array): void;
  /** What to tell a store at a hello, and what a member told of ours. */
  awayNotice?(storeId: string): AwayNotice | undefined;
  onAway?(from: PeerId, notice: AwayNotice | undefined): void;
  /** A member refused this store as rolled back or cloned: mint another storeId and start again. */
  onRefusedStore?(why: string): void;
  /** Another daemon with the key of this one lives, and this one has to give way. */
  onTwin?(address: string): void;
  /** This peer is not a member any more; undefined: it is one again. */
  onExpelled?(expelled: Expelled | undefined): void;
}

export interface AccessEntry {
  readonly peerId: PeerId;
  readonly name: string;
  readonly admittedBy: PeerId;
  readonly admittedAtMs: number;
  readonly revoked: boolean;
  /** Admitted by a peer that was revoked since, and its revoker had not seen that admission. */
  readonly isVoid: boolean;
  /** Who revoked it, or the one that had admitted it. */
  readonly barredBy?: PeerId;
  readonly barredAtMs?: number;
}

/** Why this very peer is not a member any more. */
export interface Expelled {
  readonly kind: 'revoked' | 'void';
  /** Name of the member that revoked this peer, or the one that had admitted it. */
  readonly by: string;
  readonly atMs: number;
}

export interface Allowed {
  readonly token: string;
  readonly isNew: boolean;
}
