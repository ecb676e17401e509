/** Invitations: minting and redeeming tokens, on both sides. */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { jitter } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import { sleep } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import { encodeValue } from '../wire/codec.ts';
import type { Core } from './core.ts';
import { type Entry, type Fact, readFacts, signFact, toWire } from './fact.ts';
import { type AdmitFrame, decodeAdmit, encodeAdmit, retryAfterMs } from './hello.ts';
import {
  ADMIT_TIMEOUT_MS,
  BUSY_PATIENCE_MS,
  DIAL_TIMEOUT_MS,
  INVITES_MAX,
  WELCOME_BYTES_MAX,
  WELCOME_FACTS_MAX,
} from './limits.ts';
import { isGone } from './member.ts';
import { LONE, Merger } from './merger.ts';
import { hostOf } from './roster.ts';
import {
  decodeToken,
  encodeToken,
  secretHash as hashOf,
  SECRET_BYTES,
  type Token,
} from './token.ts';
import { View } from './view.ts';

export interface GateHooks {
  announce(facts: readonly Fact[]): void;
  greet(peerId: PeerId): Promise<void>;
  isUp(peerId: PeerId): boolean;
  /** Lets go of everything that belongs to the mesh given up. */
  moveTo(meshId: string, root: PeerId, facts: readonly Fact[]): void;
}

/** The end of the year 9999, the last that RFC 3339 can write. */
const NEVER_MS = 253_402_214_400_000;

/** How long `join` waits for the view after it was let in; the view comes in any case. */
const SETTLE_MS = 2_000;
const SETTLE_STEP_MS = 50;

/**
 * The three spellings of "nobody but this host". Others of 127/8 are test networks that dial one
 * another.
 */
const ALONE = ['127.0.0.1', '::1', 'localhost'];
const isLoopback = (host: string): boolean => ALONE.includes(host) || host.startsWith('127.');

