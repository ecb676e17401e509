/**
 * A return after a long absence. A member tells at its hello when it has run for longer than `tombstone_ttl` without
 * this store: what this store holds unfinished may have ended there, and been dropped and forgotten, tombstones and
 * all. Such a record is run by nobody here until that member was asked: what it knows is joined; what it does not know,
 * though it should, is set aside. Until then the two exchange nothing else.
 *
 * Only who ran through the absence is believed: a store that slept alongside has the same old copies.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { ok } from '../base/result.ts';
import { parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Membership } from '../membership/membership.ts';
import type { AwayNotice, Member } from '../membership/types.ts';
import { type Clock, sleep, type Timer } from '../ports/clock.ts';
import type { Absences } from '../records/absence.ts';
import { homeOf, type RecordState, type StoreId } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import { releaseAside, setAside } from '../records/set-aside.ts';
import type { Sharing } from '../records/sharing.ts';
import type { Messaging } from '../wire/messaging.ts';
import { FreshLinks } from './fresh-links.ts';

/** Ids of one question. */
const ASK_IDS = 64;
const RETRY_MS = 1_000;
/**
 * Others that were away as well are told by the same members, as soon as their links stand; by then nobody offers
 * copies that are as old as ours.
 */
export const ASIDE_HOLD_MS = 60_000;
const IDS_LOGGED_MAX = 20;
/** What was set aside is looked for at all others this often: somebody may have it after all. */
const LOOK_INTERVAL_MS = 600_000;
/** Refusals of this disk, not of the copy. */
const NOT_NOW: ReadonlySet<string> = new Set(['STORE_FULL', 'STORE_FAILED', 'BUSY', 'STOPPING']);
/** Ids of one such look. */
export const LOOK_IDS_MAX = 1_024;
/** What is answered to a member that has told of a long absence, before it is settled. */
const ANSWERED: ReadonlySet<string> = new Set(['away.done', 'rec.ask', 'run.held']);

/**
 * A store that comes back is not answered before: who is asked may be back himself, and hears only now from the others
 * what they have forgotten. Two that came back would vouch for one another.
 */
const VOUCH_AFTER_MS = 2_000;
/** Nor before that is settled, for so long: where two large sides meet all of them have doubts. */
const VOUCH_ANYWAY_MS = 15_000;

/** Clocks of hosts differ by less, unless one of them is wrong. */
const SKEW_MS_MAX = 60_000;

export interface AwayDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly messaging: Messaging;
  readonly absences: Absences;
  readonly membership: Pick<Membership, 'member' | 'members' | 'memberOfStore' | 'linked' | 'mesh'>;
  /** Tasks with an attempt that runs here now. */
  readonly runsHere: () => ReadonlySet<string>;
  /** A member may be worked with from now on, or records were set aside. */
  readonly changed: () => void;
}

interface Doubt extends AwayNotice {
  /**
   * This store ran through the time as well, with more members than were away from here: then it is the other one that
   * was away. What nobody over there knows was given to this side alone, or this side was free to run it all the time,
   * if most stores of its home are on this side as well.
   */
  readonly isOfFewer: boolean;
}

export class Away {
  readonly #deps: AwayDeps;
  /** By member: what it told, and is not settled. */
  readonly #doubts = new Map<string, Doubt>();
  /** Members that told, until all of them that are linked are settled. */
  readonly #tellers = new Set<string>();
  readonly #settling = new Set<string>();
  readonly #linkedMs = new Map<string, number>();
  /** Of those set aside: vouched for by a member that ran through the absence. */
  readonly #returned = new Set<string>();
  #heldUntilMs: number;
  /** Of what is set aside so many were looked for; the next look goes on behind them. */
  #looked = 0;
  #timer: Timer | undefined;
  readonly #freshLinks: FreshLinks;
  #closed = false;

