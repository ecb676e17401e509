/**
 * `covey mesh merge`: two meshes become one, on purpose. Nobody moves: members that moved one by one would be unknown, which
 * is gone for good, to those that have moved before them. Instead each mesh accepts what is signed in the other (a
 * `merge`), and the view becomes the union of both, whatever of it comes first.
 *
 * Both sides must want it. On the one an operator prints a token, which only a merge redeems; on the other an operator
 * takes it to any member. That one asks the inviter for its terms first, so that nobody is cut off unasked.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import { sleep } from '../ports/clock.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { WireValue } from '../wire/codec.ts';
import { type Access, AllowList, isAccess } from './allow-list.ts';
import type { Core } from './core.ts';
import { type Fact, type Merge, readFacts, signFact, toWire } from './fact.ts';
import { type AdmitFrame, decodeAdmit, encodeAdmit } from './hello.ts';
import {
  ADMIT_TIMEOUT_MS,
  MEMBERS_MAX,
  MERGE_CUTS_MAX,
  MERGE_REVOKED_MAX,
  MERGES_MAX,
} from './limits.ts';
import type { MergeFrame, MergeSide } from './merge-frames.ts';
import { decodeToken, secretHash, type Token } from './token.ts';

type Asked = Extract<MergeFrame, { type: 'merge' }>;
type Answered = Extract<MergeFrame, { type: 'merged' }>;

export interface MergerHooks {
  announce(facts: readonly Fact[]): void;
  greet(peerId: PeerId): Promise<void>;
  isUp(peerId: PeerId): boolean;
  /** This peer is about to give up its mesh. */
  isJoining(): boolean;
  hasOthers(): boolean;
  outOfReach(token: Token): CoveyError | undefined;
  dial(token: Token): Promise<Result<void, string>>;
}

export interface Merged {
  readonly meshId: string;
  readonly members: number;
  /** Names of those that it cut off. */
  readonly cutOff: readonly string[];
  /** They were one mesh before. */
  readonly isOld: boolean;
}

export const LONE =
  "a host without other members joins: 'covey invite' on a member of the mesh, 'covey join' on the lone host";
/** How long the answer waits for the other mesh's members to be known; they come in any case. */
const SETTLE_MS = 2_000;
const SETTLE_STEP_MS = 50;

const BUSY = coveyError('BUSY', { what: 'a merge', retry_after_ms: 1_000 });
const notMergeable = (why: string): CoveyError => coveyError('NOT_MERGEABLE', { why });

export class Merger {
  readonly #core: Core;
  readonly #hooks: MergerHooks;
  #merging = false;
  /** One after another: two of one secret must not both find it unused. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(core: Core, hooks: MergerHooks) {
    this.#core = core;
    this.#hooks = hooks;
  }

  #side(): MergeSide {
    const { meshId, access, size } = this.#core.view;
    const revoked = access.revoked().slice(0, MERGE_REVOKED_MAX);
    return { meshId, root: access.root, members: size, revoked };
  }

  /** By what others know that this peer is a member of its mesh. */
  #proof(): Fact[] {
    const { meshId, access } = this.#core.view;
    return [...access.mergesFor(meshId), ...access.chainOf(this.#core.peerId)];
  }

  /** What the other side shows, if it leads from its founder to the one that speaks. */
  #provenBy(
    speaker: PeerId,
    { meshId, root }: Pick<MergeSide, 'meshId' | 'root'>,
    values: readonly WireValue[],
  ): { readonly access: Access[]; readonly rest: Fact[] } | undefined {
    const { identity } = this.#core.deps;
    const verify: Identity['verify'] = (...args) => identity.verify(...args);
    const facts = readFacts(values, new Set([meshId]), verify, () => undefined);
    const list = new AllowList(meshId, root);
    const access = list.addAll(facts.filter(isAccess));
    if (!list.isAllowed(speaker)) return undefined;
    return { access, rest: facts.filter((fact) => !isAccess(fact)) };
  }

  #signed(side: Pick<MergeSide, 'meshId' | 'root'>): Fact<Merge> {
    const { identity, clock } = this.#core.deps;
    const mergedAtMs = Math.round(clock.wallMs());
    const statement: Merge = { kind: 'merge', peerId: side.root, mesh: side.meshId, mergedAtMs };
    return signFact(identity, this.#core.view.meshId, statement);
  }