export class Gate {
  readonly #core: Core;
  readonly #hooks: GateHooks;
  readonly merger: Merger;
  #bindHost = '';
  #joining = false;
  /** Redeemings happen one after another: two of one secret must not both find it unused. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(core: Core, hooks: GateHooks) {
    this.#core = core;
    this.#hooks = hooks;
    this.merger = new Merger(core, {
      announce: (facts) => hooks.announce(facts),
      greet: (peerId) => hooks.greet(peerId),
      isUp: (peerId) => hooks.isUp(peerId),
      isJoining: () => this.#joining,
      hasOthers: () => this.#hasOthers(),
      outOfReach: (token) => this.#outOfReach(token),
      dial: (token) => this.#dial(token),
    });
  }

  listensOn(host: string): void {
    this.#bindHost = host;
  }

  get #isAlone(): boolean {
    return ALONE.includes(this.#bindHost) && this.#core.deps.config.dial_from === undefined;
  }

  /** `forMerge`: it lets a whole mesh in, and no single peer. */
  async invite(
    ttlMs: number,
    forMerge = false,
  ): Promise<Result<{ token: string; expiresAtMs: number }, CoveyError>> {
    const { clock, random, identity } = this.#core.deps;
    if (this.#isAlone) return err(coveyError('LOOPBACK_ONLY', { bind: this.#bindHost }));
    if (forMerge && !this.#hasOthers()) return err(coveyError('NOT_MERGEABLE', { why: LONE }));
    if (this.#core.book.openInvites(clock.wallMs()) >= INVITES_MAX) {
      return err(coveyError('BUSY', { what: 'open invitations', retry_after_ms: 60_000 }));
    }
    const { meshId } = this.#core.view;
    const secret = random.bytes(SECRET_BYTES);
    const expiresAtMs = Math.round(clock.wallMs() + ttlMs);
    const { addresses } = this.#core.own.fact.statement;
    const invite = { expiresAtMs, forMerge };
    const saved = await this.#core.book.saveInvite(hashOf(secret), invite, clock.wallMs());
    if (!saved.ok) return err(coveyError('STORE_FULL', { peer: this.#core.peerId }));
    const inviter = identity.peerId;
    return ok({
      token: encodeToken({ meshId, inviter, addresses, secret, expiresAtMs, forMerge }),
      expiresAtMs,
    });
  }

  /** For a peer that is on the list already. */
  tokenWithoutSecret(): Result<string, CoveyError> {
    if (this.#isAlone) return err(coveyError('LOOPBACK_ONLY', { bind: this.#bindHost }));
    const { meshId } = this.#core.view;
    const { addresses } = this.#core.own.fact.statement;
    const secret = new Uint8Array(SECRET_BYTES);
    const inviter = this.#core.peerId;
    return ok(encodeToken({ meshId, inviter, addresses, secret, expiresAtMs: NEVER_MS }));
  }

  // The inviter

  redeem(from: PeerId, secret: Uint8Array, name: string): Promise<AdmitFrame> {
    const answer = this.#queue.then(() => this.#redeem(from, secret, name));
    // Not the answer itself: one that fails would fail all that come after it.
    this.#queue = Promise.allSettled([answer]);
    return answer;
  }

  async #redeem(from: PeerId, secret: Uint8Array, name: string): Promise<AdmitFrame> {
    const core = this.#core;
    const { book, view, deps } = core;
    const refuse = (error: CoveyError): AdmitFrame => ({ type: 'refuse', error });
    // One that is admitted while we give up this mesh would be left in it alone.
    if (this.#joining) return refuse(coveyError('BUSY', { what: 'a join', retry_after_ms: 1_000 }));
    const { access } = view;
    const bar = access.barOf(from);
    if (bar?.kind === 'revoked') return refuse(core.refusalOf(from));
    // Whatever its token is: used before, expired meanwhile, or one of `covey access allow`.
    if (access.isAllowed(from)) return this.#welcome(from);
    if (core.expelled()) return refuse(coveyError('NOT_ALLOWED'));
    const hash = hashOf(secret);
    const redeemer = book.redeemedBy(hash);
    const invite = book.invite(hash);
    if (redeemer !== undefined || invite === undefined) return refuse(coveyError('TOKEN_USED'));
    if (invite.forMerge) return refuse(coveyError('TOKEN_FOR_MERGE'));
    if (invite.expiresAtMs < deps.clock.wallMs()) return refuse(coveyError('TOKEN_EXPIRED'));
    // Before the token is spent.
    const full = core.fullError(from);
    if (full) return refuse(full);
    const admittedAtMs = Math.round(deps.clock.wallMs());
    const statement: Entry = { kind: 'entry', peerId: from, name, admittedAtMs };
    const entry = signFact(deps.identity, view.meshId, statement);
    const saved = await book.saveRedeemed(hash, from, [entry]);
    if (!saved.ok) return refuse(coveyError('STORE_FULL', { peer: this.#core.peerId }));
    core.accept([entry], 'own');
    // Others may have filled the list while it was written.
    const lost = core.fullError(from);
    if (lost) return refuse(lost);
    this.#hooks.announce([entry]);
    return this.#welcome(from);
  }

  #welcome(to: PeerId): AdmitFrame {
    const { view, own } = this.#core;
    // The inviter's own chain as well: the newcomer cannot know yet who it is.
    const { access } = view;
    const chains = [...access.chainOf(this.#core.peerId), ...access.chainOf(to)];
    const merges = access.mergesFor(view.meshId);
    const least = [...new Set<Fact>([...merges, ...chains, own.fact])];
    // What is said of it it settles at its first hello.
    const rest = view.facts().filter((fact) => fact.statement.peerId !== to);
    const all = [...new Set<Fact>([...least, ...rest])].map(toWire);
    const isSmall = all.length <= WELCOME_FACTS_MAX && encodeValue(all).length <= WELCOME_BYTES_MAX;
    const facts = isSmall ? all : least.map(toWire);
    return { type: 'welcome', meshId: view.meshId, root: access.root, facts };
  }

  // The newcomer

  async join(text: string): Promise<Result<{ meshId: string; members: number }, CoveyError>> {
    const token = decodeToken(text);
    if (!token.ok) return err(coveyError('TOKEN_INVALID', { why: token.error }));
    const expelled = this.#core.expelled();
    if (expelled?.kind === 'revoked') return err(this.#core.refusalOf(this.#core.peerId));
    if (token.value.forMerge) return err(coveyError('TOKEN_FOR_MERGE'));
    const isOurs = this.#core.view.access.hasMesh(token.value.meshId);
    if (isOurs && !expelled) return ok(this.#joined());
    const refusal = this.#mayJoin(token.value);
    if (refusal) return err(refusal);
    if (this.#joining) return err(coveyError('BUSY', { what: 'a join', retry_after_ms: 1_000 }));
    this.#joining = true;
    this.#core.joining = token.value.meshId;
    try {
      return await this.#join(token.value);
    } finally {
      this.#core.joining = undefined;
      this.#joining = false;
    }
  }

  #mayJoin(token: Token): CoveyError | undefined {
    const refusal = this.#outOfReach(token);
    if (refusal) return refusal;
    return this.#staysWith(token.meshId) ? coveyError('FOREIGN_MESH') : undefined;
  }

  /** A token of another host, where no other host can reach this one. */
  #outOfReach(token: Token): CoveyError | undefined {
    const elsewhere = token.addresses.some((address) => !isLoopback(hostOf(address)));
    if (!elsewhere || !this.#isAlone) return undefined;
    return coveyError('LOOPBACK_ONLY', { bind: this.#bindHost });
  }

  /** It has others around it, and is not on its way back to them after its admission became void. */
  #staysWith(meshId: string): boolean {
    if (this.#core.expelled() && this.#core.view.access.hasMesh(meshId)) return false;
    return this.#hasOthers();
  }

  #hasOthers(): boolean {
    for (const [peerId, facts] of this.#core.view.entries()) {
      if (peerId !== this.#core.peerId && !isGone(facts)) return true;
    }
    return false;
  }

  async #join(token: Token): Promise<Result<{ meshId: string; members: number }, CoveyError>> {
    const answer = await this.#ask(token);
    if (!answer.ok) return answer;
    const entered = await this.#enter(token, answer.value);
    if (!entered.ok) return entered;
    await this.#hooks.greet(token.inviter);
    await this.#settle();
    return ok(this.#joined());
  }

  /** Newcomers are answered a few at a time: who came with many others asks again, over the same connection. */
  async #ask(token: Token): Promise<Result<AdmitFrame, CoveyError>> {
    const { network, clock, random } = this.#core.deps;
    const { name } = this.#core.own.fact.statement;
    const request = encodeAdmit({ type: 'redeem', secret: token.secret, name });
    const untilMs = clock.nowMs() + BUSY_PATIENCE_MS;
    for (;;) {
      const connected = await this.#dial(token);
      if (!connected.ok) return err(coveyError('JOIN_FAILED', { why: connected.error }));
      const bytes = await network.admitCall(token.inviter, request, ADMIT_TIMEOUT_MS);
      const reply = bytes && decodeAdmit(bytes);
      if (!reply?.ok) return err(coveyError('JOIN_FAILED', { why: 'it did not answer' }));
      if (reply.value.type !== 'refuse') return ok(reply.value);
      const { error } = reply.value;
      if (error.code !== 'BUSY' || clock.nowMs() >= untilMs) return err(error);
      await sleep(clock, jitter(random, retryAfterMs(error), 0.5));
    }
  }

  async #dial(token: Token): Promise<Result<void, string>> {
    let why = 'the token names no address';
    for (const address of token.addresses) {
      const { network } = this.#core.deps;
      const result = await network.dial(token.inviter, address, DIAL_TIMEOUT_MS);
      if (result.ok) return ok(undefined);
      why = `${address}: ${result.detail}`;
    }
    return err(why);
  }

  async #enter(token: Token, frame: AdmitFrame): Promise<Result<void, CoveyError>> {
    const { identity } = this.#core.deps;
    const failed = (why: string) => err(coveyError('JOIN_FAILED', { why }));
    if (frame.type !== 'welcome' || frame.meshId !== token.meshId) {
      return failed('it answered with another mesh');
    }
    const { verify } = this.#core.signatures;
    const facts = readFacts(frame.facts, new Set([frame.meshId]), verify, () => undefined);
    const view = new View(frame.meshId, frame.root);
    view.apply(facts);
    const { access } = view;
    if (!access.isAllowed(identity.peerId) || !access.isAllowed(token.inviter)) {
      return failed('its welcome holds no entry for this peer');
    }
    // Somebody may have redeemed an invitation of ours while we asked.
    if (this.#staysWith(frame.meshId)) return err(coveyError('FOREIGN_MESH'));
    const mesh = { meshId: frame.meshId, root: frame.root };
    const saved = await this.#core.book.saveMesh(mesh, view.facts());
    if (!saved.ok) return err(coveyError('STORE_FULL', { peer: identity.peerId }));
    this.#hooks.moveTo(view.meshId, access.root, view.facts());
    return ok(undefined);
  }

  /**
   * Anti-entropy with the inviter is under way; an answer that counts the members is worth a
   * moment.
   */
  async #settle(): Promise<void> {
    const { clock } = this.#core.deps;
    let last = '';
    for (let waitedMs = 0; waitedMs < SETTLE_MS; waitedMs += SETTLE_STEP_MS) {
      const hash = this.#core.view.hash();
      if (hash === last && this.#core.view.size > 1) return;
      last = hash;
      await sleep(clock, SETTLE_STEP_MS);
    }
  }

  #joined(): { meshId: string; members: number } {
    const { access, size } = this.#core.view;
    return { meshId: access.shownMesh, members: size };
  }
}
