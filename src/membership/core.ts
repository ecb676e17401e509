/**
 * What the services of this room share: the view and everything that a change of it sets off.
 * `accept` is the one way by which facts come in, whoever brought them.
 */
import { Allowances } from '../base/allowance.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { Refused } from '../base/refused.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import type { PeerId } from '../ports/identity.ts';
import type { WireValue } from '../wire/codec.ts';
import { type Access, isAccess } from './allow-list.ts';
import type { Book } from './book.ts';
import type { Cause, Via } from './cause.ts';
import {
  type Fact,
  isKind,
  readFacts,
  type SelfRecord,
  type Turn,
  toWire,
  type Verdict,
} from './fact.ts';
import type { Hello } from './hello.ts';
import {
  ACCUSED_ALLOWANCE,
  COUNTED_MAX,
  ENTRIES_MAX,
  OUTBID_MAX,
  STRANGER_RETRY_MS,
  TURN_LEAP_MAX,
} from './limits.ts';
import { compareTurns, statusOf } from './member.ts';
import type { OwnChange, OwnRecord } from './own-record.ts';
import type { Roster } from './roster.ts';
import { Signatures } from './signatures.ts';
import { Telemetry } from './telemetry.ts';
import { givesWay } from './twin.ts';
import type { Expelled, MembershipDeps } from './types.ts';
import { type MemberChange, View } from './view.ts';

/** What the core asks of the other services; set once all of them exist. */
export interface CoreHooks {
  /** Whether this peer itself heard that one a moment ago. */
  hears(peerId: PeerId): boolean;
  /** A verdict was not applied because this peer hears the condemned. */
  objected(verdict: Fact<Verdict>): void;
  changed(change: MemberChange): void;
  /** Our own record changed: tell everybody. */
  announce(facts: readonly Fact[]): void;
  /** Who may connect has changed; comes before `changed` of the members in question. */
  accessChanged(): void;
}

type Shown = Pick<Hello, 'meshId' | 'merges' | 'chain'>;

export class Core {
  readonly deps: MembershipDeps;
  readonly book: Book;
  readonly own: OwnRecord;
  readonly roster: Roster;
  readonly telemetry = new Telemetry();
  readonly refused: Refused;
  readonly signatures: Signatures;
  view: View;
  /** The mesh that this peer is about to enter. */
  joining: string | undefined;
  #hooks: CoreHooks | undefined;
  readonly #accusers = new Allowances(ACCUSED_ALLOWANCE, COUNTED_MAX);
  /** How often somebody with our key was ahead of us, since the start. */
  #outbid = 0;

  constructor(deps: MembershipDeps, book: Book, own: OwnRecord, roster: Roster, view: View) {
    this.deps = deps;
    this.refused = deps.traffic?.refused ?? new Refused();
    this.signatures = new Signatures(deps.identity);
    this.book = book;
    this.own = own;
    this.roster = roster;
    this.view = view;
  }

  connect(hooks: CoreHooks): void {
    this.#hooks = hooks;
  }

  /** Another mesh: everything known of the one before is let go. */
  moveTo(meshId: string, root: PeerId, facts: readonly Fact[]): void {
    this.view = new View(meshId, root);
    this.roster.clear();
    const own = this.own.moveTo(meshId);
    // Our own record first: listeners hear of each member in this order, and ask who we are.
    this.accept([own, ...facts], 'greeting');
  }

  get peerId(): PeerId {
    return this.deps.identity.peerId;
  }

  /** Facts of this mesh with a right signature; others are dropped with a word in the log. */
  read(values: readonly WireValue[]): Fact[] {
    const { knownMeshes } = this.view.access;
    return readFacts(values, knownMeshes, this.signatures.verify, (why) => {
      this.refused.count(`fact: ${why}`);
      this.deps.log.log('debug', 'a fact was dropped', { why });
    });
  }