  constructor(deps: AwayDeps) {
    this.#deps = deps;
    const { clock, replica, messaging } = deps;
    this.#freshLinks = new FreshLinks(deps, () => this.#others());
    this.#heldUntilMs = clock.nowMs() + ASIDE_HOLD_MS;
    replica.aside.isHeld = (id) => clock.nowMs() < this.#heldUntilMs && !this.#returned.has(id);
    messaging.onRequest('away.done', (from) => {
      const store = this.#storeOf(from);
      if (store !== undefined) {
        if (deps.absences.isLong(store)) deps.absences.wereApart(store);
        deps.absences.settled(store);
      }
      return ok({});
    });
  }

  start(): void {
    const { absences, membership } = this.#deps;
    const stores = (which: (member: Member) => boolean) => () =>
      this.#others()
        .filter(which)
        .map(({ storeId }) => storeId);
    // A link alone: of one that is alive by the word of others, and could be dialled, nothing is known. It may stand
    // behind a cut of which those others hear both sides.
    absences.start(
      stores(({ peerId }) => membership.linked(peerId)),
      stores(({ peerId }) => !membership.linked(peerId)),
    );
    this.#lookLater(ASIDE_HOLD_MS);
    this.#freshLinks.start();
  }

  #others(): Member[] {
    const { membership, replica } = this.#deps;
    return membership.members().filter(({ storeId }) => storeId !== replica.storeId);
  }

  #lookLater(ms: number): void {
    this.#timer = this.#deps.clock.after(ms, () => {
      void this.#look().then(() => {
        if (!this.#closed) this.#lookLater(LOOK_INTERVAL_MS);
      });
    });
  }

  /** A store that was renewed sets aside by age alone: most of that others go on with. */
  async #look(): Promise<void> {
    const { membership, replica, sharing, changed } = this.#deps;
    const all = replica.aside.ids();
    if (this.#looked >= all.length) this.#looked = 0;
    const ids = all.slice(this.#looked, this.#looked + LOOK_IDS_MAX);
    if (ids.length === 0 || ids.some((id) => replica.aside.isHeld(id))) return;
    for (const { peerId } of membership.members()) {
      if (!membership.mesh.isInTouch(peerId) || !this.isSettled(peerId) || this.#closed) continue;
      const copies = await sharing.ask(peerId, ids, false);
      if (!copies.ok) continue;
      for (const { record } of copies.value) await releaseAside(replica, record);
    }
    // The next look begins behind those that stay: nobody else has them, and they must not hide the others.
    this.#looked += ids.filter((id) => replica.aside.has(id)).length;
    changed();
  }

  /** Before the store is closed. */
  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#freshLinks.close();
    return this.#deps.absences.close();
  }

  #storeOf(peer: string): StoreId | undefined {
    return this.#deps.membership.member(peer)?.storeId;
  }

  /** What this store tells another one at a hello; undefined in the usual course. */
  noticeFor(storeId: StoreId): AwayNotice | undefined {
    const { absences, clock } = this.#deps;
    if (!absences.isLong(storeId)) return undefined;
    return { storeId, ttlMs: absences.ttlMs, wallMs: Math.round(clock.wallMs()) };
  }

  /** What a member told at its hello. */
  told(from: string, notice: AwayNotice | undefined): void {
    // Kept over another hello: by then the other one may have settled it, and count as in touch again.
    const isOfFewer = this.#doubts.get(from)?.isOfFewer === true || this.#isOfFewer(from);
    if (notice !== undefined) {
      this.#doubts.set(from, { ...notice, isOfFewer });
      this.#tellers.add(from);
      const store = this.#storeOf(from);
      // Its store may be another one than before, of which nothing is noted here.
      if (store !== undefined) this.#deps.absences.wereApart(store);
    } else if (!this.#settling.has(from)) this.#doubts.delete(from);
  }

  #isOfFewer(from: string): boolean {
    const { absences, membership } = this.#deps;
    const store = this.#storeOf(from);
    if (store === undefined || !absences.isLong(store)) return false;
    const present = membership.members().filter(isPresent);
    const away = present.filter(({ storeId }) => this.#isApart(storeId));
    return 2 * away.length < present.length;
  }

  /** Most stores of a home were on this side: between two sides there may be members that heard both. */
  #hasMostOf(home: readonly StoreId[]): boolean {
    return 2 * home.filter((store) => this.#isApart(store)).length < home.length;
  }

  /** Or until lately: those who came back with it would look like the smaller side, one after the other. */
  #isApart(store: StoreId): boolean {
    const { absences, replica } = this.#deps;
    return store !== replica.storeId && (absences.isLong(store) || absences.wasApart(store));
  }

  /**
   * With all that told, or with none of them: what is in doubt until one of them was asked would come to it by way of
   * another, which is in no home of it and has nothing to say.
   */
  isSettled(peer: string): boolean {
    if (this.#doubts.has(peer)) return false;
    const isTeller = this.#tellers.has(peer);
    // Who was away himself gives old copies to nobody: one that has just come back may not tell, and take them.
    for (const [other, { isOfFewer }] of this.#doubts)
      if ((isTeller || !isOfFewer) && this.#deps.membership.linked(other)) return false;
    if (isTeller) this.#tellers.clear();
    return true;
  }

  /** Why a request of this member is not served now. */
  refusalOf(from: string, type: string): CoveyError | undefined {
    if (type === 'rec.ask' && !this.#mayVouch(from)) {
      const what = 'whether others have forgotten more is not known here yet';
      return coveyError('BUSY', { what, retry_after_ms: RETRY_MS });
    }
    if (this.isSettled(from) || ANSWERED.has(type)) return undefined;
    const what = 'a return after a long absence is being settled';
    return coveyError('BUSY', { what, retry_after_ms: RETRY_MS });
  }

  #mayVouch(from: string): boolean {
    const store = this.#storeOf(from);
    if (store === undefined || !this.#deps.absences.isLong(store)) return true;
    const forMs = this.#deps.clock.nowMs() - (this.#linkedMs.get(from) ?? 0);
    const hasDoubts = [...this.#doubts.keys()].some((peer) => peer !== from);
    return forMs >= (hasDoubts ? VOUCH_ANYWAY_MS : VOUCH_AFTER_MS);
  }

  linked(peer: string): void {
    this.#linkedMs.set(peer, this.#deps.clock.nowMs());
    const store = this.#storeOf(peer);
    if (store !== undefined) this.#deps.absences.touch(store);
    if (this.#doubts.has(peer)) void this.#settle(peer);
  }

  async #settle(peer: string): Promise<void> {
    if (this.#settling.has(peer)) return;
    this.#settling.add(peer);
    const { clock, messaging, changed } = this.#deps;
    for (;;) {
      const notice = this.#doubts.get(peer);
      if (this.#closed || notice === undefined || !this.#deps.membership.linked(peer)) break;
      // Settled there too, or it would tell the same at the next hello.
      if (await this.#examine(peer, notice)) {
        const done = await messaging.call(peer, 'away.done', {});
        if (done.ok) this.#doubts.delete(peer);
        changed();
      } else await sleep(clock, RETRY_MS);
    }
    this.#settling.delete(peer);
  }

  #isLinkedStore(store: StoreId): boolean {
    const { membership } = this.#deps;
    const member = membership.memberOfStore(store);
    return member !== undefined && membership.mesh.isInTouch(member.peerId);
  }

  /** Asks the member for everything that is in doubt. False: to be tried again. */
  async #examine(peer: string, notice: Doubt): Promise<boolean> {
    const { replica, clock, log } = this.#deps;
    // By the later clock: one that was set back must not make old tasks look young.
    const nowMs = Math.max(clock.wallMs(), notice.wallMs);
    const store = this.#storeOf(peer) ?? '';
    const running = this.#deps.runsHere();
    const doubted: string[] = [];
    const elsewhere: RecordState[] = [];
    for (const record of replica.unfinished()) {
      if (!isOld(record, nowMs, notice.ttlMs) || running.has(record.id)) continue;
      if (notice.isOfFewer && this.#hasMostOf(homeOf(record))) continue;
      if (this.#isJudgeOf(record, store)) doubted.push(record.id);
      else elsewhere.push(record);
    }
    const unknown = await this.#unknownAtHome(elsewhere);
    if (unknown === undefined) return false;
    doubted.push(...unknown);
    // Those that others did not vouch for when this one was out of reach.
    if (!(await this.#ask(peer, replica.aside.ids(), true))) return false;
    const aside: string[] = [];
    for (let i = 0; i < doubted.length; i += ASK_IDS) {
      const ids = doubted.slice(i, i + ASK_IDS);
      const known = await this.#ask(peer, ids, false);
      if (known === undefined) return false;
      for (const id of ids) {
        if (known.has(id)) continue;
        const done = await setAside(replica, id);
        if (!done.ok) return false;
        if (done.value) aside.push(id);
      }
    }
    if (aside.length === 0) return true;
    this.#heldUntilMs = clock.nowMs() + ASIDE_HOLD_MS;
    const ids = aside.slice(0, IDS_LOGGED_MAX);
    const fields = { records: aside.length, told_by: store, ids };
    log.log('warn', 'away for longer than tombstone_ttl: unfinished tasks were set aside', fields);
    return true;
  }

  /** Whether this member, or nobody who can be asked, would know of the task if it had not ended. */
  #isJudgeOf(record: RecordState, store: StoreId): boolean {
    const others = this.#othersOf(record);
    if (others.length === 0) return false;
    return others.includes(store) || !others.some((other) => this.#isLinkedStore(other));
  }

  #othersOf(record: RecordState): StoreId[] {
    return homeOf(record).filter((other) => other !== this.#deps.replica.storeId);
  }

  /**
   * Of records with a store of their home in sight: those that none of these knows. One that tells of the absence is
   * asked when it is its turn. The others would know it too, and may have been away themselves, and set it aside.
   */
  async #unknownAtHome(records: readonly RecordState[]): Promise<string[] | undefined> {
    const { membership } = this.#deps;
    const unknown = new Set<string>();
    const asked = new Map<string, string[]>();
    for (const record of records) {
      const peers = this.#othersOf(record)
        .filter((other) => this.#isLinkedStore(other))
        .flatMap((other) => membership.memberOfStore(other)?.peerId ?? []);
      if (peers.some((peer) => this.#doubts.has(peer))) continue;
      unknown.add(record.id);
      for (const peer of peers) asked.set(peer, [...(asked.get(peer) ?? []), record.id]);
    }
    for (const [peer, ids] of asked)
      for (let i = 0; i < ids.length; i += ASK_IDS) {
        const known = await this.#ask(peer, ids.slice(i, i + ASK_IDS), false);
        if (known === undefined) return undefined;
        for (const id of known) unknown.delete(id);
      }
    return [...unknown];
  }

  /** What the member has of these is joined, and what it has buried is buried; answers the ids it has. */
  async #ask(
    peer: string,
    ids: readonly string[],
    returns: boolean,
  ): Promise<Set<string> | undefined> {
    const { sharing } = this.#deps;
    const copies = await sharing.ask(peer, ids, returns);
    if (!copies.ok) return undefined;
    for (const copy of copies.value) {
      if (returns) this.#returned.add(copy.record.id);
      const joined = await sharing.accept({ ...copy, fresh: false, standIn: false });
      this.#returned.delete(copy.record.id);
      // What cannot be joined for another reason (its payload is another one, or another version wrote it) is known all
      // the same, and must not keep the two apart for ever.
      if (!joined.ok && !returns && NOT_NOW.has(joined.error.code)) return undefined;
    }
    return new Set(copies.value.map(({ record }) => record.id));
  }
}

const isPresent = ({ status }: Member): boolean => status !== 'left' && status !== 'removed';

/** Older than that; or from ahead of all clocks, as one that was wrong made it: then its age is not known. */
function isOld(record: RecordState, nowMs: number, ttlMs: number): boolean {
  const ageMs = nowMs - bornMs(record);
  return record.kind === 'task' && (ageMs > ttlMs || ageMs < -Math.min(ttlMs, SKEW_MS_MAX));
}

/** Its id was made by one clock, which may have been ahead; whoever did something with it since had another. */
const bornMs = ({ id, facts }: RecordState): number =>
  facts.reduce(
    (ms, { value }) => (typeof value.at === 'number' ? Math.min(ms, value.at) : ms),
    parseTaskId(id)?.createdMs ?? 0,
  );
