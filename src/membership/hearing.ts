/** What this peer hears of whom, and for how long: read from what the detector keeps. */
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import type { Expected } from './expected.ts';
import { OPINION_TTL_MS } from './limits.ts';
import type { Links } from './links.ts';
import { statusOf } from './member.ts';
import type { Observed } from './stats.ts';
import { silenceOf, type Watch } from './watch.ts';

export interface HearingHooks {
  /** It can be reached though there is no link to it. */
  canBeDialled(peerId: PeerId): boolean;
  /** Its heartbeats come here. */
  expects(peerId: PeerId): boolean;
  watch(peerId: PeerId): Watch;
}

export class Hearing {
  readonly #core: Core;
  readonly #links: Links;
  readonly #expected: Expected;
  readonly #hooks: HearingHooks;

  constructor(core: Core, links: Links, expected: Expected, hooks: HearingHooks) {
    this.#core = core;
    this.#links = links;
    this.#expected = expected;
    this.#hooks = hooks;
  }

  get #nowMs(): number {
    return this.#core.deps.clock.nowMs();
  }

  get #pauseMs(): number {
    return this.#core.deps.config.heartbeat_pause;
  }

  silenceOf(watch: Watch, now = this.#nowMs): number {
    return silenceOf(watch, now);
  }

  hears(peerId: PeerId, now = this.#nowMs): boolean {
    if (!this.#links.isUp(peerId)) return false;
    const { heardMs } = this.#hooks.watch(peerId);
    return heardMs !== undefined && now - heardMs < this.#pauseMs;
  }

  /**
   * For how long its link has been up and never silent beyond `heartbeat_pause`, in ms; −1: it is not heard now. Of one
   * that sends its heartbeats to others: for how long they have not found it missing, and this peer was in touch itself.
   */
  forMs(peerId: PeerId): number {
    const now = this.#nowMs;
    const { hearingSinceMs } = this.#hooks.watch(peerId);
    if (this.#hooks.expects(peerId))
      return hearingSinceMs !== undefined && this.hears(peerId, now) ? now - hearingSinceMs : -1;
    const member = this.#core.roster.get(peerId);
    const isThere = this.#links.isUp(peerId) || this.#hooks.canBeDialled(peerId);
    if (member?.status !== 'alive' || !isThere) return -1;
    return Math.min(this.#inTouchForMs(now), now - member.sinceMs);
  }

  #inTouchForMs(now: number): number {
    const silence = (other: PeerId) => this.silenceOf(this.#hooks.watch(other), now);
    return this.#expected.inTouchForMs(silence, this.#pauseMs, now);
  }

  /** Out of touch with one at least of those that are to be heard here. */
  isOut(now: number): boolean {
    return this.#inTouchForMs(now) < 0;
  }

  /** It should be heard, and is not. */
  isSilent(peerId: PeerId): boolean {
    if (!this.#hooks.expects(peerId)) return false;
    return this.silenceOf(this.#hooks.watch(peerId)) >= this.#pauseMs;
  }

  /** Others that have said a moment ago that they hear this peer. */
  heardBy(peerId: PeerId): PeerId[] {
    const now = this.#nowMs;
    return [...this.#hooks.watch(peerId).opinions]
      .filter(([, { says, atMs }]) => says === 'hears' && now - atMs <= OPINION_TTL_MS)
      .map(([other]) => other);
  }

  phiOf(peerId: PeerId): number {
    const facts = this.#core.view.get(peerId);
    if (!facts || statusOf(facts).status !== 'alive' || !this.#hooks.expects(peerId)) return 0;
    const watch = this.#hooks.watch(peerId);
    return watch.window.phi(this.silenceOf(watch));
  }

  /** What this peer makes of a member, for people. */
  impressionOf(peerId: PeerId): Pick<Observed, 'opinion' | 'heardMsAgo'> {
    const { heardMs, opinion } = this.#hooks.watch(peerId);
    const heardMsAgo = heardMs === undefined ? undefined : this.#nowMs - heardMs;
    return { opinion: opinion.opinion, heardMsAgo };
  }
}
