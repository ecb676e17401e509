/**
 * Links to peers and the handshake on them. A link is up when each side has let the other in: the
 * dialler greets, the other answers, and the dialler's first frame (`ready`) tells that it has read
 * the answer. Two peers often dial each other at the same moment, so every step may happen twice
 * and in either direction.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { PeerId } from '../ports/identity.ts';
import type { SendResult } from '../ports/network.ts';
import { commonVersion } from '../wire/versions.ts';
import type { Core } from './core.ts';
import { type Fact, isKind, toWire } from './fact.ts';
import { type AdmitFrame, decodeAdmit, encodeAdmit, type Hello, retryAfterMs } from './hello.ts';
import { ADMIT_TIMEOUT_MS, HANDSHAKE_RETRY_MS, HELLOS_UNANSWERED_MAX } from './limits.ts';
import { type ControlMessage, encodeMessage, type GoodbyeReason } from './messages.ts';
import { ownHello, VERSIONS } from './own-hello.ts';
import { refusalOfStore } from './store-check.ts';
import { type Suspicion, suspect, twinError, twinOf } from './twin.ts';

/** open: a connection. accepted: we let it in, and wait for its first frame. up: frames go both ways. */
type Phase = 'open' | 'accepted' | 'up';

interface Link {
  phase: Phase;
  greeting: boolean;
  /** When it was opened, or last greeted, and how long after that it is greeted again. */
  quietSinceMs: number;
  retryMs: number;
  /** Hellos one after the other that nobody answered. */
  unanswered: number;
  /** Of the boot that is at the other end, once it is up. */
  epoch: number | undefined;
  bootId: string | undefined;
  /** Frames that came. */
  frames: number;
  twin: Suspicion | undefined;
  farewell: GoodbyeReason | undefined;
  byUs: boolean;
  /** It was revoked, or is closed for want of use: nothing that still comes is read. */
  isCut: boolean;
}

export interface LinkEnd {
  readonly wasUp: boolean;
  /** The reason that the other gave. */
  readonly farewell: GoodbyeReason | undefined;
  readonly byUs: boolean;
}

export interface LinkHooks {
  /** hasGreeted: it was this side that greeted. */
  up(peerId: PeerId, hasGreeted: boolean): void;
  down(peerId: PeerId, end: LinkEnd): void;
  /** One that we admitted has greeted us for the first time: the others know of its admission, not of itself. */
  arrived(facts: readonly Fact[]): void;
  /** It wants nothing to do with us: do not dial it again soon. */
  refused(peerId: PeerId): void;
}

export class Links {
  readonly #core: Core;
  readonly #hooks: LinkHooks;
  readonly #links = new Map<PeerId, Link>();
  /** Whom the network takes for members, with a link or without. */
  readonly #admitted = new Set<PeerId>();
  #last: { readonly message: ControlMessage; readonly bytes: Uint8Array } | undefined;

  constructor(core: Core, hooks: LinkHooks) {
    this.#core = core;
    this.#hooks = hooks;
  }

  isOpen = (peerId: PeerId): boolean => this.#links.has(peerId);

  isUp(peerId: PeerId): boolean {
    const link = this.#links.get(peerId);
    return link?.phase === 'up' && !link.isCut;
  }

