/**
 * One simulated host: its disks, its machine, its spool, and one incarnation after another of the very `Peer` that
 * ships. What outlives a daemon (disks, running commands until the guardian has ended them) belongs to the host and
 * to the world's clock; everything else belongs to the incarnation and ends with it.
 */
import type { Config } from '../api/config.ts';
import type { Random } from '../base/random.ts';
import { Peer } from '../peer/peer.ts';
import { readyStore } from '../peer/renew-store.ts';
import type { Ports } from '../ports/index.ts';
import type { ByteStream, ByteStreamHandlers } from '../ports/listener.ts';
import type { RecordState } from '../records/record.ts';
import type { LoadError } from '../records/store-identity.ts';
import type { OwnedClock, SimClock, Skew } from './clock.ts';
import { commandOf, NOWHERE } from './commands.ts';
import { SimControl } from './control.ts';
import { damage, putBack, type Struck } from './damage.ts';
import { type DiskImage, SimDisk } from './disk.ts';
import type { OutsideRun, Told } from './evidence.ts';
import { Freezer } from './freezer.ts';
import { HostLog } from './host-log.ts';
import { createSimIdentity } from './identity.ts';
import type { Losses } from './losses.ts';
import type { SimNetworkHub } from './network-hub.ts';
import { readRecord, tasksOn } from './on-disk.ts';
import { SimMachine } from './processes.ts';
import { SimRandom } from './random.ts';
import { wronglyRefused } from './refusals.ts';
import type { Sightings } from './sightings.ts';
import { type SimWorker, workerBeside } from './sim-worker.ts';
import { type Speech, speaking } from './speech.ts';
import { SimSpool } from './spool.ts';
import type { Steps } from './steps.ts';
import type { TraceHash } from './trace.ts';
import { TracedClock, tracedIdentity } from './traced-ports.ts';
import { bookOfRuns, watchPeer } from './watch-peer.ts';

const PORT = 26_839;
/** Between the end of a peer and the end of its control socket, as in the daemon. */
const ANSWER_MS = 100;

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
  /** It gave its copy away: of these attempts it knows nothing any more. */
  readonly onForgotten: (host: string, runIds: ReadonlySet<string>) => void;
  readonly onFatal: (host: string, why: string) => void;
  readonly losses: Losses;
  readonly steps: Steps;
  readonly sightings: Sightings;
  /** Daemons have a control socket. */
  readonly sockets: boolean;
}

/** starting and stopping may last; a crash may come in the middle of either. */
export type HostState = 'down' | 'starting' | 'up' | 'stopping';

export class SimHost {
  readonly name: string;
  readonly address: string;
  readonly peerId: string;
  readonly #log: HostLog;
  readonly disk: SimDisk;
  readonly #deps: HostDeps;
  readonly #identity;
  readonly #identityDisk: SimDisk;
  readonly machine: SimMachine;
  readonly spool: SimSpool;
  #boot = 0;
  #state: HostState = 'down';
  #peer: Peer | undefined;
  #worker: SimWorker | undefined;
  #freezer: Freezer | undefined;
  #clock: OwnedClock | undefined;
  #control: SimControl | undefined;
  readonly #clockNow: { wallOffsetMs: number; rate: number } = { wallOffsetMs: 0, rate: 1 };
  /** Where its daemon listens from its next start on; at the address of the host, if nothing is said. */
  bind: string | undefined;
  /** Of a later version, from the next start on. */
  speech: Speech | undefined;
  /** What the daemon speaks that was started last. */
  spoken: Speech | undefined;
  #frozenMs = 0;
  #steadyMs = 0;

  constructor(index: number, deps: HostDeps) {
    const { clock, trace, seed } = deps;
    this.name = `h${index + 1}`;
    this.address = `127.77.0.${index + 1}`;
    this.#deps = deps;
    this.#log = new HostLog(this.name, clock);
    this.#identity = createSimIdentity(`${this.name} ${seed}`);
    this.peerId = this.#identity.peerId;
    const random = (what: string) =>
      new SimRandom(`${what} of ${this.name} ${seed}`, trace.for(`${this.name}/${what}`));
    const diskOf = (drawn: string, traced: string): SimDisk => {
      const at = trace.for(`${this.name}/${traced}`);
      return new SimDisk({ clock, random: random(drawn), syncMsMax: deps.diskMsMax, trace: at });
    };
    this.#identityDisk = diskOf('identity disk', 'identity');
    this.disk = diskOf('disk', 'store');
    this.disk.onRefused = (ops) => {
      const what = wronglyRefused(this.disk, ops);
      if (what !== undefined) deps.steps.violate('refused_end', `${this.name} refused ${what}`);
    };
    this.machine = new SimMachine({
      clock,
      random: random('machine'),
      trace: trace.for(`${this.name}/machine`),
      run: commandOf,
      onChange: bookOfRuns(this.name, deps.onRun),
    });
    this.machine.missingDirectories.add(NOWHERE);
    this.spool = new SimSpool(trace.for(`${this.name}/spool`));
  }

