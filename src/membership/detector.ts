/**
 * Detection: heartbeats, what this peer makes of those it observes, and what the observers tell one
 * another. The decisions are in conviction.ts; this is the bookkeeping around them.
 */
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import {
  causeOfOpinion,
  type DetectionConfig,
  detectionConfigOf,
  isStale,
  judge,
  type Observation,
  type Others,
  opinionOf,
} from './conviction.ts';
import type { Core } from './core.ts';
import type { Dialer } from './dialer.ts';
import { type Fact, signFact, type Turn, type Verdict } from './fact.ts';
import { Health } from './health.ts';
import { Heartbeats } from './heartbeats.ts';
import { ACCUSED_NOTICE_MS, OPINION_TTL_MS, PLACES_MAX } from './limits.ts';
import type { LinkEnd, Links } from './links.ts';
import { compareTurns, type MemberFacts, statusOf } from './member.ts';
import type { ControlMessage } from './messages.ts';
import { ObserverRings, type Places } from './observers.ts';
import { Reach, type Unreached } from './reach.ts';
import type { Observed } from './stats.ts';
import type { Sync } from './sync.ts';
import type { MemberChange } from './view.ts';
import {
  expect,
  FINE,
  forgetBoot,
  newWatch,
  observationOf,
  silenceOf,
  type Watch,
} from './watch.ts';

type Dialing = Pick<Dialer, 'kick' | 'meet'>;
type Telling = Pick<Sync, 'announce' | 'tell'>;

export class Detector {
  readonly #core: Core;
  readonly #links: Links;
  readonly #dialer: Dialing;
  readonly #telling: Telling;
  readonly health: Health;
  readonly heartbeats: Heartbeats;
  readonly #reach: Reach;
  readonly #config: DetectionConfig;
  readonly #watches = new Map<PeerId, Watch>();
  #rings: ObserverRings | undefined;
  readonly #places: Places = new Map();

  constructor(core: Core, links: Links, dialer: Dialing, telling: Telling) {
    this.#core = core;
    this.#links = links;
    this.#dialer = dialer;
    this.#telling = telling;
    this.#reach = new Reach(core, links);
    this.heartbeats = new Heartbeats(links);
    const { config, clock } = core.deps;
    this.health = new Health(config.heartbeat_pause + config.heartbeat_interval, clock.nowMs());
    this.#config = detectionConfigOf(config);
  }

