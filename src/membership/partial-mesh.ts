/**
 * Whom this peer keeps a link to. Up to `max_connections` members: to all. Above: to its observers, those it observes,
 * and whom it talks to, the least recently used closed with a goodbye. The rings alone hold the mesh together (each of
 * them is a cycle through all members), and their links are the ones on which gossip travels.
 */
import { pickDistinct, randomFloat } from '../base/random.ts';
import type { Timer } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import type { Dialer } from './dialer.ts';
import type { Hearing } from './hearing.ts';
import { CONNECT_RETRY_MS, CONNECTING_MAX, SEEK_MS, SUMMON_MS } from './limits.ts';
import type { Links } from './links.ts';
import { isGone, statusOf } from './member.ts';
import type { ObserverRings } from './observers.ts';
import { isPartial, seekRate, whomToClose } from './ties.ts';

/** By which way something gets to a member: its link, a link that has first to be made, or a third member. */
export type Way = 'link' | 'dial' | 'relay';

export interface MeshHooks {
  readonly hearing: () => Pick<Hearing, 'isSilent' | 'heardBy'>;
  readonly rings: () => ObserverRings;
  readonly dialer: () => Pick<Dialer, 'ensure' | 'kick' | 'isHopeful'>;
}

/** Who waits for a link, and when that ends. */
interface Wait {
  readonly done: (isUp: boolean) => void;
  readonly timer: Timer;
}

interface Shape {
  readonly rings: ObserverRings;
  readonly others: number;
  readonly isPartial: boolean;
  /** Observers of this peer, and those that it observes. */
  readonly neighbours: ReadonlySet<PeerId>;
}

export class PartialMesh {
  readonly #core: Core;
  readonly #links: Links;
  readonly #hooks: MeshHooks;
  #shape: Shape | undefined;
  readonly #usedMs = new Map<PeerId, number>();
  readonly #waits = new Map<PeerId, Wait[]>();
  /** Dials that somebody waited for and that failed. */
  readonly #failedMs = new Map<PeerId, number>();
  /** Observers of a suspect, with whom its case is to be settled. */
  readonly #summonedMs = new Map<PeerId, number>();
  #sought: ReadonlySet<PeerId> = new Set();
  #soughtMs = Number.NEGATIVE_INFINITY;
  /** Requests of this peer wait for answers there. */
  isBusy: (peerId: PeerId) => boolean = () => false;

  constructor(core: Core, links: Links, hooks: MeshHooks) {
    this.#core = core;
    this.#links = links;
    this.#hooks = hooks;
  }

