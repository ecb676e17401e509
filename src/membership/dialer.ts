/**
 * Keeps a link to every member that is wanted (all that have not left, unless they are too many), and looks now and then
 * for those that were removed: one dial at a time for each, for ever, with capped and jittered backoff. What the dials
 * find is the detector's evidence.
 */
import { jitter } from '../base/random.ts';
import type { Timer } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import type { Core } from './core.ts';
import {
  DIAL_GRACE_MS,
  DIAL_TIMEOUT_MS,
  MEETING_REST_MS_MAX,
  MEETING_RESTS,
  MEETINGS_MAX,
  QUIET_MS,
  QUIET_MS_MAX,
  REDIAL_HOT_FOR_MS,
  REDIAL_HOT_MS,
  REDIAL_MS_MIN,
} from './limits.ts';
import { statusOf } from './member.ts';

export interface DialHooks {
  isOpen(peerId: PeerId): boolean;
  /** Asked before each round: in a partial mesh most members are not dialled. */
  isWanted(peerId: PeerId): boolean;
  /** A connection stands; greet it. */
  dialled(peerId: PeerId): Promise<void>;
  /** It observes this peer, or is observed by it. */
  isNear(peerId: PeerId): boolean;
  /** This very dial made the connection: something listens at that address. */
  reached(peerId: PeerId, address: Address): void;
  /** No address answered; `refused` are those that said ECONNREFUSED. */
  failed(peerId: PeerId, refused: readonly Address[]): void;
}

/** Of `redial_max`: a minute, as configured by default. */
const REMOVED_TIMES = 6;

interface Target {
  failures: number;
  hotUntilMs: number;
  timer: Timer | undefined;
  dialling: boolean;
}

export class Dialer {
  readonly #core: Core;
  readonly #hooks: DialHooks;
  readonly #targets = new Map<PeerId, Target>();
  /** Members that were heard of, and not dialled yet. */
  readonly #met = new Set<PeerId>();
  #meetings = 0;
  /** Since when there are any, and when the last one was heard of. */
  #sinceMs = 0;
  #heardMs = 0;
  #quietTimer: Timer | undefined;
  #stopped = false;

  constructor(core: Core, hooks: DialHooks) {
    this.#core = core;
    this.#hooks = hooks;
  }