  upPeers(): PeerId[] {
    const up: PeerId[] = [];
    for (const [peerId, link] of this.#links)
      if (link.phase === 'up' && !link.isCut) up.push(peerId);
    return up;
  }

  openPeers(): PeerId[] {
    return [...this.#links.keys()];
  }

  send(peerId: PeerId, message: ControlMessage): SendResult {
    if (!this.isUp(peerId)) return 'gone';
    // A heartbeat goes to many, one after another, and is written once.
    if (this.#last?.message !== message) this.#last = { message, bytes: encodeMessage(message) };
    return this.#core.deps.network.send(peerId, 'control', this.#last.bytes);
  }

  opened(peerId: PeerId): void {
    this.#links.set(peerId, {
      phase: 'open',
      greeting: false,
      quietSinceMs: this.#core.deps.clock.nowMs(),
      retryMs: HANDSHAKE_RETRY_MS,
      unanswered: 0,
      epoch: undefined,
      bootId: undefined,
      frames: 0,
      twin: undefined,
      farewell: undefined,
      byUs: false,
      isCut: false,
    });
  }

  closed(peerId: PeerId): void {
    const link = this.#links.get(peerId);
    if (!link) return;
    this.#links.delete(peerId);
    const { farewell, byUs } = link;
    this.#hooks.down(peerId, { wasUp: link.phase === 'up', farewell, byUs });
  }

  /** A frame came: true when it may be read. */
  mayRead(from: PeerId): boolean {
    const link = this.#links.get(from);
    if (!link || link.phase === 'open' || link.isCut) return false;
    link.frames += 1;
    if (link.phase === 'accepted') this.#setUp(from, link, false);
    return true;
  }

  saidGoodbye(from: PeerId, reason: GoodbyeReason): void {
    const link = this.#links.get(from);
    if (link) link.farewell = reason;
  }

  /** Closes with a word of goodbye: an end without one is taken for a crash. */
  async end(peerId: PeerId, reason: GoodbyeReason): Promise<void> {
    const link = this.#links.get(peerId);
    if (!link || link.isCut) return;
    if (link.phase !== 'open') {
      this.#core.deps.network.send(peerId, 'control', encodeMessage({ type: 'goodbye', reason }));
    }
    link.byUs = true;
    this.#admitted.delete(peerId);
    // Whoever wants to send from now on has to have it dialled again.
    if (reason === 'idle') link.isCut = true;
    await this.#core.deps.network.disconnect(peerId);
  }

  /**
   * Ends the links to those who are no members any more. They are shown why before: a peer that only lost its links
   * would take all others for dead, and go on alone. One without a link as well: to the network it would be a member
   * when it comes back, whose news is taken, and who may stay.
   */
  cutBarred(): void {
    const { access } = this.#core.view;
    for (const peerId of [...this.#admitted]) {
      if (access.isAllowed(peerId)) continue;
      this.#admitted.delete(peerId);
      const link = this.#links.get(peerId);
      if (!link) void this.#core.deps.network.disconnect(peerId);
      if (!link || link.isCut) continue;
      this.send(peerId, { type: 'delta', facts: access.proofOf(peerId).map(toWire), want: [] });
      void this.end(peerId, 'refused');
      link.isCut = true;
    }
  }

  #admit(peerId: PeerId): void {
    this.#admitted.add(peerId);
    this.#core.deps.network.admit(peerId);
  }

  /** Greets again where a handshake got lost, and where both sides believe the other dialled. */
  tick(): void {
    const nowMs = this.#core.deps.clock.nowMs();
    for (const [peerId, link] of this.#links) {
      if (link.phase === 'up' || link.greeting || link.byUs) continue;
      if (nowMs - link.quietSinceMs < link.retryMs) continue;
      if (this.#core.view.access.isAllowed(peerId)) void this.greet(peerId);
    }
  }

  #setUp(peerId: PeerId, link: Link, hasGreeted: boolean): void {
    if (link.phase === 'up') return;
    link.phase = 'up';
    const record = this.#core.view.get(peerId)?.record.statement;
    link.epoch = record?.epoch;
    link.bootId = record?.bootId;
    link.twin = undefined;
    this.#hooks.up(peerId, hasGreeted);
  }

  /** The dialler's part of the handshake. */
  async greet(peerId: PeerId): Promise<void> {
    const link = this.#links.get(peerId);
    if (!link || link.greeting || link.phase === 'up' || link.byUs) return;
    link.greeting = true;
    link.retryMs = HANDSHAKE_RETRY_MS;
    const { network, clock, log } = this.#core.deps;
    const frame = encodeAdmit({ type: 'hello', hello: ownHello(this.#core, peerId) });
    const bytes = await network.admitCall(peerId, frame, ADMIT_TIMEOUT_MS);
    const reply = bytes && decodeAdmit(bytes);
    link.unanswered = reply === undefined ? link.unanswered + 1 : 0;
    const current = () => this.#links.get(peerId) === link && !link.byUs;
    if (reply?.ok && reply.value.type === 'refuse' && current()) {
      this.#core.learnAccess(peerId, reply.value.proof);
      await this.#wasRefused(peerId, link, reply.value.error);
    } else if (reply?.ok && reply.value.type === 'hello') {
      const error = (await this.#letIn(peerId, reply.value.hello)) ?? this.#barOf(peerId);
      if (error && current()) await this.#refuse(peerId, error);
      else if (!error && current()) {
        this.#admit(peerId);
        network.send(peerId, 'control', encodeMessage({ type: 'ready' }));
        this.#setUp(peerId, link, true);
      }
    } else {
      log.log('debug', 'no answer to a hello', { peer: peerId });
      // What was sent on it may still come when the way is free again, much later; on a new one nothing old does.
      if (link.unanswered >= HELLOS_UNANSWERED_MAX && current()) await this.end(peerId, 'stale');
    }
    link.greeting = false;
    link.quietSinceMs = clock.nowMs();
  }

  async #wasRefused(peerId: PeerId, link: Link, error: CoveyError): Promise<void> {
    // Somebody unknown may be where a member was looked for: it ends nobody, and renews no store.
    const isMember = this.#core.view.access.isAllowed(peerId);
    const twin = isMember ? twinOf(error) : undefined;
    if (twin !== undefined) this.#core.metTwin(twin);
    if (error.code === 'BUSY') {
      // The link stays: `tick` greets again.
      link.retryMs = retryAfterMs(error);
      return;
    }
    this.#core.deps.log.log('warn', 'a member refused us', { peer: peerId, why: error.message });
    this.#noteRefusal(peerId, 'them', error);
    if (isMember) this.#noteStoreRefusal(error);
    this.#hooks.refused(peerId);
    await this.end(peerId, 'refused');
  }

  #noteRefusal(peerId: PeerId, by: 'us' | 'them', error: CoveyError): void {
    const { telemetry, deps } = this.#core;
    telemetry.refused(peerId, by, error, deps.clock.nowMs());
  }

  #noteStoreRefusal({ code, details, message }: CoveyError): void {
    if (code !== 'STORE_REFUSED') return;
    this.#core.deps.onRefusedStore?.(String(details.why ?? message));
  }

  /**
   * The answer of the other did not please us: it learns why, above all when its store must be
   * renewed.
   */
  async #refuse(peerId: PeerId, error: CoveyError): Promise<void> {
    const { network, log } = this.#core.deps;
    log.log('warn', 'a peer was refused', { peer: peerId, why: error.message });
    this.#noteRefusal(peerId, 'us', error);
    const proof = this.#core.proofOf(peerId, error);
    const frame = encodeAdmit({ type: 'refused', error, proof });
    await network.admitCall(peerId, frame, ADMIT_TIMEOUT_MS);
    this.#hooks.refused(peerId);
    await this.end(peerId, 'refused');
  }

  /** Requests of known and unknown peers but the redeeming of tokens. */
  async serve(from: PeerId, frame: AdmitFrame): Promise<AdmitFrame> {
    if (frame.type === 'refused') {
      // Of a member alone: a stranger would have us remember him, and everything that he shows.
      if (this.#core.view.access.isAllowed(from)) {
        this.#core.learnAccess(from, frame.proof);
        this.#noteRefusal(from, 'them', frame.error);
        this.#noteStoreRefusal(frame.error);
        this.#hooks.refused(from);
      }
      return { type: 'noted' };
    }
    if (frame.type !== 'hello') {
      const error = coveyError('INVALID_REQUEST', { why: frame.type });
      return { type: 'refuse', error };
    }
    const link = this.#links.get(from);
    const error = (await this.#letIn(from, frame.hello)) ?? this.#barOf(from);
    if (error) {
      this.#core.deps.log.log('warn', 'a peer was refused', { peer: from, why: error.message });
      this.#noteRefusal(from, 'us', error);
      return { type: 'refuse', error, proof: this.#core.proofOf(from, error) };
    }
    if (link && this.#links.get(from) === link && !link.byUs) {
      this.#renewIfRestarted(from, link);
      this.#admit(from);
      if (link.phase === 'open') link.phase = 'accepted';
    }
    return { type: 'hello', hello: ownHello(this.#core, from) };
  }

  /** The other end restarted before we heard its old connection end. */
  #renewIfRestarted(from: PeerId, link: Link): void {
    const epoch = this.#core.view.get(from)?.record.statement.epoch;
    if (link.phase !== 'up' || link.epoch === epoch) return;
    link.phase = 'open';
    this.#hooks.down(from, { wasUp: true, farewell: undefined, byUs: false });
  }

  /** Another daemon with the same key is at the other end of our link, perhaps. */
  #twinOf(from: PeerId, hello: Hello): CoveyError | undefined {
    const link = this.#links.get(from);
    if (link?.phase !== 'up' || link.bootId === undefined || link.bootId === hello.bootId)
      return undefined;
    const { random, log } = this.#core.deps;
    link.twin = suspect(link.twin, hello, link.frames, () => random.uint32());
    const record = this.#core.view.get(from)?.record.statement;
    if (!link.twin || !record) return undefined;
    const { epoch, incarnation } = record;
    const { nonce } = link.twin;
    this.send(from, { type: 'accused', turn: { epoch, incarnation }, level: 'suspect', nonce });
    const address = record.addresses[0] ?? 'an unknown address';
    const error = twinError(link.twin, address);
    const seen = { name: record.name, peer: from, linked: address };
    if (twinOf(error) !== undefined)
      log.log('error', 'two daemons run with one key: the later one was refused', seen);
    return error;
  }

  /** An answer to a suspicion, with the number that it repeats. */
  pulsed(from: PeerId, nonce: number | undefined): void {
    const link = this.#links.get(from);
    if (link?.twin !== undefined && link.twin.nonce === nonce)
      link.twin = { ...link.twin, isAnswered: true };
  }

  /** Asked again after every await: it may have been revoked in that very moment. */
  #barOf(peerId: PeerId): CoveyError | undefined {
    const core = this.#core;
    return core.view.access.isAllowed(peerId) ? undefined : core.refusalOf(peerId);
  }

  /** Undefined: the peer is let in, and what its hello says is known now. */
  async #letIn(from: PeerId, hello: Hello): Promise<CoveyError | undefined> {
    const core = this.#core;
    const { store } = core.deps;
    const { view } = core;
    const shown = core.learnShown(from, hello);
    if (!view.access.knowsMesh(hello.meshId)) return core.foreignError(hello.meshId);
    if (commonVersion(VERSIONS, hello.versions) === undefined) {
      const { min, max } = hello.versions;
      const ours = `${VERSIONS.min}-${VERSIONS.max}`;
      return coveyError('VERSION_MISMATCH', { ours, theirs: `${min}-${max}` });
    }
    if (!view.access.isAllowed(from)) return core.refusalOf(from, shown);
    const led = view.access.leadingOn(shown);
    if (led.length > 0) {
      const saved = await core.book.saveFacts(led);
      if (!saved.ok) return coveyError('STORE_FULL', { peer: core.peerId });
      if (core.view !== view) return coveyError('FOREIGN_MESH');
      if (!view.access.isAllowed(from)) return core.refusalOf(from);
    }
    const record = core.read([hello.record]).find((fact) => isKind(fact, 'record'));
    const said = record?.statement;
    if (!record || said?.peerId !== from || said.storeId !== hello.storeId) {
      return coveyError('INVALID_REQUEST', { why: 'the hello and its record differ' });
    }
    const twin = this.#twinOf(from, hello);
    if (twin) return twin;
    const { storeId, bootCount, bootId, bootIds, seq, spans } = hello;
    const presented = { peerId: from, storeId, bootCount, bootId, bootIds, seq, spans };
    const ours = {
      peerId: core.peerId,
      storeId: store.storeId,
      bootCount: store.bootCount,
      bootId: store.bootId,
      seq: store.seq(),
    };
    const why =
      core.removalText(storeId) ?? refusalOfStore([...core.book.seenStores(), ours], presented);
    if (why !== undefined) return coveyError('STORE_REFUSED', { why });
    core.book.rememberStore({ peerId: from, storeId, bootCount, bootId, seq });
    core.heardOfSelf(hello.known);
    // Its inviter alone: were it everybody that it greets, each newcomer would be announced by each member.
    const { access } = view;
    const isMerged = access.hasAccepted(core.peerId, hello.meshId);
    const isOurs = (isMerged || access.admitterOf(from) === core.peerId) && !view.get(from);
    core.accept([record], 'greeting');
    if (isOurs) this.#hooks.arrived([...view.access.chainOf(from).slice(0, 1), record]);
    core.deps.onAway?.(from, hello.away?.storeId === store.storeId ? hello.away : undefined);
    return undefined;
  }
}