  get #nowMs(): number {
    return this.#core.deps.clock.nowMs();
  }

  get #now(): Shape {
    const rings = this.#hooks.rings();
    if (this.#shape?.rings === rings) return this.#shape;
    const { peerId: self, view, deps } = this.#core;
    let others = 0;
    for (const [peerId, facts] of view.entries()) if (peerId !== self && !isGone(facts)) others++;
    this.#shape = {
      rings,
      others,
      isPartial: isPartial(others, deps.config.max_connections),
      neighbours: new Set([...rings.observersOf(self), ...rings.observedBy(self)]),
    };
    return this.#shape;
  }

  get isPartial(): boolean {
    return this.#now.isPartial;
  }

  /** Whether a link to it should stand, as far as this peer is concerned. */
  expects(peerId: PeerId): boolean {
    const { isPartial: partial, neighbours } = this.#now;
    return !partial || neighbours.has(peerId);
  }

  observes(peerId: PeerId): boolean {
    return this.#now.rings.observedBy(this.#core.peerId).includes(peerId);
  }

  /** Whether to dial it now. */
  isWanted(peerId: PeerId): boolean {
    return (
      this.expects(peerId) ||
      this.#waits.has(peerId) ||
      this.#sought.has(peerId) ||
      this.#isSummoned(peerId)
    );
  }

  #isSummoned(peerId: PeerId): boolean {
    return this.#nowMs - (this.#summonedMs.get(peerId) ?? Number.NEGATIVE_INFINITY) < SUMMON_MS;
  }

  /** The observers of a suspect are asked for a link each: opinions travel on direct streams. */
  summon(observers: readonly PeerId[]): void {
    if (!this.isPartial) return;
    for (const peerId of observers) {
      if (peerId === this.#core.peerId) continue;
      const isNew = !this.#isSummoned(peerId);
      this.#summonedMs.set(peerId, this.#nowMs);
      if (isNew && !this.#links.isOpen(peerId)) this.#hooks.dialer().kick(peerId, false);
    }
  }

  /** An observer without a link that nobody has found out of reach so far: it may still speak up. */
  mayCome(peerId: PeerId): boolean {
    if (!this.isPartial || this.#links.isUp(peerId)) return false;
    return this.#links.isOpen(peerId) || this.#hooks.dialer().isHopeful(peerId);
  }

  /** A request, an answer or a message went over the link. */
  used(peerId: PeerId): void {
    this.#usedMs.set(peerId, this.#nowMs);
  }

  linkUp(peerId: PeerId): void {
    this.used(peerId);
    this.#failedMs.delete(peerId);
    this.#settle(peerId, true);
  }

  linkDown(peerId: PeerId): void {
    this.#usedMs.delete(peerId);
  }

  dialFailed(peerId: PeerId): void {
    if (this.#waits.has(peerId)) this.#failedMs.set(peerId, this.#nowMs);
    this.#settle(peerId, false);
  }

  #settle(peerId: PeerId, isUp: boolean): void {
    const waits = this.#waits.get(peerId) ?? [];
    this.#waits.delete(peerId);
    for (const { done, timer } of waits) {
      timer.cancel();
      done(isUp);
    }
  }

  /**
   * Alive by the word of its observers, and in a mesh in which a missing link says nothing: whoever needs it dials it.
   * A dial that failed a moment ago says something.
   */
  canBeDialled(peerId: PeerId): boolean {
    const facts = this.#core.view.get(peerId);
    if (!this.isPartial || !facts || statusOf(facts).status !== 'alive') return false;
    const failedMs = this.#failedMs.get(peerId);
    return failedMs === undefined || this.#nowMs - failedMs >= CONNECT_RETRY_MS;
  }

  /** A link that stands and is not silent, or one that can be had. */
  isInTouch(peerId: PeerId): boolean {
    return this.#links.isUp(peerId) || this.canBeDialled(peerId);
  }

  wayTo(peerId: PeerId): Way {
    if (this.#links.isUp(peerId)) {
      const isLost = this.#hooks.hearing().isSilent(peerId) && this.relaysTo(peerId).length > 0;
      return isLost ? 'relay' : 'link';
    }
    if (this.canBeDialled(peerId)) return 'dial';
    return this.relaysTo(peerId).length > 0 ? 'relay' : 'link';
  }

  /**
   * Members through which a request may go to one that lives, and that this peer cannot reach itself: observers that say
   * they hear it; where this peer is none of those who are told, its neighbours on the rings, which have links to it.
   */
  relaysTo(peerId: PeerId): PeerId[] {
    const { rings } = this.#now;
    const facts = this.#core.view.get(peerId);
    if (!facts || statusOf(facts).status !== 'alive') return [];
    const isReady = (third: PeerId): boolean =>
      third !== peerId && this.#links.isUp(third) && !this.#hooks.hearing().isSilent(third);
    const hearing = this.#hooks.hearing().heardBy(peerId).filter(isReady);
    const isTold = rings.observersOf(peerId).includes(this.#core.peerId);
    if (hearing.length > 0 || isTold || this.isInTouch(peerId)) return hearing;
    return [...rings.observersOf(peerId), ...rings.observedBy(peerId)].filter(isReady);
  }

  /** A link to a member for whoever wants to talk to it: true when it is up, false when it cannot be had in time. */
  connect(peerId: PeerId, waitMs: number): Promise<boolean> {
    if (this.#links.isUp(peerId)) return Promise.resolve(true);
    const isMuch = !this.#waits.has(peerId) && this.#waits.size >= CONNECTING_MAX;
    if (isMuch || !this.canBeDialled(peerId)) return Promise.resolve(false);
    return new Promise((done) => {
      const timer = this.#core.deps.clock.after(waitMs, () => this.dialFailed(peerId));
      const waits = this.#waits.get(peerId) ?? [];
      this.#waits.set(peerId, [...waits, { done, timer }]);
      if (waits.length === 0) this.#hooks.dialer().kick(peerId, false);
    });
  }

  tick(): void {
    const { isPartial: partial, neighbours, others } = this.#now;
    if (!partial) return;
    for (const peerId of neighbours)
      if (!this.#links.isOpen(peerId)) this.#hooks.dialer().ensure(peerId);
    if (this.#nowMs - this.#soughtMs >= SEEK_MS) this.#seek(others);
    for (const [peerId, atMs] of this.#summonedMs)
      if (this.#nowMs - atMs >= SUMMON_MS) this.#summonedMs.delete(peerId);
    this.#closeSome();
  }

  /** The dead may be on the other side of a cut that has ended: somebody must try, or two sides never meet again. */
  #seek(others: number): void {
    this.#soughtMs = this.#nowMs;
    const { random, config } = this.#core.deps;
    const isLost = this.#links.upPeers().length === 0;
    const lost: PeerId[] = [];
    for (const [peerId, facts] of this.#core.view.entries()) {
      const { status } = statusOf(facts);
      const isOut = status === 'dead' || status === 'removed' || (isLost && status === 'alive');
      if (isOut && peerId !== this.#core.peerId && !this.#links.isOpen(peerId)) lost.push(peerId);
    }
    const wanted = seekRate(lost.length, others, SEEK_MS, config.redial_max);
    const count = Math.floor(wanted) + (randomFloat(random) < wanted % 1 ? 1 : 0);
    this.#sought = new Set(count === 0 ? [] : pickDistinct(random, lost, count));
    for (const peerId of this.#sought) this.#hooks.dialer().kick(peerId, false);
  }

  #closeSome(): void {
    const { neighbours } = this.#now;
    const now = this.#nowMs;
    const up = this.#links.upPeers();
    if (up.length <= this.#core.deps.config.max_connections) return;
    const needed = new Set([...neighbours, ...this.#summonedMs.keys()]);
    const ties = up.map((peerId) => {
      const idleMs = now - (this.#usedMs.get(peerId) ?? now);
      return { peerId, idleMs, isBusy: this.isBusy(peerId) };
    });
    for (const peerId of whomToClose(ties, needed, this.#core.deps.config.max_connections))
      void this.#links.end(peerId, 'idle');
  }
}
