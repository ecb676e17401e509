/**
 * One simulated host: its disks, its machine, its spool, and one incarnation after another of the very `Peer` that
 * ships. What outlives a daemon (disks, running commands until the guardian has ended them) belongs to the host and
 * to the world's clock; everything else belongs to the incarnation and ends with it.
 */
import type { Config } from '../api/config.ts';
import type { LogFields, LogLevel } from '../base/telemetry.ts';
import { HANDLER_FAILED } from '../peer/messenger.ts';
import { Peer } from '../peer/peer.ts';
import { prefixEnd } from '../ports/store.ts';
import { clockOf, decodeRecordBytes, factsBeyond, type RecordState } from '../records/record.ts';
import { taskOf } from '../tasks/task.ts';
import type { OwnedClock, SimClock, Skew } from './clock.ts';
import { commandOf } from './commands.ts';
import { SimDisk } from './disk.ts';
import type { OutsideRun, ShownFinal, Told } from './evidence.ts';
import { Freezer } from './freezer.ts';
import { createSimIdentity } from './identity.ts';
import type { SimNetworkHub } from './network-hub.ts';
import { SimMachine } from './processes.ts';
import { SimRandom } from './random.ts';
import { SimWorker } from './sim-worker.ts';
import { SimSpool } from './spool.ts';
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
      .map(([, value]) => decodeRecordBytes(value))
      .filter((record) => record?.kind === 'task') as RecordState[];
  }

  get state(): HostState {
    return this.#state;
  }

  get boot(): number {
    return this.#boot;
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
   * and ended, and whoever looks after it starts it again.
   */
  async start(): Promise<boolean> {
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
    const created = await Peer.create(
      {
        clock: ownClock,
        random: new SimRandom(`${this.#tag} ${seed}`, trace.for(this.#tag)),
        identity: tracedIdentity(this.#identity, trace.for(this.#tag)),
        network: freezer.network(hub.createNetwork(this.#identity, ownClock)),
        identityStore: freezer.store(this.#identityDisk.openStore()),
        store: freezer.store(this.disk.openStore()),
        processes: freezer.processes(this.#machine.openProcesses()),
        spool: this.#spool,
      },
      {
        config: { ...config, name: this.name },
        log: { log: (level, message, fields) => this.#note(level, message, fields) },
        version: 'sim',
        slots,
        socket: `/run/${this.name}`,
        onFatal: (why) => this.#deps.onFatal(this.name, why),
      },
    );
    if (!created.ok) return this.#didNotStart(created.error);
    const peer = created.value;
    this.#peer = peer;
    this.#listenTo(peer, boot);
    const started = await peer.start({ host: this.address, port: PORT }, []);
    if (!started.ok) throw new Error(`${this.name} did not start: ${started.error.detail}`);
    this.#state = 'up';
    this.#startWorker(peer, freezer);
    return true;
  }

  #didNotStart(why: string): boolean {
    this.#note('error', 'did not start', { why });
    if (!this.disk.isTroubled && !this.#identityDisk.isTroubled)
      throw new Error(`${this.name} was not created: ${why}`);
    this.crash();
    return false;
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
    peer.replica.onVisible((after, before) => {
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
      const atMs = this.#deps.clock.nowMs();
      this.#deps.onTold({ atMs, host: this.name, boot, id, final: shownFinal, conflicts });
    });
  }

  #note(level: LogLevel, message: string, fields: LogFields = {}): void {
    const at = this.#deps.clock.nowMs().toFixed(1).padStart(9);
    this.log.push(`${at} ${this.name} ${level} ${message} ${JSON.stringify(fields)}`);
    if (this.log.length > LOG_LINES_MAX) this.log.shift();
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
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.#deps.trace.add(`${this.name} thaw`, [this.#boot]);
    this.#freezer?.thaw();
  }

  /** SIGTERM: resolves when the daemon has ended; never, when it is killed meanwhile. */
  async stop(): Promise<void> {
    const peer = this.#peer;
    if (this.#state !== 'up' || peer === undefined)
      throw new Error(`${this.name} is ${this.#state}`);
    this.#deps.trace.add(`${this.name} stop`, [this.#boot]);
    this.#state = 'stopping';
    await peer.stop();
    this.#end();
  }

  #end(): void {
    this.#freezer?.kill();
    this.#deps.clock.dropOwner(this.#tag);
    this.#worker?.die();
    this.#worker = undefined;
    this.#peer = undefined;
    this.#state = 'down';
  }
}