  get #nowMs(): number {
    return this.#core.deps.clock.nowMs();
  }

  #watch(peerId: PeerId): Watch {
    const known = this.#watches.get(peerId);
    if (known) return known;
    const watch = newWatch(this.#core.deps.config, this.#nowMs);
    this.#watches.set(peerId, watch);
    return watch;
  }

  /**
   * From now on silence counts: what was learned before the start is no reason to expect anybody.
   */
  resume(): void {
    this.health.restart(this.#nowMs);
    for (const [peerId] of this.#core.view.entries()) expect(this.#watch(peerId), this.#nowMs);
  }

  /** Another mesh: nothing of the old one is observed. */
  reset(): void {
    this.#watches.clear();
    this.#rings = undefined;
  }

  /** Members that take part in observing. */
  get rings(): ObserverRings {
    if (!this.#rings) {
      const living: PeerId[] = [];
      for (const [peerId, facts] of this.#core.view.entries()) {
        if (statusOf(facts).status === 'alive') living.push(peerId);
      }
      if (this.#places.size > PLACES_MAX) this.#places.clear();
      this.#rings = new ObserverRings(living, this.#core.deps.config.observers, this.#places);
    }
    return this.#rings;
  }

  // What happens to links

  linkUp(peerId: PeerId): void {
    const watch = this.#watch(peerId);
    watch.endedAbruptly = false;
    watch.saidGoodbye = false;
    watch.refusedSinceMs = undefined;
    watch.window.skipNext();
    watch.lookedAt = undefined;
    this.heartbeats.forget(peerId);
    this.heard(peerId);
    // At once: it may crash in the next moment.
    if (this.rings.observedBy(this.#core.peerId).includes(peerId))
      this.#reach.lookAt(peerId, watch);
  }

  /** This peer itself found it there. */
  reached(peerId: PeerId, address: Address): void {
    this.#watch(peerId).reached.add(address);
    this.#watch(peerId).unreached.delete(address);
  }

  linkDown(peerId: PeerId, end: LinkEnd): void {
    const watch = this.#watch(peerId);
    if (!end.wasUp) return;
    watch.hearingSinceMs = undefined;
    watch.saidGoodbye = end.farewell === 'stop' || end.farewell === 'leave';
    watch.endedAbruptly = end.farewell === undefined && !end.byUs;
    watch.window.skipNext();
  }

  /** No address of it answered a dial. */
  dialFailed(peerId: PeerId, refused: readonly Address[]): void {
    const watch = this.#watch(peerId);
    const isEvidence = refused.some((address) => watch.reached.has(address));
    if (isEvidence) watch.refusedSinceMs ??= this.#nowMs;
    else watch.refusedSinceMs = undefined;
    this.#evaluate(peerId);
  }

  // What comes in

  heard(peerId: PeerId): void {
    const watch = this.#watch(peerId);
    const now = this.#nowMs;
    const wasSilent = now - (watch.heardMs ?? now) >= this.#core.deps.config.heartbeat_pause;
    if (wasSilent || watch.hearingSinceMs === undefined) watch.hearingSinceMs = now;
    watch.heardMs = now;
    watch.isUnmet = false;
    if (wasSilent) this.#core.roster.emit('heard', peerId);
    if (watch.opinion.opinion !== 'fine') this.#evaluate(peerId, 'heard', now);
  }

  handle(
    from: PeerId,
    message: Extract<ControlMessage, { type: 'heartbeat' | 'pulse' | 'opinion' | 'accused' }>,
  ): void {
    switch (message.type) {
      case 'heartbeat': {
        const now = this.#nowMs;
        this.#checkPause(now, false);
        this.#watch(from).window.beat(now);
        if (message.load) this.#core.roster.load(from, message.load);
        return;
      }
      case 'pulse':
        this.#links.pulsed(from, message.nonce);
        return;
      case 'opinion':
        this.#heardOpinion(from, message);
        return;
      case 'accused':
        if (message.level === 'suspect')
          this.#links.send(from, { type: 'pulse', nonce: message.nonce });
        else this.#core.refute(message.turn);
    }
  }

  #heardOpinion(from: PeerId, message: Extract<ControlMessage, { type: 'opinion' }>): void {
    const { peerId, turn, says } = message;
    const facts = this.#core.view.get(peerId);
    if (peerId === this.#core.peerId || !facts) return;
    const behind = compareTurns(turn, facts.record.statement);
    // An objection counts for its own turn: one that accuses an older turn must learn of the newer
    // one, or it would hear no objection and convict a member that others hear.
    if (behind < 0 && says !== 'hears') this.#telling.tell(from, facts.record);
    if (behind !== 0 || statusOf(facts).status !== 'alive') return;
    this.#watch(peerId).opinions.set(from, { says, turn, atMs: this.#nowMs });
    if (says !== 'hears' && this.hears(peerId)) {
      this.#links.send(from, { type: 'opinion', peerId, turn, says: 'hears' });
      this.#notice(peerId, turn, 'suspect');
    }
    this.#evaluate(peerId);
  }

  hears(peerId: PeerId, now = this.#nowMs): boolean {
    const watch = this.#watches.get(peerId);
    if (!watch || watch.heardMs === undefined || !this.#links.isUp(peerId)) return false;
    return now - watch.heardMs < this.#core.deps.config.heartbeat_pause;
  }

  /** For how long its link has been up and never silent beyond `heartbeat_pause`, in ms; −1: it is not heard now. */
  hearingForMs(peerId: PeerId): number {
    const since = this.#watches.get(peerId)?.hearingSinceMs;
    if (since === undefined) return -1;
    const now = this.#nowMs;
    return this.hears(peerId, now) ? now - since : -1;
  }

  /**
   * A verdict on one that we hear: its author and the condemned learn of it; kept should it fall
   * silent.
   */
  objected(verdict: Fact<Verdict>): void {
    const { peerId, epoch, incarnation } = verdict.statement;
    const turn = { epoch, incarnation };
    this.#watch(peerId).pending = verdict;
    this.#links.send(verdict.signed.by, { type: 'opinion', peerId, turn, says: 'hears' });
    this.#notice(peerId, turn, 'dead');
  }

  #notice(peerId: PeerId, turn: Turn, level: 'suspect' | 'dead'): void {
    const watch = this.#watch(peerId);
    if (this.#nowMs - watch.noticedMs < ACCUSED_NOTICE_MS && level === 'suspect') return;
    watch.noticedMs = this.#nowMs;
    this.#links.send(peerId, { type: 'accused', turn, level });
  }

  /** The facts about a member changed. */
  changed({ peerId, before, after }: MemberChange): void {
    this.#rings = undefined;
    if (peerId === this.#core.peerId) return;
    const watch = this.#watch(peerId);
    const { status } = statusOf(after);
    const restarted = before?.record.statement.epoch !== after.record.statement.epoch;
    const revived = before !== undefined && statusOf(before).status !== status;
    if (restarted) forgetBoot(watch, !this.#links.isUp(peerId));
    if (restarted || revived) watch.expectSinceMs = this.#nowMs;
    // Also one that is first heard of as dead: where two meshes merge, nobody else may be left that it knows.
    const isAlive = status === 'alive';
    if (before === undefined && isAlive) this.#dialer.meet(peerId);
    else if (restarted || (revived && isAlive)) this.#dialer.kick(peerId, isAlive);
    const refuted = before && compareTurns(before.record.statement, after.record.statement) < 0;
    // One that just spoke through others gets a new patience; objections come if it can be heard at all.
    if (refuted) watch.expectSinceMs = this.#nowMs;
    if (isAlive) {
      this.#evaluate(peerId, refuted ? 'refuted' : 'heard');
      return;
    }
    watch.opinion = FINE;
    watch.opinions.clear();
    watch.pending = undefined;
    // A half-open link would hide a way that works; one whose store was removed hears that at its next hello.
    const isStale = status === 'dead' || status === 'removed';
    if (isStale && this.#links.isUp(peerId)) void this.#links.end(peerId, 'stale');
  }

  // Time

  beat(): void {
    this.heartbeats.beat(this.rings.observersOf(this.#core.peerId));
    for (const [peerId, watch] of this.#watches) {
      if (watch.opinion.opinion !== 'fine') this.#tell(peerId, watch);
    }
  }

  tick(): void {
    const now = this.#nowMs;
    this.#checkPause(now, true);
    for (const peerId of this.rings.observedBy(this.#core.peerId)) {
      this.#evaluate(peerId, 'heard', now);
      if (this.#links.isUp(peerId)) this.#reach.lookAt(peerId, this.#watch(peerId));
    }
    for (const [peerId, watch] of this.#watches) this.#settlePending(peerId, watch);
  }

  #checkPause(now: number, isTick: boolean): void {
    if (!this.health.notice(now, isTick)) return;
    this.#core.deps.log.log('warn', 'this process was stopped for a while', {});
    for (const watch of this.#watches.values()) {
      watch.expectSinceMs = now;
      watch.window.reset();
      watch.opinions.clear();
      watch.refusedSinceMs = undefined;
    }
  }

  #settlePending(peerId: PeerId, watch: Watch): void {
    if (!watch.pending || this.hears(peerId)) return;
    const verdict = watch.pending;
    watch.pending = undefined;
    if (!this.health.standing(this.#nowMs).pausedLately) this.#core.accept([verdict], 'news');
  }

  phiOf(peerId: PeerId): number {
    const watch = this.#watches.get(peerId);
    const facts = this.#core.view.get(peerId);
    if (!watch || !facts || peerId === this.#core.peerId) return 0;
    return statusOf(facts).status === 'alive' ? watch.window.phi(silenceOf(watch, this.#nowMs)) : 0;
  }

  /** What this peer makes of a member, for people. */
  impressionOf(peerId: PeerId): Pick<Observed, 'opinion' | 'heardMsAgo'> {
    const watch = this.#watch(peerId);
    const heardMs = watch.heardMs;
    const heardMsAgo = heardMs === undefined ? undefined : this.#nowMs - heardMs;
    return { opinion: watch.opinion.opinion, heardMsAgo };
  }

  unreached(): Promise<Unreached[]> {
    return this.#reach.recheck(this.#watches);
  }

  // Judging

  /** `back`: why it would be fine again. */
  #evaluate(peerId: PeerId, back: 'heard' | 'refuted' = 'heard', now = this.#nowMs): void {
    this.#checkPause(now, false);
    const facts = this.#core.view.get(peerId);
    if (!facts || peerId === this.#core.peerId || statusOf(facts).status !== 'alive') return;
    const watch = this.#watch(peerId);
    const config = this.#config;
    const seen = observationOf(watch, this.#links.isUp(peerId), now);
    const standing = this.health.standing(now);
    const opinion = opinionOf(seen, config, standing);
    const before = watch.opinion.opinion;
    watch.opinion = opinion;
    this.#core.roster.suspect(peerId, opinion.opinion !== 'fine', () =>
      causeOfOpinion(opinion, seen, this.#core.peerId, back),
    );
    if (opinion.opinion === 'fine') return;
    if (before !== opinion.opinion) this.#tell(peerId, watch);
    const others = this.#othersOn(peerId, watch);
    const judgement = judge(opinion, seen, others, config);
    if (judgement.convict) this.#convict(peerId, facts, judgement.evidence, seen, others.accusers);
    else if (isStale(seen, config, standing)) void this.#links.end(peerId, 'stale');
  }

  /** The other observers of a peer that we can reach, and what they said lately. */
  #othersOn(peerId: PeerId, watch: Watch): Others & { readonly accusers: PeerId[] } {
    const accusers: PeerId[] = [];
    const others = { reachable: 0, accusing: 0, objecting: 0, accusers };
    for (const observer of this.rings.observersOf(peerId)) {
      const isReachable = this.#links.isUp(observer) && this.#isFine(observer);
      if (observer === this.#core.peerId || !isReachable) continue;
      others.reachable += 1;
      const said = watch.opinions.get(observer);
      const facts = this.#core.view.get(peerId);
      if (!said || !facts || this.#nowMs - said.atMs > OPINION_TTL_MS) continue;
      if (compareTurns(said.turn, facts.record.statement) !== 0) continue;
      if (said.says === 'hears') others.objecting += 1;
      else if (said.says !== 'suspect') accusers.push(observer);
    }
    others.accusing = accusers.length;
    return others;
  }

  #isFine(peerId: PeerId): boolean {
    return this.#watches.get(peerId)?.opinion.opinion === 'fine';
  }

  /**
   * Says our opinion to the other observers, and to the peer itself: it may only have been slow.
   */
  #tell(peerId: PeerId, watch: Watch): void {
    const record = this.#core.view.get(peerId)?.record.statement;
    const { opinion } = watch;
    if (!record || opinion.opinion === 'fine') return;
    const turn = { epoch: record.epoch, incarnation: record.incarnation };
    const says = opinion.opinion === 'suspect' ? 'suspect' : opinion.evidence;
    for (const observer of this.rings.observersOf(peerId)) {
      if (observer === this.#core.peerId) continue;
      this.#links.send(observer, { type: 'opinion', peerId, turn, says });
    }
    this.#notice(peerId, turn, 'suspect');
  }

  #convict(
    peerId: PeerId,
    facts: MemberFacts,
    evidence: Verdict['evidence'],
    seen: Observation,
    seenBy: readonly PeerId[],
  ): void {
    const { epoch, incarnation } = facts.record.statement;
    const silenceMs = Math.max(0, Math.round(seen.silenceMs));
    const told = { seenBy, silenceMs };
    const statement: Verdict = { kind: 'verdict', peerId, epoch, incarnation, evidence, ...told };
    const verdict = signFact(this.#core.deps.identity, this.#core.view.meshId, statement);
    this.#core.accept([verdict], 'own');
    this.#telling.announce([verdict]);
  }
}
