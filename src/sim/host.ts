/**
 * One simulated host: its disks, its machine, its spool, and one incarnation after another of the very `Peer` that
 * ships. What outlives a daemon (disks, running commands until the guardian has ended them) belongs to the host and
 * to the world's clock; everything else belongs to the incarnation and ends with it.
 */
import type { Config } from '../api/config.ts';
import type { Random } from '../base/random.ts';
import type { LogFields, Logger, LogLevel } from '../base/telemetry.ts';
import { HANDLER_FAILED } from '../peer/messenger.ts';
import { Peer } from '../peer/peer.ts';
import { renewStore } from '../peer/renew-store.ts';
import type { Ports } from '../ports/index.ts';
import { prefixEnd } from '../ports/store.ts';
import { clockOf, factsBeyond, type RecordState } from '../records/record.ts';
import type { LoadError } from '../records/store-identity.ts';
import { taskOf } from '../tasks/task.ts';
import type { OwnedClock, SimClock, Skew } from './clock.ts';
import { commandOf } from './commands.ts';
import { type DiskImage, SimDisk } from './disk.ts';
import { noteDestroyed, type OutsideRun, type ShownFinal, type Told } from './evidence.ts';
import { Freezer } from './freezer.ts';
import { createSimIdentity } from './identity.ts';
import type { SimNetworkHub } from './network-hub.ts';
import { lostBy, readRecord, storeOn } from './on-disk.ts';
import { SimMachine } from './processes.ts';
import { SimRandom } from './random.ts';
import { SimWorker } from './sim-worker.ts';
import { SimSpool } from './spool.ts';
import type { Actor, Steps } from './steps.ts';
import type { TraceHash } from './trace.ts';
import { TracedClock, tracedIdentity } from './traced-ports.ts';

const PORT = 26_839;
/** Lines of each host kept for a report. */
const LOG_LINES_MAX = 2_000;

export interface HostDeps {
  readonly clock: SimClock;
  readonly hub: SimNetworkHub;
  readonly trace: TraceHash;
  readonly seed: string;
  readonly config: Config;
  readonly slots: number;
  readonly workers: number;
  readonly skew: Skew;
  /** The longest sync of its disks. */
  readonly diskMsMax: number;
  readonly onRun: (run: OutsideRun) => void;
  readonly onTold: (told: Told) => void;
  /** The store of this host knows now that the attempt was placed. */
  readonly onKnown: (host: string, runId: string) => void;
  readonly onFatal: (host: string, why: string) => void;
  /** By record: stores whose copy of it a fault destroyed. */
  readonly destroyed: Map<string, Set<string>>;
  readonly steps: Steps;
}

/** starting and stopping may last; a crash may come in the middle of either. */
export type HostState = 'down' | 'starting' | 'up' | 'stopping';

export class SimHost {
  readonly name: string;
  readonly address: string;
  readonly peerId: string;
  readonly log: string[] = [];
  readonly disk: SimDisk;
  readonly #deps: HostDeps;
  readonly #identity;
  readonly #identityDisk: SimDisk;
  readonly #machine: SimMachine;
  readonly #spool: SimSpool;
  #boot = 0;
  #state: HostState = 'down';
  #peer: Peer | undefined;
  #worker: SimWorker | undefined;
  #freezer: Freezer | undefined;
  #clock: OwnedClock | undefined;
  #wallOffsetMs = 0;
  #frozenMs = 0;
  /** Its daemon runs since then; infinite while it does not. */
  runsSinceMs = Number.POSITIVE_INFINITY;

