/**
 * The members as other rooms see them, and the events about them: facts, own suspicion, load and
 * links together.
 */
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import { type Cause, causeOfStatus, sentenceOf, type Via } from './cause.ts';
import type { SelfRecord } from './fact.ts';
import { Returns } from './flapping.ts';
import { type MemberFacts, statusOf } from './member.ts';
import {
  type Load,
  type Member,
  type MemberEvent,
  type MemberListener,
  type MemberStatus,
  NO_LOAD,
} from './types.ts';
import type { MemberChange } from './view.ts';

interface Row {
  /** As it was shown last, and in which turn. */
  shown: { readonly turn: number; readonly member: Member } | undefined;
  facts: MemberFacts;
  status: MemberStatus;
  suspected: boolean;
  sinceMs: number;
  sinceWallMs: number;
  evidence: string | undefined;
  load: Load;
  readonly returns: Returns;
}

export const hostOf = (address: Address): string => {
  const colon = address.lastIndexOf(':');
  return (colon < 0 ? address : address.slice(0, colon)).replace(/^\[|\]$/g, '');
};

export class Roster {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #phiOf: (peerId: PeerId) => number;
  readonly #rows = new Map<PeerId, Row>();
  readonly #byStore = new Map<string, PeerId>();
  readonly #listeners = new Set<MemberListener>();
  #cached: readonly Member[] | undefined;
  /** Raised by every change: views of members that were made before are made anew. */
  #turn = 0;

  constructor(clock: Clock, log: Logger, phiOf: (peerId: PeerId) => number) {
    this.#clock = clock;
    this.#log = log;
    this.#phiOf = phiOf;
  }

  onEvent(listener: MemberListener): void {
    this.#listeners.add(listener);
  }

