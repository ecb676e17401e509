/** Membership: who is in the mesh, who lives, and the links to them. This file only wires the services of the room. */
import type { CoveyError } from '../base/errors.ts';
import { jitter } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Address, FrameClass, ListenResult } from '../ports/network.ts';
import type { Shortage } from '../ports/room.ts';
import { Book, newMeshId } from './book.ts';
import { Core } from './core.ts';
import { Detector } from './detector.ts';
import { Dialer } from './dialer.ts';
import { Door } from './door.ts';
import type { Fact } from './fact.ts';
import { Finder, MDNS } from './finder.ts';
import { firstRecord, founderEntry } from './first-facts.ts';
import { countStart, FormerStores } from './former-stores.ts';
import { Gate } from './gate.ts';
import { LOOK_INTERVAL_MS, TICK_MS } from './limits.ts';
import { type LinkEnd, Links } from './links.ts';
import { statusOf } from './member.ts';
import { decodeMessage } from './messages.ts';
import { OwnRecord } from './own-record.ts';
import { PartialMesh } from './partial-mesh.ts';
import { type Removed, removeMember } from './removal.ts';
import { allowPeer, type Revoked, revokePeer } from './revocation.ts';
import { Roster } from './roster.ts';
import { Rounds } from './rounds.ts';
import { Stats } from './stats.ts';
import { Sync } from './sync.ts';
import type {
  AccessEntry,
  Allowed,
  Expelled,
  Load,
  Member,
  MemberListener,
  MembershipDeps,
  SelfChange,
} from './types.ts';
import { View } from './view.ts';

type Phase = 'loaded' | 'running' | 'stopped';

const MESH_ID_BYTES = 16;

export class Membership {
  readonly #core: Core;
  readonly #links: Links;
  readonly #dialer: Dialer;
  readonly #detector: Detector;
  readonly #sync: Sync;
  readonly #gate: Gate;
  readonly #former: FormerStores;
  readonly #door: Door;
  readonly #finder: Finder;
  readonly stats: Stats;
  /** Whom this peer keeps links to, and how one is had to another. */
  readonly mesh: PartialMesh;
  readonly #rounds: Rounds;
  #phase: Phase = 'loaded';
  #load: Load | undefined;
  #expelled: Expelled | undefined;

  /** Reads what `identity/` holds, mints a mesh id where there is none, and counts this start, durably. */
  static async load(deps: MembershipDeps): Promise<Result<Membership, string>> {
    const { identity, identityStore, clock, log, random } = deps;
    const book = new Book(identityStore, clock, log);
    const stored = book.mesh();
    if (!stored.ok) return stored;
    let mesh = stored.value;
    if (!mesh) {
      mesh = { meshId: newMeshId(random.bytes(MESH_ID_BYTES)), root: identity.peerId };
      const saved = await book.saveMesh(mesh, [founderEntry(deps, mesh.meshId)]);
      if (!saved.ok) return err(`the mesh id was not written: ${saved.detail}`);
    }
    // Before the first packet: others compare it with what they know of our last start.
    const epoch = book.epoch() + 1;
    const saved = await countStart({ book, deps }, mesh.meshId, epoch);
    if (!saved.ok) return err(`the start was not counted: ${saved.detail}`);
    return ok(new Membership(deps, book, mesh.meshId, mesh.root, epoch));
  }