  /** Joins facts into the view. `via` is told to listeners. */
  accept(batch: readonly Fact[], via: Via): void {
    // First who may speak: what is said of us in a mesh that nobody here accepted is no matter of ours.
    const hasMerge = batch.some((fact) => isKind(fact, 'merge'));
    if (hasMerge && !batch.every(isAccess)) this.accept(batch.filter(isAccess), via);
    const facts = batch.filter((fact) => isAccess(fact) || this.view.access.knowsMesh(fact.meshId));
    for (const fact of facts) this.#answerForSelf(fact);
    const accepted = facts.filter((fact) => !this.#objects(fact) && !this.#isForgottenSelf(fact));
    const { members, access, removals } = this.view.apply(accepted);
    if (access.length > 0) this.book.rememberFacts(access);
    if (removals.length > 0) this.book.rememberFacts(removals);
    // Not those that our own book tells at the start, before anybody listens.
    if (this.#hooks !== undefined) for (const fact of access) this.#logAdmitted(fact);
    if (access.length > 0) this.#hooks?.accessChanged();
    for (const change of members) {
      const { record, verdict } = change.after;
      this.book.rememberFacts(verdict ? [record, verdict] : [record]);
      const { access, meshId } = this.view;
      const admittedBy = () => access.admitterOf(change.peerId);
      this.roster.changed(change, via, admittedBy, record.meshId !== meshId);
      this.#hooks?.changed(change);
    }
    if (this.#hooks !== undefined) this.#tellRevoked(access, via);
    if (removals.length > 0 && this.#hooks !== undefined) this.meetRemoval();
  }

  /** This very store was removed: it becomes another one, and its records are offered to their homes. */
  meetRemoval(): void {
    const { store, onRefusedStore } = this.deps;
    const why = this.removalText(store.storeId);
    if (why !== undefined) onRefusedStore?.(why);
  }

  /** Why a store is none of the mesh any more; undefined: it was not removed. */
  removalText(storeId: string): string | undefined {
    const removal = this.view.removalOf(storeId);
    if (removal === undefined) return undefined;
    const by = this.nameOf(removal.signed.by);
    return `it was removed from the mesh by ${by}, ${toRfc3339(removal.statement.removedAtMs)}`;
  }

  #tellRevoked(access: readonly Fact[], via: Via): void {
    for (const { signed, statement } of access) {
      if (statement.kind !== 'revocation') continue;
      const { peerId } = statement;
      const cause: Cause = { kind: 'revoked', seenBy: [signed.by], via };
      const evidence = this.roster.sentence(cause);
      this.deps.log.log('warn', `${this.nameOf(peerId)} is revoked`, { peer: peerId, evidence });
      this.roster.emit('revoked', peerId, cause);
    }
  }

  /** As it calls itself, or as it was admitted. */
  nameOf(peerId: PeerId): string {
    return this.roster.get(peerId)?.name ?? this.view.access.nameOf(peerId) ?? peerId;
  }

  /** Why one is no member any more, though it was admitted. */
  barText(peerId: PeerId): string | undefined {
    const bar = this.view.access.barOf(peerId);
    if (!bar) return undefined;
    const by = this.nameOf(bar.by.signed.by);
    if (bar.kind === 'revoked') return `revoked by ${by}`;
    return `its admission is void: ${by} has revoked ${this.nameOf(bar.by.statement.peerId)}`;
  }

  revokedError(peerId: PeerId): CoveyError {
    const by = this.view.access.barOf(peerId)?.by;
    return coveyError('REVOKED', {
      by: by ? this.nameOf(by.signed.by) : 'a member',
      at: toRfc3339(by?.statement.revokedAtMs ?? 0),
    });
  }

  /** To a peer that is not allowed, and perhaps has shown by what it believes to be. */
  refusalOf(peerId: PeerId, shown: readonly Access[] = []): CoveyError {
    const { access } = this.view;
    const bar = access.barOf(peerId);
    if (bar?.kind === 'revoked') return this.revokedError(peerId);
    const voided = shown.find((fact) => access.isVoid(fact));
    const by = bar?.by ?? (voided && access.barOf(voided.signed.by)?.by);
    if (!by) return coveyError('NOT_ALLOWED');
    const { revokedAtMs, peerId: revoked } = by.statement;
    const details = { by: this.nameOf(by.signed.by), at: toRfc3339(revokedAtMs), revoked };
    return coveyError('ADMISSION_VOID', details);
  }

  /** Why an entry for this peer would not be, or was not, taken; undefined: it is, as far as is known here. */
  fullError(peerId: PeerId): CoveyError | undefined {
    const { access } = this.view;
    const isLost = access.isFull && !access.isAllowed(peerId);
    const why = `the allow-list of the mesh has ${ENTRIES_MAX} entries, which is the most; entries stay for good`;
    return isLost ? coveyError('INVALID_PARAMS', { why }) : undefined;
  }

  /** What shows a refused peer that the refusal is right. */
  proofOf(peerId: PeerId, { details }: CoveyError): WireValue[] {
    const { access } = this.view;
    const revoked = typeof details.revoked === 'string' ? details.revoked : peerId;
    const proof = access.proofOf(peerId);
    return (proof.length > 0 ? proof : access.proofOf(revoked)).map(toWire);
  }

  /** To one of another mesh. Its own inviter may greet it before it has read the welcome: that one shall come again. */
  foreignError(meshId: string): CoveyError {
    if (meshId !== this.joining) return coveyError('FOREIGN_MESH');
    return coveyError('BUSY', { what: 'a join', retry_after_ms: STRANGER_RETRY_MS });
  }

  /** By what a peer wants to come in, where that is not known yet: merges, and the entries that lead to it. */
  learnShown(from: PeerId, { meshId, merges, chain }: Shown): Access[] {
    const { access } = this.view;
    if (access.knowsMesh(meshId) ? access.isAllowed(from) : merges.length === 0) return [];
    const shown = this.read([...merges, ...chain]).filter(isAccess);
    this.accept(access.leadingOn(shown), 'greeting');
    return shown;
  }

  /**
   * Entries and revocations with which somebody explains a refusal. They are signed, so he need not be believed; but a key
   * that was revoked goes on to sign, so of one who is unknown only what is about this peer counts.
   */
  learnAccess(from: PeerId, values: readonly WireValue[] = []): void {
    if (values.length === 0) return;
    const { access } = this.view;
    const facts = this.read(values).filter(isAccess);
    const isAboutUs = ({ statement }: Access): boolean =>
      statement.kind === 'revocation' && access.isBy(this.peerId, statement.peerId);
    const counts = [...access.leadingOn(facts), ...facts.filter(isAboutUs)];
    this.accept(access.isAllowed(from) ? facts : counts, 'greeting');
  }

  /** Why this very peer is not a member; undefined: it is one. */
  expelled(): Expelled | undefined {
    const bar = this.view.access.barOf(this.peerId);
    if (!bar) return undefined;
    return {
      kind: bar.kind,
      by: this.nameOf(bar.by.signed.by),
      atMs: bar.by.statement.revokedAtMs,
    };
  }

  /** Whoever is in may run commands here: the log says who came, and who let him in. */
  #logAdmitted({ signed, statement }: Fact): void {
    if (statement.kind === 'merge') {
      const by = this.nameOf(signed.by);
      this.deps.log.log('info', 'another mesh was accepted', { mesh: statement.mesh, by });
    }
    if (statement.kind !== 'entry' || statement.peerId === this.peerId) return;
    this.deps.log.log('info', 'a peer was admitted', {
      name: statement.name,
      peer: statement.peerId,
      by: this.nameOf(signed.by),
    });
  }

  /** What others say of us: we are here, so a verdict is answered by a higher incarnation. */
  #answerForSelf(fact: Fact): void {
    if (fact.statement.peerId !== this.peerId) return;
    if (isKind(fact, 'verdict') && compareTurns(fact.statement, this.own.turn) >= 0) {
      // Only within this epoch: one of another epoch is about a record that the next hello settles.
      if (fact.statement.epoch === this.own.turn.epoch) this.refute(fact.statement);
    }
    if (isKind(fact, 'record')) this.#meetSelf(fact.statement);
  }

  #meetSelf(record: SelfRecord): void {
    const order = compareTurns(record, this.own.turn);
    if (order > 0 && record.epoch > this.own.turn.epoch) {
      if (record.bootId !== this.deps.store.bootId) this.#wasOutbid(record);
      this.#outgrow(record.epoch);
    } else if (order > 0) this.refute(record);
  }