  #cutBy(revoked: readonly string[]): { readonly names: string[]; readonly isUs: boolean } {
    const cut = this.#core.view.access.cutBy(revoked);
    const names = cut.slice(0, MERGE_CUTS_MAX).map((peerId) => this.#core.nameOf(peerId));
    return { names, isUs: cut.includes(this.#core.peerId) };
  }

  /** What speaks against it, whoever asks. */
  #obstacle(other: MergeSide): CoveyError | undefined {
    const { access, size } = this.#core.view;
    if (access.hasMesh(other.meshId)) return undefined;
    if (size + other.members > MEMBERS_MAX)
      return notMergeable(`together they have more than ${MEMBERS_MAX} members`);
    if (access.mergeCount >= MERGES_MAX) return notMergeable(`${MERGES_MAX} merges are the most`);
    if (access.revocationCount > MERGE_REVOKED_MAX)
      return notMergeable(`more than ${MERGE_REVOKED_MAX} peers were revoked in one of them`);
    return undefined;
  }

  // The inviter

  serve(from: PeerId, frame: Asked): Promise<AdmitFrame> {
    const answer = this.#queue.then(() => this.#serve(from, frame));
    this.#queue = Promise.allSettled([answer]);
    return answer;
  }

  async #serve(from: PeerId, frame: Asked): Promise<AdmitFrame> {
    const core = this.#core;
    const { view } = core;
    const refuse = (error: CoveyError): AdmitFrame => ({ type: 'refuse', error });
    if (this.#hooks.isJoining()) return refuse(BUSY);
    if (core.expelled()) return refuse(coveyError('NOT_ALLOWED'));
    const proven = this.#provenBy(from, frame.side, frame.facts);
    if (!proven) return refuse(coveyError('INVALID_REQUEST', { why: 'no entries lead to you' }));
    if (view.access.barOf(from)?.kind === 'revoked') return refuse(core.refusalOf(from));
    const isOne = this.#isOneWith(from, frame.side, proven.access);
    // One that was cut off, or says that it founded a mesh which somebody else has founded.
    if (!isOne && view.access.hasMesh(frame.side.meshId)) return refuse(core.refusalOf(from));
    const refusal = isOne ? undefined : this.#refusalOf(frame);
    if (refusal) return refuse(refusal);
    const cuts = isOne ? { names: [], isUs: false } : this.#cutBy(frame.side.revoked);
    if (cuts.isUs) return refuse(notMergeable('the other mesh has revoked the inviter'));
    if (!frame.isAgreed) return { type: 'terms', side: this.#side(), cuts: cuts.names };
    if (!isOne) {
      if (cuts.names.length > 0 && !frame.withCuts)
        return refuse(coveyError('MERGE_CUTS', { who: cuts.names.join(', ') }));
      const facts = [this.#signed(frame.side), ...proven.access];
      const saved = await core.book.saveRedeemed(secretHash(frame.secret), from, facts);
      if (!saved.ok) return refuse(coveyError('STORE_FULL', { peer: core.peerId }));
      if (core.view !== view) return refuse(BUSY);
      core.accept(facts, 'greeting');
      // Not the record of who asked: it would be dialled before it knows any of us.
      this.#hooks.announce(facts);
    }
    const { meshId, access } = core.view;
    const shown = [...this.#proof(), core.own.fact].map(toWire);
    return { type: 'merged', meshId, root: access.root, facts: shown };
  }

  /** Its answer got lost, or another member of its mesh asks: nothing is left to decide, and no secret to show. */
  #isOneWith(from: PeerId, side: MergeSide, shown: readonly Access[]): boolean {
    const { access } = this.#core.view;
    if (!access.hasMesh(side.meshId)) return false;
    const isVoid = shown.some((fact) => access.isVoid(fact));
    if (!access.isAllowed(from) && !isVoid) this.#core.accept(shown, 'greeting');
    return access.isAllowed(from);
  }

  #refusalOf({ secret, side }: Asked): CoveyError | undefined {
    const { book, deps } = this.#core;
    const hash = secretHash(secret);
    const invite = book.invite(hash);
    if (book.redeemedBy(hash) !== undefined || !invite) return coveyError('TOKEN_USED');
    if (!invite.forMerge) return coveyError('TOKEN_NOT_FOR_MERGE');
    if (invite.expiresAtMs < deps.clock.wallMs()) return coveyError('TOKEN_EXPIRED');
    return this.#obstacle(side);
  }

  // The one that asks

  async merge(text: string, withCuts: boolean): Promise<Result<Merged, CoveyError>> {
    const core = this.#core;
    const decoded = decodeToken(text);
    if (!decoded.ok) return err(coveyError('TOKEN_INVALID', { why: decoded.error }));
    const token = decoded.value;
    if (!token.forMerge) return err(coveyError('TOKEN_NOT_FOR_MERGE'));
    if (core.expelled()) return err(core.refusalOf(core.peerId));
    const { inviter } = token;
    const isLinked = inviter === core.peerId || this.#hooks.isUp(inviter);
    if (isLinked && core.view.access.hasMesh(token.meshId)) return ok(this.#merged([], true));
    const refusal = this.#hooks.outOfReach(token);
    if (refusal) return err(refusal);
    if (!this.#hooks.hasOthers()) return err(notMergeable(LONE));
    if (this.#merging || this.#hooks.isJoining()) return err(BUSY);
    this.#merging = true;
    try {
      return await this.#merge(token, withCuts);
    } finally {
      this.#merging = false;
    }
  }

  async #merge(token: Token, withCuts: boolean): Promise<Result<Merged, CoveyError>> {
    const connected = await this.#hooks.dial(token);
    if (!connected.ok) return err(coveyError('JOIN_FAILED', { why: connected.error }));
    const asked = await this.#ask(token, false, withCuts);
    if (!asked.ok) return asked;
    const terms = asked.value;
    if (terms.type !== 'terms' || terms.side.meshId !== token.meshId) return err(ANOTHER);
    const obstacle = this.#obstacle(terms.side);
    if (obstacle) return err(obstacle);
    const ours = this.#cutBy(terms.side.revoked);
    if (ours.isUs)
      return err(notMergeable('the other mesh has revoked this peer, or its admitter'));
    const cutOff = [...new Set([...ours.names, ...terms.cuts])].sort();
    if (cutOff.length > 0 && !withCuts)
      return err(coveyError('MERGE_CUTS', { who: cutOff.join(', '), cut_off: cutOff }));
    const wanted = this.#core.view.size + terms.side.members;
    const done = await this.#ask(token, true, withCuts);
    if (!done.ok) return done;
    if (done.value.type !== 'merged') return err(ANOTHER);
    const entered = await this.#enter(token, done.value);
    if (!entered.ok) return entered;
    await this.#hooks.greet(token.inviter);
    await this.#settle(wanted);
    return ok(this.#merged(cutOff, false));
  }

  async #ask(
    { inviter, secret }: Token,
    isAgreed: boolean,
    withCuts: boolean,
  ): Promise<Result<AdmitFrame, CoveyError>> {
    const facts = this.#proof().map(toWire);
    const side = this.#side();
    const frame = encodeAdmit({ type: 'merge', secret, side, facts, isAgreed, withCuts });
    const bytes = await this.#core.deps.network.admitCall(inviter, frame, ADMIT_TIMEOUT_MS);
    const reply = bytes && decodeAdmit(bytes);
    if (!reply?.ok) return err(coveyError('JOIN_FAILED', { why: 'it did not answer' }));
    return reply.value.type === 'refuse' ? err(reply.value.error) : ok(reply.value);
  }

  async #enter(token: Token, frame: Answered): Promise<Result<void, CoveyError>> {
    const core = this.#core;
    const proven = this.#provenBy(token.inviter, frame, frame.facts);
    if (!proven || frame.meshId !== token.meshId) return err(ANOTHER);
    const facts = [this.#signed(frame), ...proven.access];
    const saved = await core.book.saveFacts(facts);
    if (!saved.ok) return err(coveyError('STORE_FULL', { peer: core.peerId }));
    core.accept([...facts, ...proven.rest], 'greeting');
    // Whoever hears it may dial the inviter at once, which knows by now who we are.
    this.#hooks.announce([...facts, ...proven.rest]);
    return ok(undefined);
  }

  async #settle(members: number): Promise<void> {
    const { clock } = this.#core.deps;
    for (let waitedMs = 0; waitedMs < SETTLE_MS; waitedMs += SETTLE_STEP_MS) {
      if (this.#core.view.size >= members) return;
      await sleep(clock, SETTLE_STEP_MS);
    }
  }

  #merged(cutOff: readonly string[], isOld: boolean): Merged {
    const { access, size } = this.#core.view;
    return { meshId: access.shownMesh, members: size, cutOff, isOld };
  }
}

const ANOTHER = coveyError('JOIN_FAILED', { why: 'it answered for another mesh' });
