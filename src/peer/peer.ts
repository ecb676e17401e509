/**
 * The peer: the one place where the rooms meet. `Peer` runs unchanged on the host's ports and on simulated ones.
 *
 * Starting: identity of the store (a boot is counted, synced) → records → membership (network) → tasks.
 * Stopping, in an orderly way: take nothing → let attempts end → hand over → say goodbye → close.
 */
import { err, ok, type Result } from '../base/result.ts';
import { startExec } from '../executors/exec.ts';
import type { Execution, RunHandlers, RunRequest } from '../executors/executor.ts';
import { WorkerRegistry } from '../executors/worker.ts';
import { Membership } from '../membership/membership.ts';
import { metered, Traffic } from '../membership/traffic.ts';
import type { Load, MemberEvent } from '../membership/types.ts';
import type { Timer } from '../ports/clock.ts';
import type { Ports } from '../ports/index.ts';
import { Absences } from '../records/absence.ts';
import { CheckedStore } from '../records/checked-store.ts';
import { Handoff } from '../records/handoff.ts';
import { PartnerSync } from '../records/partner-sync.ts';
import { Repair } from '../records/repair.ts';
import { Replica } from '../records/replica.ts';
import { Sharing } from '../records/sharing.ts';
import { type FormerStore, type LoadError, StoreIdentity } from '../records/store-identity.ts';
import { keyRules } from '../tasks/dedupe.ts';
import { type Demand, demandParts } from '../tasks/demand.ts';
import { requiredNow } from '../tasks/mesh-view.ts';
import { Tasks } from '../tasks/room.ts';
import { taskRules } from '../tasks/task.ts';
import { Away } from './away.ts';
import { type HandOverDeps, handOverCopies } from './hand-over.ts';
import { loadOf } from './load.ts';
import { Messenger } from './messenger.ts';
import type { PeerOptions, StartError } from './options.ts';
import { startOutside } from './outside.ts';
import { requestDigestOf } from './request-digest.ts';
import { type ShortageWatch, shortageWatchOf } from './shortage.ts';
import { Sight } from './sight.ts';
import { Upkeep } from './upkeep.ts';
import { openWays } from './ways.ts';
import { windDown } from './wind-down.ts';
import { Witness } from './witness.ts';

/** After these the others may have gone on without this peer: it reads before it owns once more. */
const RETURNS: ReadonlySet<MemberEvent['type']> = new Set(['alive', 'heard', 'condemned']);
/** Changes of load are told at most this often: they travel on heartbeats. */
const LOAD_INTERVAL_MS = 100;
const twinText = (address: string): string =>
  `another daemon with the key of this one runs at ${address}: one of the two data directories is a copy; ` +
  'give the copy a new, empty one, and let it join with a new token';

export class Peer {
  readonly membership: Membership;
  readonly identity: StoreIdentity;
  readonly replica: Replica;
  readonly tasks: Tasks;
  readonly workers: WorkerRegistry;
  readonly messenger: Messenger;
  readonly sight: Sight;
  readonly options: PeerOptions;
  readonly ports: Ports;
  readonly #sharing: Sharing;
  readonly #sync: PartnerSync;
  readonly #upkeep: Upkeep;
  readonly #witness: Witness;
  readonly #shortage: ShortageWatch;
  readonly away: Away;
  readonly #repair: Repair;
  readonly startedMs: number;
  /** Why a member refused the store before this peer had started. */
  #refusal: string | undefined;
  #loadTimer: Timer | undefined;
  /** outside: no member of its mesh. It shows what it holds, and neither runs nor takes anything. */
  #state: 'new' | 'running' | 'outside' | 'stopping' | 'stopped' = 'new';