  /**
   * Dials soon. `hot`: at short intervals for a while, for it is unclear what happened to the
   * other.
   */
  kick(peerId: PeerId, hot: boolean): void {
    if (this.#stopped || peerId === this.#core.peerId) return;
    const target = this.#target(peerId);
    target.failures = 0;
    if (hot) target.hotUntilMs = this.#core.deps.clock.nowMs() + REDIAL_HOT_FOR_MS;
    if (!target.dialling) this.#schedule(peerId, target, 0);
  }

  /**
   * One that this peer has just heard of. Whoever was admitted later dials: it knows all others from its welcome, and they
   * know of it by news, which may be lost.
   */
  meet(peerId: PeerId): void {
    if (this.#stopped || peerId === this.#core.peerId) return;
    const add = (): void => {
      this.#heardMs = this.#core.deps.clock.nowMs();
      if (this.#met.size === 0) this.#sinceMs = this.#heardMs;
      this.#met.add(peerId);
      this.#meetNext();
    };
    if (this.#isLater(peerId)) add();
    else this.#core.deps.clock.after(DIAL_GRACE_MS, add);
  }

  /** Both come to the same, by their entries. */
  #isLater(peerId: PeerId): boolean {
    const { access } = this.#core.view;
    const laterMs = access.admittedAtMs(this.#core.peerId) - access.admittedAtMs(peerId);
    return laterMs === 0 ? this.#core.peerId < peerId : laterMs > 0;
  }

  /**
   * A newcomer hears of all others at once. It dials a few at a time, first those that have to do with it, and leaves each
   * time a longer pause than the last dial took: a mesh that is started together is busy enough, and the news of who
   * is in it must not wait behind a thousand handshakes.
   */
  #meetNext(): void {
    if (this.#stopped || this.#meetings >= MEETINGS_MAX || !this.#isQuiet()) return;
    const waiting = [...this.#met].filter((peerId) => !this.#hooks.isOpen(peerId));
    const next = waiting.find((peerId) => this.#hooks.isNear(peerId)) ?? waiting[0];
    this.#met.clear();
    for (const peerId of waiting) if (peerId !== next) this.#met.add(peerId);
    if (next === undefined) return;
    this.#meetings += 1;
    void this.#meetOne(next);
  }

  /**
   * In a mesh of more than observe one another: while newcomers arrive one after the other, the inviter has work that
   * all of them wait for, on a host that may be this one.
   */
  #isQuiet(): boolean {
    const { clock, config } = this.#core.deps;
    const untilMs = Math.min(this.#heardMs + QUIET_MS, this.#sinceMs + QUIET_MS_MAX);
    const waitMs = untilMs - clock.nowMs();
    if (waitMs <= 0 || this.#core.view.size <= config.observers + 1) return true;
    this.#quietTimer ??= clock.after(waitMs, () => {
      this.#quietTimer = undefined;
      for (let i = 0; i < MEETINGS_MAX; i++) this.#meetNext();
    });
    return false;
  }

  async #meetOne(peerId: PeerId): Promise<void> {
    const { clock } = this.#core.deps;
    const startMs = clock.nowMs();
    const target = this.#target(peerId);
    target.failures = 0;
    target.hotUntilMs = startMs + REDIAL_HOT_FOR_MS;
    target.timer?.cancel();
    target.timer = undefined;
    await this.#round(peerId, target);
    const restMs = MEETING_RESTS * (clock.nowMs() - startMs);
    clock.after(Math.min(restMs, MEETING_REST_MS_MAX), () => {
      this.#meetings -= 1;
      this.#meetNext();
    });
  }

  /** A connection ended before it was of use: the backoff goes on where it was. */
  resume(peerId: PeerId): void {
    const target = this.#target(peerId);
    if (target.dialling || target.timer) return;
    target.failures += 1;
    this.#schedule(peerId, target, this.#delayMs(peerId, target));
  }

  /** Dials it, if nothing is under way: at once, or when its backoff says. */
  ensure(peerId: PeerId): void {
    if (this.#stopped || peerId === this.#core.peerId) return;
    const target = this.#target(peerId);
    if (target.dialling || target.timer) return;
    this.#schedule(peerId, target, target.failures === 0 ? 0 : this.#delayMs(peerId, target));
  }

  /** Peers that were dialled, or are to be. */
  get targets(): number {
    return this.#targets.size;
  }

  /** A dial is under way, and none has failed so far. */
  isHopeful(peerId: PeerId): boolean {
    const target = this.#targets.get(peerId);
    return target?.failures === 0 && (target.dialling || target.timer !== undefined);
  }

  /** Not soon: it refused us, or asked for quiet. */
  rest(peerId: PeerId): void {
    const target = this.#target(peerId);
    target.hotUntilMs = 0;
    target.failures = 16;
    if (!target.dialling) this.#schedule(peerId, target, this.#delayMs(peerId, target));
  }

  stop(): void {
    this.#stopped = true;
    this.#quietTimer?.cancel();
    for (const target of this.#targets.values()) target.timer?.cancel();
  }

  #target(peerId: PeerId): Target {
    const known = this.#targets.get(peerId);
    if (known) return known;
    const target = { failures: 0, hotUntilMs: 0, timer: undefined, dialling: false };
    this.#targets.set(peerId, target);
    return target;
  }

  #schedule(peerId: PeerId, target: Target, delayMs: number): void {
    target.timer?.cancel();
    if (this.#stopped) return;
    target.timer = this.#core.deps.clock.after(delayMs, () => {
      target.timer = undefined;
      void this.#round(peerId, target);
    });
  }

  #delayMs(peerId: PeerId, target: Target): number {
    const { clock, random, config } = this.#core.deps;
    const facts = this.#core.view.get(peerId);
    // It may live after all, with another store by and by. Two sides that each removed the other would never meet again
    // if neither looked: seldom, since most that were removed are gone.
    if (facts && statusOf(facts).status === 'removed')
      return jitter(random, REMOVED_TIMES * config.redial_max, 0.3);
    const grown = REDIAL_MS_MIN * 2 ** Math.min(target.failures, 16);
    const hot = clock.nowMs() < target.hotUntilMs;
    return jitter(random, Math.min(grown, hot ? REDIAL_HOT_MS : config.redial_max), 0.3);
  }

  /** The record may have changed while we waited: addresses are read anew for each round. */
  #addressesOf(peerId: PeerId): readonly Address[] {
    const facts = this.#core.view.get(peerId);
    if (!facts || statusOf(facts).status === 'left') return [];
    return this.#core.view.access.isAllowed(peerId) ? facts.record.statement.addresses : [];
  }

  async #round(peerId: PeerId, target: Target): Promise<void> {
    if (target.dialling || this.#stopped || this.#hooks.isOpen(peerId)) return;
    if (!this.#hooks.isWanted(peerId)) return;
    const addresses = this.#addressesOf(peerId);
    if (addresses.length === 0) return;
    target.dialling = true;
    const refused: Address[] = [];
    let up = false;
    for (const address of addresses) {
      const result = await this.#core.deps.network.dial(peerId, address, DIAL_TIMEOUT_MS);
      if (result.ok && result.isNew) this.#hooks.reached(peerId, address);
      up = result.ok || this.#hooks.isOpen(peerId);
      if (up || this.#stopped) break;
      if (!result.ok && result.code === 'refused') refused.push(address);
    }
    target.dialling = false;
    if (this.#stopped) return;
    if (up) {
      const greeted = this.#hooks.dialled(peerId);
      // Should the link have ended meanwhile, `closed` found us dialling and left the next round to
      // us.
      if (!this.#hooks.isOpen(peerId))
        this.#schedule(peerId, target, this.#delayMs(peerId, target));
      await greeted;
      return;
    }
    target.failures += 1;
    this.#hooks.failed(peerId, refused);
    this.#schedule(peerId, target, this.#delayMs(peerId, target));
  }
}