  /** A later record of ourselves than we remember never enters our view: it is outgrown instead. */
  #isForgottenSelf(fact: Fact): boolean {
    return (
      fact.statement.peerId === this.peerId &&
      isKind(fact, 'record') &&
      compareTurns(fact.statement, this.own.turn) > 0
    );
  }

  #wasOutbid(record: SelfRecord): void {
    this.#outbid += 1;
    const { store, log } = this.deps;
    if (this.#outbid < OUTBID_MAX) return;
    const address = record.addresses[0] ?? 'an unknown address';
    if (givesWay(store, record)) this.metTwin(address);
    else log.log('error', 'another daemon runs with the key of this peer', { at: address });
  }

  metTwin(address: string): void {
    this.deps.onTwin?.(address);
  }

  #outgrow(epoch: number): void {
    const { log } = this.deps;
    log.log('warn', 'others know a later start of this peer: identity/ is an old copy', { epoch });
    const fact = this.own.moveToEpoch(epoch + 1);
    this.book.saveEpoch(epoch + 1, this.deps.store.storeId).then(
      (saved) => {
        if (!saved.ok) log.log('error', 'the epoch was not written', { why: saved.detail });
      },
      (thrown: unknown) => {
        throw thrown;
      },
    );
    this.#acceptOwn(fact);
  }

  /** One says that we are dead: it shall know better. What a verdict says comes with the verdict as well. */
  accused(from: PeerId, turn: Turn): void {
    if (this.#accusers.take(from, 1, this.deps.clock.nowMs())) this.refute(turn);
    else this.refused.count('control: too many accusations');
  }

  refute(said: { readonly epoch: number; readonly incarnation: number }): void {
    if (said.incarnation - this.own.turn.incarnation > TURN_LEAP_MAX) {
      this.refused.count('a turn beyond belief');
      return;
    }
    if (said.epoch !== this.own.turn.epoch || compareTurns(said, this.own.turn) < 0) return;
    this.#acceptOwn(this.own.refute(said));
    this.roster.emit('condemned', this.peerId);
  }

  /** Others said at a hello how they know us. */
  heardOfSelf(known: { epoch: number; incarnation: number; dead: boolean } | undefined): void {
    if (!known) return;
    if (known.epoch - this.own.turn.epoch > TURN_LEAP_MAX)
      this.refused.count('a turn beyond belief');
    else if (known.epoch > this.own.turn.epoch) this.#outgrow(known.epoch);
    else if (known.dead || compareTurns(known, this.own.turn) > 0) this.refute(known);
  }

  changeOwn(change: OwnChange): void {
    this.#acceptOwn(this.own.change(change));
  }

  #acceptOwn(fact: Fact<SelfRecord>): void {
    this.accept([fact], 'own');
    this.#hooks?.announce([fact]);
  }

  #objects(fact: Fact): boolean {
    if (!isKind(fact, 'verdict') || fact.statement.peerId === this.peerId) return false;
    const known = this.view.get(fact.statement.peerId);
    if (!known || statusOf(known).status !== 'alive') return false;
    if (compareTurns(fact.statement, known.record.statement) < 0) return false;
    if (fact.signed.by === this.peerId || !this.#hooks?.hears(fact.statement.peerId)) return false;
    this.#hooks.objected(fact);
    return true;
  }
}
