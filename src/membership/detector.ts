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
  opinionOf,
} from './conviction.ts';
import type { Core } from './core.ts';
import type { Dialer } from './dialer.ts';
import { Expected } from './expected.ts';
import { type Fact, signFact, type Turn, type Verdict } from './fact.ts';
import { Health } from './health.ts';
import { Hearing } from './hearing.ts';
import { Heartbeats } from './heartbeats.ts';
import { type Court, othersOn } from './jury.ts';
import { ACCUSED_NOTICE_MS } from './limits.ts';
import type { LinkEnd, Links } from './links.ts';
import { compareTurns, livingIn, type MemberFacts, statusOf } from './member.ts';
import type { ControlMessage } from './messages.ts';
import { ObserverRings } from './observers.ts';
import type { PartialMesh } from './partial-mesh.ts';
import { QuietLinks } from './quiet-links.ts';
import { Reach, type Unreached } from './reach.ts';
import type { Sync } from './sync.ts';
import type { MemberChange } from './view.ts';
import { expect, FINE, forgetBoot, forgiveAll, lostLink, newWatch, type Watch } from './watch.ts';

export interface DetectorDeps {
  readonly dialer: Pick<Dialer, 'kick' | 'meet'>;
  readonly telling: Pick<Sync, 'announce' | 'tell'>;
  /** How observers without a link are had. */
  mesh(): Pick<PartialMesh, 'summon' | 'mayCome' | 'canBeDialled'>;
}

export class Detector {
  readonly #core: Core;
  readonly #links: Links;
  readonly #deps: DetectorDeps;
  readonly health: Health;
  readonly heartbeats: Heartbeats;
  readonly #reach: Reach;
  readonly hearing: Hearing;
  readonly #expected: Expected;
  readonly #quiet: QuietLinks;
  readonly #config: DetectionConfig;
  readonly #watches = new Map<PeerId, Watch>();
  #rings: ObserverRings | undefined;