  private constructor(
    deps: MembershipDeps,
    book: Book,
    meshId: string,
    root: PeerId,
    epoch: number,
  ) {
    const own = new OwnRecord(deps.identity, meshId, firstRecord(deps, epoch));
    const phiOf = (peerId: PeerId) => this.#detector.hearing.phiOf(peerId);
    const roster = new Roster(deps.clock, deps.log, phiOf);
    const core = new Core(deps, book, own, roster, new View(meshId, root));
    this.#core = core;
    this.#links = new Links(core, {
      up: (...link) => this.#linkUp(...link),
      down: (peerId, end) => this.#linkDown(peerId, end),
      refused: (peerId) => this.#dialer.rest(peerId),
      arrived: (facts) => this.#sync.welcome(facts),
    });
    this.#dialer = new Dialer(core, {
      isOpen: (peerId) => this.#links.isOpen(peerId),
      isWanted: (peerId) => this.mesh.isWanted(peerId),
      dialled: (peerId) => this.#links.greet(peerId),
      isNear: (peerId) => this.#detector.rings.areNear(core.peerId, peerId),
      reached: (peerId, address) => this.#detector.reached(peerId, address),
      failed: (peerId, refused) => this.#dialFailed(peerId, refused),
    });
    this.mesh = new PartialMesh(core, this.#links, {
      rings: () => this.#detector.rings,
      hearing: () => this.#detector.hearing,
      dialer: () => this.#dialer,
    });
    this.#sync = new Sync(core, this.#links, (peerId) => this.#detector.rings.observersOf(peerId));
    const announce = this.#sync.announce.bind(this.#sync);
    this.#detector = new Detector(core, this.#links, {
      dialer: this.#dialer,
      telling: this.#sync,
      mesh: () => this.mesh,
    });
    this.stats = new Stats(core, this.#links, this.#detector, this.#dialer);
    this.#gate = new Gate(core, {
      announce,
      isUp: (peerId) => this.#links.isUp(peerId),
      greet: (peerId) => this.#links.greet(peerId),
      moveTo: (...mesh) => {
        this.#detector.reset();
        core.moveTo(...mesh);
        if (this.#load) roster.load(core.peerId, this.#load);
      },
    });
    this.#former = new FormerStores(core, {
      isUp: (peerId) => this.mesh.isInTouch(peerId),
      announce: (fact) => announce([fact]),
    });
    this.#door = new Door(core, this.#gate, this.#links);
    this.#finder = new Finder(core, this.#links);
    this.#rounds = new Rounds(deps.clock);
    const known = book.facts(meshId, (...args) => deps.identity.verify(...args));
    core.accept([...known, own.fact], 'book');
    core.connect({
      hears: (peerId) => this.#detector.hearing.hears(peerId),
      objected: (verdict) => this.#detector.objected(verdict),
      changed: (change) => this.#detector.changed(change),
      announce: (facts) => {
        if (this.#phase === 'running') announce(facts);
      },
      accessChanged: () => this.#accessChanged(),
    });
    this.#expelled = core.expelled();
  }

  /** Owns `network.start`. `advertise`: how others reach it; port 0 stands for the one it got. */
  async start(
    listen: { readonly host: string; readonly port: number },
    advertise: readonly Address[],
  ): Promise<ListenResult> {
    const { network, config, random } = this.#core.deps;
    const result = await network.start(
      {
        opened: (link) => this.#links.opened(link.peerId),
        closed: (peerId) => this.#links.closed(peerId),
        frame: (from, frameClass, bytes) => this.#frame(from, frameClass, bytes),
        admitRequest: (from, bytes) => this.#door.request(from, bytes),
        news: (bytes) => {
          if (this.#phase === 'running') this.#sync.news(bytes);
        },
      },
      listen,
    );
    if (!result.ok) return result;
    const bound = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
    const wanted = advertise.length > 0 ? advertise : [`${bound}:0`];
    const addresses = wanted.map((address) => address.replace(/:0$/, `:${result.port}`));
    this.#gate.listensOn(listen.host);
    this.#detector.resume();
    this.#core.changeOwn({ addresses });
    if (config.peers?.includes(MDNS) === true) this.#core.deps.network.announce(addresses);
    this.#phase = 'running';
    this.#door.open();
    // Heard before the last stop, and not acted on.
    this.#core.meetRemoval();
    const beat = () => this.#detector.beat();
    this.#rounds.every(() => config.heartbeat_interval, beat);
    const tick = () => {
      const parts = [this.stats, this.#detector, this.#links, this.mesh, this.#former];
      for (const part of parts) part.tick();
    };
    this.#rounds.every(() => TICK_MS, tick);
    const sync = () => jitter(random, config.anti_entropy_interval, 0.2);
    this.#rounds.every(sync, () => this.#sync.compareWithOne());
    const look = () => jitter(random, LOOK_INTERVAL_MS, 0.2);
    if (config.peers?.length) this.#rounds.every(look, () => void this.#finder.look());
    for (const [peerId] of this.#core.view.entries()) this.#dialer.kick(peerId, true);
    return result;
  }

  /** Of several that were merged the smallest, which is the same everywhere. */
  get meshId(): string {
    return this.#core.view.access.shownMesh;
  }

  hasMesh = (meshId: string): boolean => this.#core.view.access.hasMesh(meshId);

  self(): Member {
    const self = this.#core.roster.get(this.#core.peerId);
    if (!self) throw new Error('this peer is not in its own view');
    return self;
  }

  /** All that are known, this peer and the dead and left ones included, sorted by PeerId. */
  members(): readonly Member[] {
    return this.#core.roster.list();
  }

  member(peerId: PeerId): Member | undefined {
    return this.#core.roster.get(peerId);
  }

  /** By the store that the member has now. */
  memberOfStore(storeId: string): Member | undefined {
    return this.#core.roster.ofStore(storeId);
  }

  /** Whether frames can be sent: connected, and each has let the other in. */
  linked(peerId: PeerId): boolean {
    return this.#links.isUp(peerId);
  }

  /** For how long its link has been up and never silent for long, in ms; −1: it is not heard now. */
  hearingForMs(peerId: PeerId): number {
    return this.#detector.hearing.forMs(peerId);
  }

  onEvent(listener: MemberListener): void {
    this.#core.roster.onEvent(listener);
  }

  /** A change that this store made was seen: a later boot of it that has forgotten it is refused. */
  sawSeq(storeId: string, seq: number): void {
    this.#core.book.sawSeq(storeId, seq);
  }

  viewHash = (): string => this.#core.view.hash();
  epoch = (): number => this.#core.own.turn.epoch;

  updateSelf({ load, ...change }: SelfChange): void {
    if (load) {
      this.#load = load;
      this.#detector.heartbeats.load = load;
      this.#core.roster.load(this.#core.peerId, load);
    }
    if (change.stopping !== undefined || change.labels !== undefined) this.#core.changeOwn(change);
  }

  /** Of room on this disk; undefined: there is enough again. */
  tellShortage(shortage: Shortage | undefined): void {
    this.#core.changeOwn({ shortage });
  }

  async invite(...how: Parameters<Gate['invite']>): ReturnType<Gate['invite']> {
    const expelled = this.expelledError();
    return expelled ? err(expelled) : this.#gate.invite(...how);
  }

  /** Another mesh and this one become one. `withCuts`: also if that cuts off members of either. */
  merge(token: string, withCuts: boolean): ReturnType<Gate['merger']['merge']> {
    return this.#gate.merger.merge(token, withCuts);
  }

  join(token: string): Promise<Result<{ meshId: string; members: number }, CoveyError>> {
    return this.#gate.join(token);
  }

  /** An operator says that the store of this member, dead or left, does not come back. */
  forget(peerId: PeerId): Promise<Result<Removed, CoveyError>> {
    return removeMember(this.#core, peerId, (fact) => this.#sync.announce([fact]));
  }

  /** For good: this PeerId is cut off everywhere. */
  async revoke(peerId: PeerId): Promise<Result<Revoked, CoveyError>> {
    const expelled = this.expelledError();
    const announce = (facts: readonly Fact[]) => this.#sync.announce(facts);
    return expelled ? err(expelled) : revokePeer(this.#core, peerId, announce);
  }

  /** An entry for this PeerId, and a token that leads it here. It is no secret: it lets nobody else in. */
  async allow(peerId: PeerId, name: string): Promise<Result<Allowed, CoveyError>> {
    if (this.#expelled) return err(this.#core.refusalOf(this.#core.peerId));
    const token = this.#gate.tokenWithoutSecret();
    if (!token.ok) return token;
    const added = await allowPeer(this.#core, peerId, name, (facts) => this.#sync.announce(facts));
    return added.ok ? ok({ token: token.value, isNew: added.value }) : added;
  }

  /** Why this very peer is not a member of its mesh; undefined: it is one. */
  get expelled(): Expelled | undefined {
    return this.#expelled;
  }

  get expelledText(): string | undefined {
    return this.#core.barText(this.#core.peerId);
  }

  /** What to answer to whoever asks this peer for anything meanwhile. */
  expelledError(): CoveyError | undefined {
    return this.#expelled && this.#core.refusalOf(this.#core.peerId);
  }

  #accessChanged(): void {
    this.#links.cutBarred();
    const expelled = this.#core.expelled();
    const before = this.#expelled;
    this.#expelled = expelled;
    if (before?.kind !== expelled?.kind) this.#core.deps.onExpelled?.(expelled);
  }

  isRemoved(storeId: string): boolean {
    return this.#core.view.removalOf(storeId) !== undefined;
  }

  accessList(): AccessEntry[] {
    return this.#core.view.access.list();
  }

  /** Says goodbye to everybody and closes. `leave`: this peer's part in the mesh ends with a record that says so. */
  async stop(reason: 'stop' | 'leave'): Promise<void> {
    if (this.#phase === 'stopped') return;
    if (reason === 'leave') {
      this.#core.changeOwn({ left: true });
      this.#sync.tellLinked([this.#core.own.fact]);
    }
    this.#phase = 'stopped';
    this.#door.close();
    this.#dialer.stop();
    this.#rounds.stop();
    await Promise.all(this.#links.openPeers().map((peerId) => this.#links.end(peerId, reason)));
    await this.#core.deps.network.stop();
    await this.#core.book.close();
  }

  // Events of the network

  #dialFailed(peerId: PeerId, refused: readonly Address[]): void {
    this.mesh.dialFailed(peerId);
    this.#detector.dialFailed(peerId, refused);
  }

  #linkUp(peerId: PeerId, hasGreeted: boolean): void {
    this.mesh.linkUp(peerId);
    this.#detector.linkUp(peerId);
    this.#core.roster.emit('linked', peerId);
    // One comparison serves both.
    if (hasGreeted) this.#sync.compareWith(peerId);
  }

  #linkDown(peerId: PeerId, end: LinkEnd): void {
    this.mesh.linkDown(peerId);
    this.#detector.linkDown(peerId, end);
    if (end.wasUp) this.#core.roster.emit('unlinked', peerId);
    const facts = this.#core.view.get(peerId);
    if (this.#phase !== 'running' || !facts) return;
    const { status } = statusOf(facts);
    if (status === 'left') return;
    if (status === 'removed') this.#dialer.rest(peerId);
    else if (end.wasUp && end.farewell !== 'refused') {
      this.#dialer.kick(peerId, end.farewell === undefined && !end.byUs);
    } else this.#dialer.resume(peerId);
  }

  #frame(from: PeerId, frameClass: FrameClass, bytes: Uint8Array): void {
    if (this.#phase !== 'running' || !this.#links.mayRead(from)) return;
    this.#detector.heard(from);
    if (frameClass !== 'control') {
      if (frameClass === 'data') this.mesh.used(from);
      this.#core.deps.frame(from, frameClass, bytes);
      return;
    }
    const message = decodeMessage(bytes);
    if (!message.ok) {
      this.#core.refused.count('control: not readable');
      this.#core.deps.log.log('debug', 'a frame was not read', { from, why: message.error });
      return;
    }
    switch (message.value.type) {
      case 'ready':
        return;
      case 'goodbye':
        this.#links.saidGoodbye(from, message.value.reason);
        return;
      case 'view':
      case 'digest':
      case 'delta':
        this.#sync.handle(from, message.value);
        return;
      default:
        this.#detector.handle(from, message.value);
    }
  }
}