  #changed(): void {
    this.#cached = undefined;
    this.#turn += 1;
  }

  emit(
    type: MemberEvent['type'],
    peerId: PeerId,
    cause?: Cause,
    was?: MemberStatus,
    isMerged = false,
  ): void {
    const member = this.get(peerId);
    if (!member) return;
    const why = cause && { cause, evidence: this.sentence(cause) };
    const event: MemberEvent = {
      type,
      member,
      ...why,
      ...(was && { was }),
      ...(isMerged && { isMerged }),
    };
    for (const listener of this.#listeners) listener(event);
  }

  clear(): void {
    this.#rows.clear();
    this.#byStore.clear();
    this.#changed();
  }

  sentence(cause: Cause): string {
    return sentenceOf(cause, (peerId) => this.nameOf(peerId));
  }

  nameOf(peerId: PeerId): string {
    return this.#rows.get(peerId)?.facts.record.statement.name ?? peerId.slice(-8);
  }

  /** The facts about a member changed. `admittedBy` is asked for a new one; `isMerged`: it is of another mesh. */
  changed(
    { peerId, after }: MemberChange,
    via: Via,
    admittedBy: () => PeerId | undefined = () => undefined,
    isMerged = false,
  ): void {
    const row = this.#rows.get(peerId);
    this.#changed();
    const record = after.record.statement;
    this.#byStore.set(record.storeId, peerId);
    if (!row) {
      const { status } = statusOf(after);
      const sinceMs = this.#clock.nowMs();
      const sinceWallMs = this.#clock.wallMs();
      const fresh: Row = {
        shown: undefined,
        facts: after,
        status,
        suspected: false,
        sinceMs,
        sinceWallMs,
        evidence: undefined,
        load: NO_LOAD,
        returns: new Returns(),
      };
      this.#rows.set(peerId, fresh);
      const by = admittedBy();
      const cause: Cause = { kind: 'admitted', seenBy: by ? [by] : [], via };
      this.emit('joined', peerId, cause, undefined, isMerged);
      return;
    }
    const before = row.facts.record.statement;
    const booted = before.epoch !== record.epoch || before.storeId !== record.storeId;
    const isOther = before.storeId !== record.storeId;
    if (isOther) this.#forgetStore(before.storeId, peerId);
    const said = row.facts.record !== after.record;
    row.facts = after;
    if (booted) {
      row.load = NO_LOAD;
      this.#changed();
      if (isOther) this.#logOther(peerId, before.storeId, record);
      const kind = isOther ? 'other_store' : 'restarted';
      const { bootCount } = record;
      this.emit('boot', peerId, { kind, seenBy: [peerId], via, bootCount });
    }
    const turned = this.#settle(peerId, row, (status) =>
      causeOfStatus(peerId, status, row.facts, via),
    );
    if (said && !turned && !booted) this.emit('updated', peerId);
  }

  /** Wiped, renewed or replaced: what only the former one had is gone. */
  #logOther(peer: PeerId, former: string, { name, storeId }: SelfRecord): void {
    const fields = { peer, store_id: storeId, former };
    this.#log.log('warn', `${name} came with another store than before`, fields);
  }

  #forgetStore(storeId: string, peerId: PeerId): void {
    if (this.#byStore.get(storeId) === peerId) this.#byStore.delete(storeId);
  }

  suspect(peerId: PeerId, suspected: boolean, cause: () => Cause): void {
    const row = this.#rows.get(peerId);
    if (!row || row.suspected === suspected) return;
    row.suspected = suspected;
    this.#settle(peerId, row, cause);
  }

  /** Times that it came back lately. */
  returnsOf(peerId: PeerId): number {
    return this.#rows.get(peerId)?.returns.count(this.#clock.nowMs()) ?? 0;
  }

  /** Enters the status that facts and suspicion give; true when it is another than before. */
  #settle(peerId: PeerId, row: Row, causeOf: (status: MemberStatus) => Cause): boolean {
    const lasting = statusOf(row.facts).status;
    if (lasting !== 'alive') row.suspected = false;
    const status = lasting === 'alive' && row.suspected ? 'suspect' : lasting;
    if (status === row.status) return false;
    const was = row.status;
    row.status = status;
    row.sinceMs = this.#clock.nowMs();
    row.sinceWallMs = this.#clock.wallMs();
    this.#changed();
    const { name } = row.facts.record.statement;
    const cause = causeOf(status);
    const evidence = this.sentence(cause);
    row.evidence = evidence;
    this.#log.log('info', `${name} is ${status}`, { peer: peerId, evidence });
    this.emit(status, peerId, cause, was);
    const returns = status === 'alive' ? row.returns.note(this.#clock.nowMs()) : undefined;
    if (returns !== undefined)
      this.emit('flapping', peerId, { kind: 'flapping', seenBy: [], via: 'own', returns });
    return true;
  }

  /** Mostly the same as before: only what is new makes that one member's view anew. */
  load(peerId: PeerId, load: Load): void {
    const row = this.#rows.get(peerId);
    if (!row || isSameLoad(row.load, load)) return;
    row.load = load;
    row.shown = undefined;
    this.#cached = undefined;
  }

  statusOf(peerId: PeerId): MemberStatus | undefined {
    return this.#rows.get(peerId)?.status;
  }

  get(peerId: PeerId): Member | undefined {
    const row = this.#rows.get(peerId);
    return row && this.#member(peerId, row);
  }

  ofStore(storeId: string): Member | undefined {
    const peerId = this.#byStore.get(storeId);
    return peerId === undefined ? undefined : this.get(peerId);
  }

  /** The same list as long as nothing has changed. */
  list(): readonly Member[] {
    this.#cached ??= [...this.#rows]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([peerId, row]) => this.#member(peerId, row));
    return this.#cached;
  }

  #member(peerId: PeerId, row: Row): Member {
    if (row.shown?.turn !== this.#turn)
      row.shown = { turn: this.#turn, member: this.#show(peerId, row) };
    return row.shown.member;
  }

  #show(peerId: PeerId, row: Row): Member {
    const record = row.facts.record.statement;
    const lasting = statusOf(row.facts);
    const { storeId, bootCount, bootId, name, incarnation, stopping, shortage } = record;
    const { addresses, labels, version, features, execEnabled } = record;
    const { status, sinceMs, sinceWallMs, evidence, load } = row;
    const phiOf = this.#phiOf;
    return {
      peerId,
      storeId,
      bootCount,
      bootId,
      name,
      host: hostOf(addresses[0] ?? name),
      status,
      ...('deadBy' in lasting && lasting.deadBy !== undefined ? { deadBy: lasting.deadBy } : {}),
      incarnation,
      stopping,
      ...(shortage === undefined ? {} : { shortage }),
      sinceMs,
      sinceWallMs,
      ...(evidence === undefined ? {} : { evidence }),
      addresses,
      labels,
      version,
      features,
      execEnabled,
      load,
      // It rises with every moment of silence: reckoned when somebody looks.
      get phi() {
        return phiOf(peerId);
      },
    };
  }
}

export function isSameLoad(a: Load, b: Load): boolean {
  const names = Object.keys(a.workers);
  return (
    a.slots === b.slots &&
    a.slotsFree === b.slotsFree &&
    a.active === b.active &&
    a.waiting === b.waiting &&
    a.setAside === b.setAside &&
    names.length === Object.keys(b.workers).length &&
    names.every((name) => {
      const [ours, theirs] = [a.workers[name], b.workers[name]];
      return ours?.total === theirs?.total && ours?.free === theirs?.free;
    })
  );
}

/** For the one place where a promise has nobody to answer to. */
export const logFailure =
  (log: Logger, what: string) =>
  (thrown: unknown): void => {
    log.log('error', `${what} failed`, { why: messageOf(thrown) });
    throw thrown;
  };