  constructor(index: number, deps: HostDeps) {
    const { clock, trace, seed } = deps;
    this.name = `h${index + 1}`;
    this.address = `127.77.0.${index + 1}`;
    this.#deps = deps;
    this.#identity = createSimIdentity(`${this.name} ${seed}`);
    this.peerId = this.#identity.peerId;
    const random = (what: string) =>
      new SimRandom(`${what} of ${this.name} ${seed}`, trace.for(`${this.name}/${what}`));
    this.#identityDisk = new SimDisk({
      clock,
      random: random('identity disk'),
      syncMsMax: deps.diskMsMax,
      trace: trace.for(`${this.name}/identity`),
    });
    this.disk = new SimDisk({
      clock,
      random: random('disk'),
      syncMsMax: deps.diskMsMax,
      trace: trace.for(`${this.name}/store`),
    });
    const runs = new Map<string, OutsideRun>();
    this.#machine = new SimMachine({
      clock,
      random: random('machine'),
      trace: trace.for(`${this.name}/machine`),
      run: commandOf,
      onChange: ({ runId, request, startedMs, endedMs, exitCode }) => {
        const known = runs.get(runId);
        if (known !== undefined) {
          known.endedMs = endedMs;
          known.exitCode = exitCode;
          return;
        }
        const run: OutsideRun = {
          taskId: request.env.COVEY_TASK_ID ?? '',
          attempt: Number(request.env.COVEY_ATTEMPT),
          runId,
          host: this.name,
          kind: 'exec',
          startedMs,
          endedMs,
          exitCode,
        };
        runs.set(runId, run);
        deps.onRun(run);
      },
    });
    this.#spool = new SimSpool(trace.for(`${this.name}/spool`));
  }

  /** Task records as they lie on the disk; no call of the port, so it leaves no trace. */
  records(): RecordState[] {
    return this.disk
      .read()
      .range('r/', prefixEnd('r/'), Number.MAX_SAFE_INTEGER, false)
      .map(([key, value]) => readRecord(key, value))
      .filter((record) => record?.kind === 'task') as RecordState[];
  }

  /** One of them, as `records`. */
  durable(id: string): RecordState | undefined {
    return readRecord(`r/${id}`, this.disk.read().get(`r/${id}`));
  }

  isBuried(id: string): boolean {
    return this.disk.read().get(`t/${id}`) !== undefined;
  }

  get state(): HostState {
    return this.#state;
  }

  get boot(): number {
    return this.#boot;
  }

  /** As the mesh counts them: a store made another one counts anew. */
  get bootCount(): number | undefined {
    return this.peer?.identity.bootCount;
  }

  /** The running peer; undefined while the daemon does not run. */
  get peer(): Peer | undefined {
    return this.#state === 'up' || this.#state === 'stopping' ? this.#peer : undefined;
  }

  get #tag(): string {
    return `${this.name}#${this.#boot}`;
  }

  /**
   * Starts the daemon; does not resolve when it is killed meanwhile. False: it found its disk full or broken, said so
   * and ended, and whoever looks after it starts it again. With `refusal` its store gets another id first.
   */
  async start(refusal?: string): Promise<boolean> {
    if (this.#state !== 'down') throw new Error(`${this.name} is ${this.#state}`);
    const { clock, hub, trace, seed, config, slots, skew } = this.#deps;
    this.#state = 'starting';
    this.#boot += 1;
    const boot = this.#boot;
    trace.add(`${this.name} start`, [boot]);
    this.#clock = clock.forOwner(this.#tag, { wallOffsetMs: this.#wallOffsetMs, ...skew });
    const freezer = new Freezer(this.#clock);
    this.#freezer = freezer;
    const ownClock = new TracedClock(freezer.clock(), trace.for(this.#tag));
    const ports: Ports = {
      clock: ownClock,
      random: new SimRandom(`${this.#tag} ${seed}`, trace.for(this.#tag)),
      identity: tracedIdentity(this.#identity, trace.for(this.#tag)),
      network: freezer.network(hub.createNetwork(this.#identity, ownClock)),
      identityStore: freezer.store(this.#identityDisk.openStore()),
      store: freezer.store(this.disk.openStore()),
      processes: freezer.processes(this.#machine.openProcesses()),
      spool: this.#spool,
    };
    const log: Logger = { log: (level, message, fields) => this.#note(level, message, fields) };
    if (refusal !== undefined) {
      const { tombstone_ttl: tombstoneTtlMs } = config;
      const renewed = await renewStore(ports, { why: refusal, log, tombstoneTtlMs });
      if (!renewed.ok) return this.#didNotStart(renewed.error);
    }
    const created = await Peer.create(ports, {
      config: { ...config, name: this.name },
      log,
      version: 'sim',
      slots,
      socket: `/run/${this.name}`,
      onFatal: (why) => this.#deps.onFatal(this.name, why),
      onRefused: (why) => this.#deps.clock.after(0, () => void this.#renew(boot, why)),
    });
    if (!created.ok) return this.#didNotStart(created.error);
    const peer = created.value;
    this.#peer = peer;
    this.#listenTo(peer, boot);
    const started = await peer.start({ host: this.address, port: PORT }, []);
    if (!started.ok) throw new Error(`${this.name} did not start: ${started.error.detail}`);
    this.#state = 'up';
    this.runsSinceMs = this.#deps.clock.nowMs();
    this.#startWorker(peer, freezer);
    return true;
  }

  #didNotStart({ code, detail }: LoadError): boolean {
    this.#note('error', 'did not start', { code, why: detail });
    const isTroubled = this.disk.isTroubled || this.#identityDisk.isTroubled;
    if (code !== 'corrupt' && !isTroubled)
      throw new Error(`${this.name} was not created: ${detail}`);
    this.crash();
    // The daemon sets such a store aside, and begins with an empty one.
    if (code === 'corrupt') this.putBack([]);
    return false;
  }

  /** The daemon makes its store another one, as the mesh demands, and goes on with that. */
  async #renew(boot: number, why: string): Promise<void> {
    const peer = this.#peer;
    if (this.#state !== 'up' || this.#boot !== boot || peer === undefined) return;
    this.#deps.trace.add(`${this.name} renew`, [boot, why]);
    this.#deps.steps.refused(this.name, why);
    this.#state = 'stopping';
    await peer.abandon();
    this.#end();
    if (!(await this.start(why))) this.#startLater();
  }

  #startLater(): void {
    this.#deps.clock.after(1_000, () => {
      if (this.#state !== 'down') return;
      void this.start().then((isUp) => {
        if (!isUp) this.#startLater();
      });
    });
  }

  /** Other contents of its disk while it is down; what that destroys is noted. */
  putBack(image: DiskImage): void {
    const lost = lostBy(this.disk, image);
    for (const id of lost) noteDestroyed(this.#deps.destroyed, id, storeOn(this.disk));
    this.disk.restore(image);
  }

  /** One bit of what lies on its disk turns. */
  flipBit(random: Random): boolean {
    const store = storeOn(this.disk);
    const key = this.disk.flipBit(random);
    this.#deps.trace.add(`${this.name} flip`, [key]);
    if (key?.startsWith('r/') || key?.startsWith('b/'))
      noteDestroyed(this.#deps.destroyed, key.slice(2), store);
    return key !== undefined;
  }

  #startWorker(peer: Peer, freezer: Freezer): void {
    if (this.#deps.workers > 0) {
      this.#worker = new SimWorker({
        clock: this.#deps.clock,
        host: this.name,
        note: this.#deps.onRun,
        pass: freezer.pass,
      });
      this.#worker.register(peer, this.#deps.workers);
    }
  }

  /** Notes what this incarnation shows of each task, when that changes. */
  #listenTo(peer: Peer, boot: number): void {
    const { steps } = this.#deps;
    const actor: Actor = {
      host: this.name,
      storeId: peer.identity.storeId,
      shown: new Map(),
      finished: new Set(),
      minoritySinceMs: undefined,
    };
    peer.membership.onEvent(() => {
      const statuses = peer.membership.members().map(({ status }) => status);
      steps.members(actor, statuses);
    });
    peer.replica.onGone((record) => steps.gone(actor, record));
    peer.replica.onVisible((after, before) => {
      steps.visible(actor, after, before);
      for (const { value } of factsBeyond(after, before === undefined ? {} : clockOf(before)))
        if (value.t === 'start') this.#deps.onKnown(this.name, String(value.run_id));
    });
    const shown = new Map<string, string>();
    peer.tasks.visibility.onTold((id) => {
      const record = peer.tasks.visibility.get(id);
      if (record === undefined || record.kind !== 'task') return;
      const { final, conflicts } = taskOf(record);
      const shownFinal: ShownFinal | undefined =
        final === undefined
          ? undefined
          : { state: final.state, runId: final.run_id, digest: final.digest };
      const text = JSON.stringify([shownFinal, conflicts]);
      if (shown.get(id) === text) return;
      shown.set(id, text);
      if (final !== undefined) steps.told(actor, id);
      const atMs = this.#deps.clock.nowMs();
      this.#deps.onTold({ atMs, host: this.name, boot, id, final: shownFinal, conflicts });
    });
  }

  #note(level: LogLevel, message: string, fields: LogFields = {}): void {
    const at = this.#deps.clock.nowMs().toFixed(1).padStart(9);
    this.log.push(`${at} ${this.name} ${level} ${message} ${JSON.stringify(fields)}`);
    if (this.log.length > LOG_LINES_MAX) this.log.shift();
    const [, dead] = /^(\w+) is dead$/.exec(message) ?? [];
    if (dead !== undefined && String(fields.evidence).startsWith('not heard for'))
      this.#deps.steps.convicted(this.name, dead);
    if (message !== HANDLER_FAILED) return;
    // On a host it is a line in the log; here it is a mistake that was found.
    this.#deps.clock.after(0, () => {
      throw new Error(`${message}: ${fields.type}: ${fields.error}`);
    });
  }

  /** kill -9. */
  crash(): void {
    if (this.#state === 'down') throw new Error(`${this.name} is down`);
    this.#deps.trace.add(`${this.name} crash`, [this.#boot]);
    this.#deps.hub.crash(this.peerId);
    this.disk.crash();
    this.#identityDisk.crash();
    this.#machine.crashDaemon();
    this.#end();
  }

  /** Sets the wall clock of the host, now and for later starts. */
  setWallOffset(offsetMs: number): void {
    this.#wallOffsetMs = offsetMs;
    if (this.#clock !== undefined) this.#clock.wallOffsetMs = offsetMs;
    this.#deps.trace.add(`${this.name} clock`, [offsetMs]);
  }

  get isFrozen(): boolean {
    return this.#freezer?.isFrozen === true;
  }

  /** SIGSTOP of the daemon; its commands run on. */
  freeze(): void {
    if (this.#state === 'down' || this.isFrozen) throw new Error(`${this.name} is not running`);
    this.#deps.trace.add(`${this.name} freeze`, [this.#boot]);
    this.#freezer?.freeze();
    this.runsSinceMs = Number.POSITIVE_INFINITY;
    this.#frozenMs = this.#deps.clock.nowMs();
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.#deps.trace.add(`${this.name} thaw`, [this.#boot]);
    this.#freezer?.thaw();
    this.runsSinceMs = this.#deps.clock.nowMs();
    this.#deps.steps.thawed(this.name, this.#deps.clock.nowMs() - this.#frozenMs);
  }

  /** SIGTERM: resolves when the daemon has ended; never, when it is killed meanwhile. */
  async stop(): Promise<void> {
    const peer = this.#peer;
    if (this.#state !== 'up' || peer === undefined)
      throw new Error(`${this.name} is ${this.#state}`);
    this.#deps.trace.add(`${this.name} stop`, [this.#boot]);
    this.#state = 'stopping';
    this.runsSinceMs = Number.POSITIVE_INFINITY;
    await peer.stop();
    this.#end();
  }

  #end(): void {
    this.#freezer?.kill();
    this.runsSinceMs = Number.POSITIVE_INFINITY;
    this.#deps.clock.dropOwner(this.#tag);
    this.#worker?.die();
    this.#worker = undefined;
    this.#peer = undefined;
    this.#deps.steps.ended(this.name);
    this.#state = 'down';
  }
}
