/** Membership and ring as the records and tasks rooms see them: the one place where the rooms' needs are met. */
import { parseTaskId } from '../base/task-id.ts';
import type { Member } from '../membership/types.ts';
import type { Clock } from '../ports/clock.ts';
import type { Shortage } from '../ports/room.ts';
import type { StoreDirectory, StoreStatus } from '../records/directory.ts';
import { Ring } from '../ring/ring.ts';
import type { MeshView, PeerSight } from '../tasks/mesh-view.ts';
import { type OwnerStatus, ownerStatus } from '../tasks/ownership.ts';

/** What this adapter needs of membership. */
export interface MembershipSight {
  self(): Member;
  /** The same list as long as nothing has changed. */
  members(): readonly Member[];
  member(peerId: string): Member | undefined;
  memberOfStore(storeId: string): Member | undefined;
  isRemoved(storeId: string): boolean;
  linked(peerId: string): boolean;
  hearingForMs(peerId: string): number;
}

/** Labels by which an operator tells where a host stands. */
const ZONE_LABEL = 'zone';

export class Sight implements MeshView {
  readonly #membership: MembershipSight;
  #ring: Ring | undefined;
  #ringOf = '';
  #ringSeen: readonly Member[] | undefined;

  /** Of these members; a task asks for it several times. */
  #present: readonly string[] = [];
  #presentOf: readonly Member[] | undefined;

  readonly #clock: Clock;
  /** A request gets there: over its link, over one that is made for it, or through a third member. */
  reaches: (peerId: string) => boolean;
  /** Its heartbeats, with its load, come here. */
  isObserved: (peerId: string) => boolean = () => true;
  /** Nothing is exchanged with a member before what it told of a long absence is settled (away.ts). */
  isSettled: (peerId: string) => boolean = () => true;
  /** There is room on this disk again, and others may still own what this store did (shortage.ts). */
  isReturning: () => boolean = () => false;
  /** By member, as it last told. */
  readonly #shortages = new Map<string, Shortage>();
  /** When others last were known to take this peer for dead. */
  #condemnedMs = Number.NEGATIVE_INFINITY;

  constructor(membership: MembershipSight, clock: Clock) {
    this.#membership = membership;
    this.reaches = (peerId) => membership.linked(peerId);
    this.#clock = clock;
  }

  /** True when what may be owned where has changed with a mere word of that member. */
  note({ type, member }: { readonly type: string; readonly member: Member }): boolean {
    if (type === 'condemned') this.#condemnedMs = this.#clock.nowMs();
    const { peerId, shortage } = member;
    const isOther = this.#shortages.get(peerId) !== shortage;
    if (shortage === undefined) this.#shortages.delete(peerId);
    else this.#shortages.set(peerId, shortage);
    return isOther;
  }

  inTouchForMs(store: string): number {
    const peerId = this.#membership.memberOfStore(store)?.peerId;
    const hearingMs = peerId === undefined ? -1 : this.#membership.hearingForMs(peerId);
    return Math.min(hearingMs, this.#clock.nowMs() - this.#condemnedMs);
  }

  status(store: string): OwnerStatus {
    const member = this.#membership.memberOfStore(store);
    if (member === undefined || !isPresent(member)) return 'dead';
    const isReturning = this.isReturning() && member.peerId === this.#membership.self().peerId;
    return ownerStatus(isReturning ? { ...member, shortage: 'scarce' } : member);
  }

  peers(): PeerSight[] {
    const self = this.#membership.self().peerId;
    return this.#membership.members().map((member) => this.#sightOf(member, self));
  }

  peer(peerId: string): PeerSight | undefined {
    const member = this.#membership.member(peerId);
    return member === undefined ? undefined : this.#sightOf(member, this.#membership.self().peerId);
  }

  self(): PeerSight {
    const self = this.#membership.self();
    return this.#sightOf(self, self.peerId);
  }

  #sightOf(member: Member, selfId: string): PeerSight {
    const self = member.peerId === selfId;
    return {
      peerId: member.peerId,
      storeId: member.storeId,
      name: member.name,
      bootCount: member.bootCount,
      status: member.status,
      crashed: member.deadBy === 'crash',
      stopping: member.stopping,
      ...(member.shortage === undefined ? {} : { shortage: member.shortage }),
      reachable: self || (this.reaches(member.peerId) && this.isSettled(member.peerId)),
      linked: self || this.#membership.linked(member.peerId),
      self,
      execEnabled: member.execEnabled,
      load: member.load,
      isLoadUnknown: !self && !this.isObserved(member.peerId),
    };
  }

  /** The ring of the members neither dead nor left, built anew only when that set has changed. */
  ring(): Ring {
    const members = this.#membership.members();
    if (this.#ring !== undefined && members === this.#ringSeen) return this.#ring;
    this.#ringSeen = members;
    const present = members.filter(isPresent);
    const key = present
      .map((member) => `${member.storeId}@${member.host}`)
      .sort()
      .join(' ');
    if (this.#ring === undefined || key !== this.#ringOf) {
      this.#ring = new Ring(
        present.map((member) => {
          const zone = member.labels[ZONE_LABEL];
          return {
            storeId: member.storeId,
            peerId: member.peerId,
            host: member.host,
            weight: 1,
            ...(zone === undefined ? {} : { zone }),
          };
        }),
      );
      this.#ringOf = key;
    }
    return this.#ring;
  }

  readonly directory: StoreDirectory = {
    peerOf: (store) => {
      const member = this.#membership.memberOfStore(store);
      const isThere = member !== undefined && this.reaches(member.peerId);
      return isThere && this.isSettled(member.peerId) ? member.peerId : undefined;
    },
    storeOfPeer: (peer) => this.#membership.member(peer)?.storeId,
    statusOf: (store): StoreStatus =>
      this.#membership.isRemoved(store)
        ? 'removed'
        : (this.#membership.memberOfStore(store)?.status ?? 'unknown'),
    present: () => {
      const members = this.#membership.members();
      if (members !== this.#presentOf) {
        this.#presentOf = members;
        this.#present = members.filter(isPresent).map((member) => member.storeId);
      }
      return this.#present;
    },
    // A task's place on the ring is that of the random part of its id.
    preference: (key, count) => this.ring().preference(parseTaskId(key)?.random ?? key, count),
  };
}

const isPresent = (member: Member): boolean =>
  member.status === 'alive' || member.status === 'suspect';