  constructor(core: Core, links: Links, deps: DetectorDeps) {
    this.#core = core;
    this.#links = links;
    this.#deps = deps;
    this.#reach = new Reach(core, links);
    this.heartbeats = new Heartbeats(links);
    this.#expected = new Expected(core.deps.clock.nowMs());
    const expects = (peerId: PeerId) => this.#expects(peerId);
    const watch = (peerId: PeerId) => this.#watch(peerId);
    const canBeDialled = (peerId: PeerId) => deps.mesh().canBeDialled(peerId);
    this.hearing = new Hearing(core, links, this.#expected, { expects, watch, canBeDialled });
    this.#quiet = new QuietLinks(core, links, this.hearing, { expects, watch });
    const { clock, config, trustsItself } = core.deps;
    const quietMs = config.heartbeat_pause + config.heartbeat_interval;
    this.health = new Health(quietMs, clock.nowMs(), trustsItself);
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

  /** From now on silence counts: what was learned before is no reason to expect anybody. */
  resume(): void {
    this.health.restart(this.#nowMs);
    this.#expected.gap(this.#nowMs);
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
      const { view, deps } = this.#core;
      this.#rings = new ObserverRings(livingIn(view.entries()), deps.config.observers);
      // Who sent its heartbeats to others until now has not been silent.
      for (const peerId of this.#expected.renew(this.#rings, this.#core.peerId))
        this.#watch(peerId).expectSinceMs = this.#nowMs;
    }
    return this.#rings;
  }

  /** Its heartbeats come here, if it lives. */
  #expects(peerId: PeerId): boolean {
    void this.rings;
    return this.#expected.has(peerId);
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
    // It may have been dialled to settle a case.
    for (const [suspect, { opinion }] of this.#watches)
      if (opinion.opinion !== 'fine' && this.rings.observersOf(suspect).includes(peerId))
        this.#sendOpinion(suspect, this.#watch(suspect), [peerId]);
  }

  /** This peer itself found it there. */
  reached(peerId: PeerId, address: Address): void {
    this.#watch(peerId).reached.add(address);
    this.#watch(peerId).unreached.delete(address);
  }

  linkDown(peerId: PeerId, end: LinkEnd): void {
    // Nothing is kept of a stranger, whose link never was up: there are as many as anybody likes to make.
    if (end.wasUp) lostLink(this.#watch(peerId), end);
  }

  /** Peers of whom something is kept. */
  get watched(): number {
    return this.#watches.size;
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
    const isLate = now - (watch.heardMs ?? now) >= this.#core.deps.config.heartbeat_pause;
    const wasSilent = isLate && this.#expects(peerId);
    if (wasSilent) this.#expected.gap(now);
    if (wasSilent || watch.hearingSinceMs === undefined) watch.hearingSinceMs = now;
    watch.heardMs = now;
    watch.askedMs = undefined;
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
        else this.#core.accused(from, message.turn);
    }
  }

  #heardOpinion(from: PeerId, message: Extract<ControlMessage, { type: 'opinion' }>): void {
    const { peerId, turn, says } = message;
    const facts = this.#core.view.get(peerId);
    if (peerId === this.#core.peerId || !facts) return;
    const behind = compareTurns(turn, facts.record.statement);
    // An objection counts for its own turn: one that accuses an older turn must learn of the newer
    // one, or it would hear no objection and convict a member that others hear.
    if (behind < 0 && says !== 'hears') this.#deps.telling.tell(from, facts.record);
    if (behind !== 0 || statusOf(facts).status !== 'alive') return;
    this.#watch(peerId).opinions.set(from, { says, turn, atMs: this.#nowMs });
    if (says !== 'hears' && this.hearing.hears(peerId)) {
      this.#links.send(from, { type: 'opinion', peerId, turn, says: 'hears' });
      this.#notice(peerId, turn, 'suspect');
    }
    this.#evaluate(peerId);
  }

  /** A verdict on one that we hear: its author and the condemned learn of it. Kept for its silence. */
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
    if (before === undefined && isAlive) this.#deps.dialer.meet(peerId);
    else if (restarted || (revived && isAlive)) this.#deps.dialer.kick(peerId, isAlive);
    const refuted = before && compareTurns(before.record.statement, after.record.statement) < 0;
    // One that just spoke through others gets a new patience; objections come if it can be heard at all.
    if (refuted) watch.expectSinceMs = this.#nowMs;
    if (isAlive) {
      this.#evaluate(peerId, refuted ? 'refuted' : 'heard');
      return;
    }
    const { heartbeat_pause: pauseMs } = this.#core.deps.config;
    if (this.#expects(peerId) && this.hearing.silenceOf(watch) >= pauseMs)
      this.#expected.gap(this.#nowMs);
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
    this.#quiet.tick(now);
  }

  #checkPause(now: number, isTick: boolean): void {
    if (!this.health.notice(now, isTick)) return;
    this.#core.deps.log.log('warn', 'this process was stopped for a while', {});
    this.#expected.gap(now);
    for (const watch of this.#watches.values()) forgiveAll(watch, now);
  }

  #settlePending(peerId: PeerId, watch: Watch): void {
    if (!watch.pending || this.hearing.hears(peerId)) return;
    const verdict = watch.pending;
    watch.pending = undefined;
    if (!this.health.standing(this.#nowMs).pausedLately) this.#core.accept([verdict], 'news');
  }

  #observation(peerId: PeerId, watch: Watch, now: number): Observation {
    // One that we do not observe owes us no heartbeat: its crash we may have seen, its silence says nothing.
    const silenceMs = this.#expects(peerId) ? this.hearing.silenceOf(watch, now) : 0;
    const refusedSince = watch.refusedSinceMs;
    return {
      silenceMs,
      isUnmet: watch.isUnmet,
      phi: watch.window.phi(silenceMs),
      linked: this.#links.isUp(peerId),
      endedAbruptly: watch.endedAbruptly,
      saidGoodbye: watch.saidGoodbye,
      refusedForMs: refusedSince === undefined ? undefined : now - refusedSince,
    };
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
    const seen = this.#observation(peerId, watch, now);
    const standing = this.health.standing(now);
    const opinion = opinionOf(seen, config, standing);
    const before = watch.opinion.opinion;
    watch.opinion = opinion;
    this.#core.roster.suspect(peerId, opinion.opinion !== 'fine', () =>
      causeOfOpinion(opinion, seen, this.#core.peerId, back),
    );
    if (opinion.opinion === 'fine') return;
    if (before !== opinion.opinion) this.#tell(peerId, watch);
    const others = othersOn(this.#court, facts.record.statement, watch, now);
    // Who does not observe it must not judge it alone, either: its observers may be out of this peer's reach alone.
    if (others.reachable === 0 && !this.#expects(peerId)) return;
    const judgement = judge(opinion, seen, others, config);
    if (judgement.convict) this.#convict(peerId, facts, judgement.evidence, seen, others.accusers);
    else if (isStale(seen, config, standing)) void this.#links.end(peerId, 'stale');
  }

  get #court(): Court {
    return {
      self: this.#core.peerId,
      observersOf: (peerId) => this.rings.observersOf(peerId),
      isReachable: (observer) =>
        this.#links.isUp(observer)
          ? this.#watch(observer).opinion.opinion === 'fine' && !this.#quiet.isDumb(observer)
          : this.#deps.mesh().mayCome(observer),
    };
  }

  /**
   * Says our opinion to the other observers, and to the peer itself: it may only have been slow.
   */
  #tell(peerId: PeerId, watch: Watch): void {
    const observers = this.rings.observersOf(peerId);
    if (this.#expects(peerId)) this.#deps.mesh().summon(observers);
    const turn = this.#sendOpinion(peerId, watch, observers);
    if (turn) this.#notice(peerId, turn, 'suspect');
  }

  #sendOpinion(peerId: PeerId, watch: Watch, observers: readonly PeerId[]): Turn | undefined {
    const record = this.#core.view.get(peerId)?.record.statement;
    const { opinion } = watch;
    if (!record || opinion.opinion === 'fine') return undefined;
    const turn = { epoch: record.epoch, incarnation: record.incarnation };
    const says = opinion.opinion === 'suspect' ? 'suspect' : opinion.evidence;
    for (const observer of observers) {
      if (observer === this.#core.peerId) continue;
      this.#links.send(observer, { type: 'opinion', peerId, turn, says });
      // Who says nothing may agree, or be as far away as the suspect.
      this.#quiet.ask(observer);
    }
    return turn;
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
    this.#deps.telling.announce([verdict]);
  }
}