  /** Task records as they lie on the disk; no call of the port, so it leaves no trace. */
  records(): RecordState[] {
    return tasksOn(this.disk);
  }

  /** One of them, as `records`. */
  durable(id: string): RecordState | undefined {
    return readRecord(`r/${id}`, this.disk.read().get(`r/${id}`));
  }

  readonly isBuried = (id: string): boolean => this.disk.read().get(`t/${id}`) !== undefined;
  readonly isAside = (id: string): boolean => this.disk.read().get(`q/${id}`) !== undefined;

  get log(): readonly string[] {
    return this.#log.lines;
  }

  get state(): HostState {
    return this.#state;
  }

  get boot(): number {
    return this.#boot;
  }

  /** Its daemon runs since then; infinite while it does not. */
  get runsSinceMs(): number {
    return this.#state === 'up' && !this.isFrozen ? this.#steadyMs : Number.POSITIVE_INFINITY;
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
    this.#clock = clock.forOwner(this.#tag, { ...this.#clockNow, ...skew });
    const freezer = new Freezer(this.#clock);
    this.#freezer = freezer;
    this.spoken = this.speech;
    const ownClock = new TracedClock(freezer.clock(), trace.for(this.#tag));
    const ports: Ports = {
      clock: ownClock,
      random: new SimRandom(`${this.#tag} ${seed}`, trace.for(this.#tag)),
      identity: tracedIdentity(this.#identity, trace.for(this.#tag)),
      network: this.#deps.sightings.heed(
        freezer.network(speaking(this.speech, hub.createNetwork(this.#identity, ownClock))),
      ),
      identityStore: freezer.store(this.#identityDisk.openStore()),
      store: freezer.store(this.disk.openStore()),
      processes: freezer.processes(this.machine.openProcesses()),
      spool: this.spool,
    };
    const log = this.#log;
    const { tombstone_ttl: tombstoneTtlMs } = config;
    const ready = await readyStore(ports, { refusal, log, tombstoneTtlMs });
    if (!ready.ok) return this.#didNotStart(ready.error);
    const created = await Peer.create(ports, {
      config: { ...config, name: this.name },
      log,
      version: 'sim',
      slots,
      socket: `/run/${this.name}`,
      onFatal: (why) => this.#deps.onFatal(this.name, why),
      onRenew: (why) => this.#deps.clock.after(0, () => void this.#renew(boot, why)),
    });
    if (!created.ok) return this.#didNotStart(created.error);
    const peer = created.value;
    this.#peer = peer;
    watchPeer(peer, this.name, boot, this.#deps);
    const control = this.#deps.sockets ? this.#createControl(peer, freezer) : undefined;
    const started = await peer.start({ host: this.bind ?? this.address, port: PORT }, []);
    if (!started.ok) throw new Error(`${this.name} did not start: ${started.error.detail}`);
    await control?.open();
    this.#control = control;
    this.#state = 'up';
    this.#steadyMs = this.#deps.clock.nowMs();
    this.#worker = workerBeside(peer, this.name, freezer, this.#deps);
    return true;
  }

  #createControl(peer: Peer, freezer: Freezer): SimControl {
    const { clock, trace, seed } = this.#deps;
    const name = `${this.#tag}/socket`;
    return new SimControl({
      peer,
      clock,
      random: new SimRandom(`${name} ${seed}`, trace.for(name)),
      freezer,
      log: this.#log,
      path: `/run/${this.name}`,
      trace: trace.for(name),
      leave: (timeoutMs) => this.leave(timeoutMs),
    });
  }

  /** A local program connects to the control socket; undefined: nobody listens. */
  connect(handlers: ByteStreamHandlers): ByteStream | undefined {
    return this.#control?.connect(handlers);
  }

  #didNotStart({ code, detail }: LoadError): boolean {
    this.#log.log('error', 'did not start', { code, why: detail });
    const isTroubled = this.disk.isTroubled || this.#identityDisk.isTroubled;
    if (code !== 'corrupt' && !isTroubled)
      throw new Error(`${this.name} was not created: ${detail}`);
    this.crash();
    // The daemon sets such a store aside, and begins with an empty one.
    if (code === 'corrupt') this.putBack([]);
    return false;
  }

  /** The daemon makes its store another one, as the mesh demands, or is no member any more, and goes on with that. */
  async #renew(boot: number, why: string | undefined): Promise<void> {
    const peer = this.#peer;
    if (this.#state !== 'up' || this.#boot !== boot || peer === undefined) return;
    this.#deps.trace.add(`${this.name} renew`, [boot, why ?? 'standing']);
    if (why !== undefined) this.#deps.steps.refused(this.name, why, peer.identity.storeId);
    this.#state = 'stopping';
    await peer.abandon();
    this.#end();
    if (!(await this.start(why))) this.startLater();
  }

  startLater(): void {
    this.#deps.clock.after(1_000, () => {
      if (this.#state !== 'down') return;
      void this.start().then((isUp) => {
        if (!isUp) this.startLater();
      });
    });
  }

  get #struck(): Struck {
    return { host: this.name, disk: this.disk, losses: this.#deps.losses };
  }

  /** Other contents of its disk while it is down. */
  putBack(image: DiskImage): void {
    putBack(this.#struck, image);
  }

  /** One bit of what lies on its disk turns. */
  flipBit(random: Random): boolean {
    return this.#damage('flip', () => this.disk.flipBit(random));
  }

  /** Right after a crash: a value of the write that was under way is torn. */
  tearWrite(random: Random): boolean {
    return this.#damage('tear', () => this.disk.tear(random));
  }

  #damage(how: string, strike: () => string | undefined): boolean {
    const key = damage(this.#struck, strike);
    this.#deps.trace.add(`${this.name} ${how}`, [key]);
    return key !== undefined;
  }

  /** kill -9. */
  crash(): void {
    if (this.#state === 'down') throw new Error(`${this.name} is down`);
    this.#deps.trace.add(`${this.name} crash`, [this.#boot]);
    this.#deps.hub.crash(this.peerId);
    this.disk.crash();
    this.#identityDisk.crash();
    this.machine.crashDaemon();
    this.#end();
  }

  /** Sets the clock of the host, now and for later starts. */
  setClock(how: { readonly wallOffsetMs?: number; readonly rate?: number }): void {
    Object.assign(this.#clockNow, how);
    if (how.wallOffsetMs !== undefined && this.#clock) this.#clock.wallOffsetMs = how.wallOffsetMs;
    if (how.rate !== undefined) this.#clock?.setRate(how.rate);
    this.#deps.trace.add(`${this.name} clock`, [JSON.stringify(how)]);
  }

  /** The host sleeps, with its commands. */
  suspend(): void {
    this.freeze();
    this.machine.suspend();
  }

  resume(): void {
    this.machine.resume();
    this.thaw();
  }

  get isFrozen(): boolean {
    return this.#freezer?.isFrozen === true;
  }

  /** SIGSTOP of the daemon; its commands run on. */
  freeze(): void {
    if (this.#state === 'down' || this.isFrozen) throw new Error(`${this.name} is not running`);
    this.#deps.trace.add(`${this.name} freeze`, [this.#boot]);
    this.#freezer?.freeze();
    this.#frozenMs = this.#deps.clock.nowMs();
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.#deps.trace.add(`${this.name} thaw`, [this.#boot]);
    this.#freezer?.thaw();
    this.#steadyMs = this.#deps.clock.nowMs();
    this.#deps.steps.thawed(this.name, this.#deps.clock.nowMs() - this.#frozenMs);
  }

  /** SIGTERM: resolves when the daemon has ended; never, when it is killed meanwhile. */
  async stop(): Promise<void> {
    await this.#windDown('stop', (peer) => peer.stop().then(() => []));
  }

  /** `covey leave`: answers the ids that lie only here, when the daemon has as good as ended. */
  leave(timeoutMs?: number): Promise<string[]> {
    if (this.#state !== 'up') return Promise.resolve([]);
    return this.#windDown('leave', (peer) => peer.leave(timeoutMs));
  }

  async #windDown(how: string, end: (peer: Peer) => Promise<string[]>): Promise<string[]> {
    const peer = this.#peer;
    const boot = this.#boot;
    if (this.#state !== 'up' || peer === undefined)
      throw new Error(`${this.name} is ${this.#state}`);
    this.#deps.trace.add(`${this.name} ${how}`, [boot]);
    this.#state = 'stopping';
    this.#control?.stopTaking();
    const onlyHere = await end(peer);
    if (this.#control === undefined) this.#end();
    else {
      this.#deps.clock.after(ANSWER_MS, () => {
        if (this.#boot === boot && this.#state === 'stopping') this.#end();
      });
    }
    return onlyHere;
  }

  #end(): void {
    this.#freezer?.kill();
    this.#control?.die();
    this.#control = undefined;
    this.#deps.clock.dropOwner(this.#tag);
    this.#worker?.die();
    this.#worker = undefined;
    this.#peer = undefined;
    this.#deps.steps.ended(this.name);
    this.#state = 'down';
  }
}