  private constructor(parts: {
    ports: Ports;
    options: PeerOptions;
    membership: Membership;
    identity: StoreIdentity;
    messenger: Messenger;
  }) {
    const { ports, options, membership, identity, messenger } = parts;
    const { clock, random } = ports;
    const store = new CheckedStore(ports.store);
    this.ports = ports;
    this.options = options;
    this.membership = membership;
    this.identity = identity;
    this.messenger = messenger;
    this.startedMs = clock.nowMs();
    this.sight = new Sight(membership, clock);
    const absences = new Absences({ store, clock, ttlMs: options.config.tombstone_ttl });
    this.replica = new Replica({
      store,
      identity,
      rules: { task: taskRules, key: keyRules },
      onFailed: (detail) => options.onFatal(`the store failed: ${detail}`),
      runningMs: () => absences.runningMs,
    });
    const onCopied = (why: string): void => this.refused(why);
    this.#witness = new Witness(this.replica, membership, { identity, log: options.log, onCopied });
    this.#sharing = new Sharing({
      replica: this.replica,
      messaging: messenger,
      clock,
      directory: this.sight.directory,
      requestDigest: (record) => requestDigestOf(record.header),
      isDamaged: (key) => store.isDamaged(key),
      enrich: (record, fact) => this.tasks.owner.enrich(record, fact),
    });
    this.#sync = new PartnerSync({
      replica: this.replica,
      sharing: this.#sharing,
      messaging: messenger,
      directory: this.sight.directory,
      clock,
    });
    this.#repair = this.#repairOf(store);
    this.#upkeep = this.#upkeepOf(store);
    this.away = this.#awayOf(absences);
    this.#shortage = shortageWatchOf(this);
    store.onDamaged = (key) => this.#upkeep.damaged(key);
    const onCapacity = (): void => this.tasks.capacityChanged();
    this.workers = new WorkerRegistry({ clock, random, onCapacity });
    this.tasks = new Tasks({
      clock,
      random,
      log: options.log,
      store,
      spool: ports.spool,
      messaging: messenger,
      replica: this.replica,
      sharing: this.#sharing,
      sync: this.#sync,
      view: this.sight,
      config: options.config,
      execSlots: options.config.exec ? options.slots : 0,
      workerCapacity: (type) => this.workers.capacity(type),
      directoryExists: (path) => ports.processes.directoryExists(path),
      execute: (request, demand, handlers) => this.#execute(request, demand, handlers),
      onLoad: () => this.#tellLoad(),
    });
  }

  #awayOf(absences: Absences): Away {
    const away = new Away({
      ...this,
      ...this.ports,
      log: this.options.log,
      messaging: this.messenger,
      sharing: this.#sharing,
      absences,
      runsHere: () => new Set(this.tasks.runner.runs().map(({ id }) => id)),
      changed: () => {
        this.tasks.membersChanged();
        this.#tellLoad();
      },
    });
    this.sight.isSettled = (peer) => away.isSettled(peer);
    this.messenger.refusalOf = (from, type) => away.refusalOf(from, type);
    return away;
  }

  #keeping(store: CheckedStore) {
    const { replica, sight, options } = this;
    const { directory } = sight;
    return { store, replica, sight, directory, sharing: this.#sharing, log: options.log };
  }

  #repairOf(store: CheckedStore): Repair {
    const visibility = () => this.tasks.visibility;
    return new Repair({ ...this.ports, ...this.#keeping(store), sync: this.#sync, visibility });
  }

  #upkeepOf(store: CheckedStore): Upkeep {
    const { config, onStoreRead } = this.options;
    store.onScrubbed = onStoreRead;
    const keeping = this.#keeping(store);
    return new Upkeep({
      ...keeping,
      ...this.ports,
      sync: this.#sync,
      handoff: new Handoff(keeping),
      repair: this.#repair,
      config,
    });
  }

  static async create(ports: Ports, options: PeerOptions): Promise<Result<Peer, LoadError>> {
    const identity = await StoreIdentity.load(ports.store, ports.random);
    if (!identity.ok) return identity;
    const { identity: own, clock, random, identityStore } = ports;
    const traffic = new Traffic();
    const network = metered(ports.network, traffic);
    const about = { log: options.log, self: own.peerId, refused: traffic.refused };
    const messenger = new Messenger({ network, clock, random, ...about });
    let peer: Peer | undefined;
    const membership = await Membership.load({
      clock,
      random,
      identity: own,
      network,
      traffic,
      identityStore,
      store: identity.value,
      config: options.config,
      log: options.log,
      version: options.version,
      frame: (from, frameClass, bytes) => messenger.receive(from, frameClass, bytes),
      awayNotice: (storeId) => peer?.away.noticeFor(storeId),
      onAway: (from, notice) => peer?.away.told(from, notice),
      onRefusedStore: (why) => peer?.refused(why),
      onTwin: (address) => options.onFatal(twinText(address)),
      onExpelled: () => peer?.standingChanged(),
    });
    if (!membership.ok) return err({ code: 'failed', detail: membership.error });
    const loaded = { membership: membership.value, identity: identity.value };
    peer = new Peer({ ports, options, messenger, ...loaded });
    openWays(peer, traffic.refused);
    for (const part of [peer.replica, peer.tasks]) part.load();
    await peer.#sync.load();
    return ok(peer);
  }

  async start(
    listen: { host: string; port: number },
    advertise: readonly string[],
  ): Promise<Result<number, StartError>> {
    if (this.membership.expelled !== undefined) {
      this.#state = 'outside';
      return startOutside(this, listen, advertise);
    }
    this.membership.onEvent((event) => this.#onMember(event));
    const listening = await this.membership.start(listen, [...advertise]);
    if (!listening.ok) return err({ code: listening.code, detail: listening.detail });
    this.#state = 'running';
    this.#tellLoad();
    this.away.start();
    this.#shortage.start();
    this.tasks.start();
    if (this.#refusal !== undefined) this.refused(this.#refusal);
    else this.#upkeep.start();
    if (this.#repair.damaged > 0) this.#upkeep.damaged();
    return ok(listening.port);
  }

  #onMember(event: MemberEvent): void {
    const isRouted = this.sight.note(event) || event.member.stopping;
    if (event.type === 'linked') this.away.linked(event.member.peerId);
    if (event.type === 'unlinked') this.messenger.unlinked(event.member.peerId);
    if (event.type === 'updated' || this.#state === 'stopped') {
      this.tasks.capacityChanged();
      if (!isRouted) return;
    }
    const isReturn = RETURNS.has(event.type);
    for (const part of isReturn ? [this.tasks, this.#upkeep] : []) part.memberReturned();
    if (event.isMerged) this.tasks.meshesMerged();
    if (event.type !== 'heard') this.tasks.membersChanged();
  }

  // ---- executors ------------------------------------------------------------------------------------------

  #execute(request: RunRequest, demand: Demand, handlers: RunHandlers): Execution | undefined {
    if (demandParts(demand)?.kind === 'worker') return this.workers.start(request, handlers);
    const { processes, spool, clock } = this.ports;
    const environment = {
      COVEY_PEER: this.membership.self().name,
      COVEY_SOCKET: this.options.socket,
    };
    return startExec({ processes, spool, clock, environment }, request, handlers);
  }

  load(): Load {
    return loadOf(this, this.options.config, this.options.slots);
  }

  #tellLoad(): void {
    if (this.#loadTimer !== undefined || this.#state !== 'running') return;
    this.#loadTimer = this.ports.clock.after(LOAD_INTERVAL_MS, () => {
      this.#loadTimer = undefined;
      if (this.#state === 'running' || this.#state === 'stopping') {
        this.membership.updateSelf({ load: this.load() });
      }
    });
  }

  // ---- stopping -------------------------------------------------------------------------------------------

  /**
   * An orderly stop. Attempts may end within `shutdown_timeout`; then commands are ended (interrupted: neither a
   * failure nor a loss) and workers are told to hold what they run.
   */
  async stop(timeoutMs = this.options.config.shutdown_timeout): Promise<void> {
    await this.#windDown(timeoutMs);
    await this.#close('stop');
  }

  /** The same, then every copy is handed over. Answers the ids that lie only here: then it was a stop, not a leave. */
  async leave(timeoutMs = this.options.config.shutdown_timeout): Promise<string[]> {
    // Nobody would take what it holds.
    if (this.#state === 'outside') return this.#close('stop').then(() => []);
    await this.#windDown(timeoutMs);
    const onlyHere = await handOverCopies(this.#handOverDeps(), timeoutMs);
    await this.#close(onlyHere.length === 0 ? 'leave' : 'stop');
    return onlyHere;
  }

  async #windDown(timeoutMs: number): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'stopping';
    const { clock } = this.ports;
    const { config } = this.options;
    this.tasks.stopTaking();
    this.membership.updateSelf({ stopping: true, load: this.load() });
    this.workers.announceStop(config.worker_hold);
    const { tasks } = this;
    await windDown({ clock, config, tasks, handOver: this.#handOverDeps() }, timeoutMs);
  }

  #handOverDeps(): HandOverDeps {
    return {
      clock: this.ports.clock,
      messenger: this.messenger,
      replica: this.replica,
      sharing: this.#sharing,
      sight: this.sight,
      owner: this.tasks.owner,
      copiesRequired: this.options.config.copies_required,
    };
  }

  /** From here on nothing is owned, written or acknowledged: others know this store better than it does itself. */
  refused(why: string): void {
    if (this.#state === 'new') this.#refusal = why;
    if (this.#state === 'running') this.#giveUp(why);
  }

  /** No member any more, or one again: what was taken and runs here is the mesh's, not this peer's. */
  standingChanged(): void {
    if (this.#state === 'running' || this.#state === 'outside') this.#giveUp(undefined);
  }

  #giveUp(why: string | undefined): void {
    this.#state = 'stopping';
    this.replica.close();
    this.tasks.stopTaking();
    this.options.onRenew(why);
  }

  /** Ends without handing anything over: what this peer holds and runs is not for others to rely on. */
  async abandon(): Promise<void> {
    if (this.#state !== 'stopped') await this.#close('stop');
  }

  async #close(reason: 'stop' | 'leave'): Promise<void> {
    this.#state = 'stopped';
    this.#upkeep.stop();
    this.#shortage.stop();
    this.#loadTimer?.cancel();
    this.tasks.close();
    await this.tasks.visibility.close();
    await this.membership.stop(reason);
    this.messenger.stop();
    await this.ports.processes.stop();
    this.replica.close();
    await this.away.close();
    await this.ports.store.close();
    await this.ports.identityStore.close();
  }

  /** Nothing is served any more: the stores close, and show nothing then. */
  get isClosed(): boolean {
    return this.#state === 'stopped';
  }

  /** Finals that met a concurrent final here, since the start. */
  get conflicts(): number {
    return this.#witness.conflicts;
  }

  /** What became of the store, for `system.status`. */
  storeHealth(): { damaged: number; repaired: number; former: FormerStore | undefined } {
    const { damaged, repaired } = this.#repair;
    return { damaged, repaired, former: this.identity.former };
  }

  /** For `system.status`. */
  counts(): { held: number; unfinished: number; owned: number; active: number } {
    return {
      held: this.replica.heldCount,
      unfinished: this.replica.unfinishedCount,
      owned: this.tasks.owner.ownedCount,
      active: this.tasks.runner.activeCount,
    };
  }

  requiredNow = (): number => requiredNow(this.sight, this.options.config.copies_required);
}
