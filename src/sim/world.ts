/**
 * A whole mesh in one thread and in virtual time: hosts that run the very `Peer` that ships, on simulated ports, all
 * drawn from one seed. Between two events every promise has run; a crash comes between events, which is where a
 * process can be killed as far as anybody outside can tell: what it wrote and sent until then went through ports.
 *
 * Use it inside `run`, which sets the traps for real time and real randomness. What the world noted from outside is
 * `evidence()`; the checkers judge it.
 */
import { type Config, type ConfigInput, configSchema } from '../api/config.ts';
import { type SubmitInput, submitSchema } from '../api/task.ts';
import type { Peer } from '../peer/peer.ts';
import { taskOf } from '../tasks/task.ts';
import { SimClock, type Skew } from './clock.ts';
import type { Asking, Cut, Evidence, OutsideRun, Replicated, Submitted, Told } from './evidence.ts';
import { evidenceOf } from './evidence-of.ts';
import { gather, isWhole } from './gathering.ts';
import { SimHost } from './host.ts';
import { inTouchForMs } from './in-touch.ts';
import { Knowledge } from './knowledge.ts';
import { Losses } from './losses.ts';
import { SimNetworkHub } from './network-hub.ts';
import type { About } from './odd-tasks.ts';
import { pendingOf } from './pending.ts';
import { SimRandom } from './random.ts';
import { Sightings } from './sightings.ts';
import { Steps } from './steps.ts';
import { TraceHash } from './trace.ts';
import { trapGlobals } from './traps.ts';
import { Wires } from './wires.ts';

export interface WorldOptions {
  readonly seed: string;
  readonly peers: number;
  readonly config?: ConfigInput;
  /** Commands at once on each host. */
  readonly slots?: number;
  /** Tasks at once of the worker beside each daemon; 0: no worker. */
  readonly workers?: number;
  /** Of the network, one way. */
  readonly delayMs?: { readonly min: number; readonly max: number };
  /** The longest sync of a disk. */
  readonly diskMsMax?: number;
  /** Daemons have a control socket. */
  readonly sockets?: boolean;
  /** How each host's clock differs. */
  readonly skews?: readonly Skew[];
  /** Told of every traced event; only for looking into a run. */
  readonly listen?: (count: number, event: string, args: readonly unknown[]) => void;
}

/** Of a client, at one peer. */
export interface Waiting {
  readonly host: string;
  readonly boot: number;
  readonly id: string;
  /** Digest of what it was told. */
  told: { readonly state: string; readonly runId: string } | undefined;
}

const STEP_MS = 250;
const DISK_MS_MAX = 3;
export class World {
  readonly seed: string;
  readonly clock: SimClock;
  readonly hub: SimNetworkHub;
  readonly trace: TraceHash;
  readonly hosts: SimHost[];
  readonly #options: WorldOptions;
  readonly #config: Config;
  /** Of the mesh, since all have joined. */
  #meshId = '';
  readonly wires: Wires;
  /** Judged when they are made. */
  readonly steps = new Steps({
    disks: () => this.hosts,
    observers: () => this.#config.observers,
    nowMs: () => this.clock.nowMs(),
    isIntact: (id) => (id === undefined ? this.losses.areNone : !this.losses.destroyed.has(id)),
    inTouchForMs: (a, b) => inTouchForMs(this, a, b),
  });
  readonly sightings: Sightings;
  readonly submits: Submitted[] = [];
  readonly runs: OutsideRun[] = [];
  readonly told: Told[] = [];
  /** Called from inside the peer: may set timers of the world, no more. */
  onTold: ((told: Told) => void) | undefined;
  /** Called when a restarted daemon serves clients again; it has linked to nobody yet. */
  onUp: ((i: number) => void) | undefined;
  readonly asking: Asking[] = [];
  readonly waits: Waiting[] = [];
  readonly knowledge = new Knowledge();
  /** By host: when its disk got other contents last. */
  readonly replacedMs = new Map<string, number>();
  readonly fatals: { host: string; why: string }[] = [];
  readonly cuts: Cut[] = [];
  readonly losses = new Losses(() => this.hosts);
  /** What clients and faults did, for a story; `about` is a task. */
  readonly journal: { readonly atMs: number; readonly text: string; readonly about?: string }[] =
    [];
  /** The faults have ended: nothing may strike any more. */
  isOver = false;

  constructor(options: WorldOptions) {
    const { seed } = options;
    this.seed = seed;
    this.trace = new TraceHash(options.listen);
    this.trace.add('world', [JSON.stringify({ ...options, listen: undefined })]);
    this.clock = new SimClock(this.trace.for('clock'));
    this.hub = new SimNetworkHub({
      clock: this.clock,
      random: new SimRandom(`hub ${seed}`, this.trace.for('hub')),
      trace: this.trace.for('net'),
      isGossipPassedOn: options.config?.max_connections !== undefined,
      ...(options.delayMs === undefined ? {} : { delayMs: options.delayMs }),
    });
    this.sightings = new Sightings(this.clock, (detail) =>
      this.steps.violate('wrong_edge', detail),
    );
    this.wires = new Wires(this.hub, this.trace, (i) => this.host(i).peerId);
    this.losses.onReplaced = (host, kept) => {
      this.knowledge.replaced(host, kept, this.clock.nowMs());
      this.replacedMs.set(host, this.clock.nowMs());
    };
    this.#config = configSchema.parse(options.config ?? {});
    this.#options = options;
    this.hosts = [];
    for (let i = 0; i < options.peers; i++) this.addHost();
  }

  /** One more host, whose daemon has never run; answers its number. */
  addHost(): number {
    const { seed, slots, workers, skews, diskMsMax, sockets } = this.#options;
    const i = this.hosts.length;
    const host = new SimHost(i, {
      clock: this.clock,
      hub: this.hub,
      trace: this.trace,
      seed,
      config: this.#config,
      slots: slots ?? 2,
      workers: workers ?? 0,
      skew: skews?.[i] ?? {},
      diskMsMax: diskMsMax ?? DISK_MS_MAX,
      onRun: (run) => {
        this.runs.push(run);
        this.steps.started(run.host, run.taskId, run.runId);
      },
      onTold: (told) => {
        this.told.push(told);
        this.onTold?.(told);
      },
      onKnown: (name, runId) => this.knowledge.learned(name, runId, this.clock.nowMs()),
      onForgotten: (name, runIds) => this.knowledge.forgot(name, runIds, this.clock.nowMs()),
      onFatal: (name, why) => this.#fatal(name, why),
      losses: this.losses,
      steps: this.steps,
      sightings: this.sightings,
      sockets: sockets ?? false,
    });
    this.hosts.push(host);
    return i;
  }

  note(text: string, about?: string): void {
    const atMs = this.clock.nowMs();
    this.journal.push(about === undefined ? { atMs, text } : { atMs, text, about });
  }

  /** Runs a story with the traps set; they are gone afterwards, whatever happens. */
  async run<T>(story: () => Promise<T>): Promise<T> {
    const release = trapGlobals();
    try {
      return await story();
    } finally {
      release();
    }
  }

  host(i: number): SimHost {
    const host = this.hosts[i];
    if (host === undefined) throw new RangeError(`there is no host ${i}`);
    return host;
  }

  peer(i: number): Peer {
    const { peer } = this.host(i);
    if (peer === undefined) throw new Error(`the peer of host ${i} does not run`);
    return peer;
  }

  /** A daemon that finds its disk or its store broken exits at once. */
  #fatal(name: string, why: string): void {
    const host = this.hosts.find((item) => item.name === name);
    if (host?.disk.hasFailed !== true) this.fatals.push({ host: name, why });
    this.clock.after(0, () => {
      if (host !== undefined && host.state !== 'down') host.crash();
      // A stalled sync may fail when the story is over, and nobody looks after that daemon any more.
      if (this.isOver) host?.startLater();
    });
  }

  // ---- time -----------------------------------------------------------------------------------------------

  runFor(ms: number): Promise<void> {
    return this.clock.runFor(ms);
  }

  /** Runs until the promise has settled, and answers it. */
  async until<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    if (await this.clock.runUntil(() => settled, limitMs)) return done;
    throw new Error(`not settled within ${limitMs} virtual ms`);
  }

  /** Asks every STEP_MS, so that a costly condition is not asked after each event. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.clock.nowMs() + limitMs;
    while (!condition()) {
      if (this.clock.nowMs() >= endMs) return false;
      await this.clock.runFor(STEP_MS);
    }
    return true;
  }

  // ---- hosts ----------------------------------------------------------------------------------------------

  start(i: number): Promise<boolean> {
    return this.host(i).start();
  }

  async restart(i: number): Promise<boolean> {
    const isUp = await this.host(i).start();
    if (isUp) this.onUp?.(i);
    return isUp;
  }

  crash(i: number): void {
    this.host(i).crash();
  }

  /** SIGTERM. */
  stop(i: number): Promise<void> {
    return this.host(i).stop();
  }

  partition(groups: readonly (readonly number[])[]): void {
    this.trace.add('world partition', [groups]);
    this.hub.partition(groups.map((group) => group.map((i) => this.host(i).peerId)));
  }

  /** Cuts one host off from all others, until the heal. */
  cut(i: number): void {
    const fromMs = this.clock.nowMs();
    this.cuts.push({ host: this.host(i).name, fromMs, toMs: Number.POSITIVE_INFINITY });
    this.partition([[i], [...this.hosts.keys()].filter((other) => other !== i)]);
  }

  heal(): void {
    const last = this.cuts.at(-1);
    if (last !== undefined) last.toMs = Math.min(last.toMs, this.clock.nowMs());
    this.trace.add('world heal', []);
    this.hub.heal();
  }

  /** Starts every host; all become one mesh, or each of these. */
  async joinAll(meshes?: readonly (readonly number[])[]): Promise<void> {
    await gather(this, meshes ?? [[...this.hosts.keys()]]);
    this.#meshId = this.peer(0).membership.meshId;
    this.steps.joined();
  }

  /** Its daemon runs and belongs to the mesh, as far as it knows itself. */
  isMember(i: number): boolean {
    return this.host(i).peer?.membership.hasMesh(this.#meshId) === true;
  }

  /** Every daemon runs and sees every other alive and linked. */
  isWhole(): boolean {
    return isWhole(this);
  }

  // ---- clients --------------------------------------------------------------------------------------------

  /** A client submits at a peer; what it hears is noted in the answer, whenever that is. */
  submit(i: number, input: SubmitInput, about: About): Submitted {
    const submitted: Submitted = {
      ...about,
      number: this.submits.length,
      id: input.id,
      outcome: 'open',
      detail: '',
      canceled: false,
      askedMs: this.clock.nowMs(),
    };
    this.submits.push(submitted);
    this.submitAgain(i, input, submitted);
    return submitted;
  }

  /** The same request once more: only with an id that the client reserved. */
  submitAgain(i: number, input: SubmitInput, submitted: Submitted): void {
    const { number } = submitted;
    this.trace.add('client submit', [number, i, JSON.stringify(input)]);
    const { name, boot } = this.host(i);
    const asking: Asking = { number, host: name, boot, answered: false };
    this.asking.push(asking);
    void this.peer(i)
      .tasks.submit(submitSchema.parse(input))
      .then((result) => {
        asking.answered = true;
        this.trace.add('client receipt', [number, JSON.stringify(result)]);
        if (submitted.outcome === 'acknowledged') return;
        submitted.answeredMs ??= this.clock.nowMs();
        if (result.ok && result.value.existing && result.value.stored_on.length === 0) {
          submitted.outcome = 'existing';
          submitted.detail = JSON.stringify(result.value);
        } else if (result.ok) {
          submitted.id = result.value.id;
          submitted.outcome = 'acknowledged';
          submitted.answeredMs = this.clock.nowMs();
          submitted.detail = JSON.stringify(result.value);
          this.steps.acknowledged(name, submitted.id);
          const { stored_on: on } = result.value;
          this.note(
            `${name} acknowledges it to its client: on ${on.length} stores`,
            result.value.id,
          );
        } else {
          this.sightings.code(result.error.code);
          const isRefused = result.error.code === 'STOPPING' && submitted.outcome === 'open';
          submitted.outcome = isRefused ? 'refused' : 'unknown';
          submitted.detail = result.error.message;
        }
      });
  }

  /** A client waits at a peer for the end of a task. */
  wait(i: number, id: string): Waiting {
    const host = this.host(i);
    const waiting: Waiting = { host: host.name, boot: host.boot, id, told: undefined };
    this.waits.push(waiting);
    this.trace.add('client wait', [i, id]);
    this.peer(i).tasks.reader.watch([id], (record) => {
      const { final } = taskOf(record);
      this.trace.add('client told', [i, id, final?.state, final?.run_id]);
      waiting.told = { state: final?.state ?? '', runId: final?.run_id ?? '' };
    });
    return waiting;
  }

  cancel(i: number, submitted: Submitted): void {
    const { id, number } = submitted;
    if (id === undefined) return;
    submitted.canceled = true;
    this.note(`a client cancels it at ${this.host(i).name}`, id);
    this.trace.add('client cancel', [number, i]);
    void this.peer(i)
      .tasks.intents.cancel(id, 'test')
      .then((result) => {
        this.trace.add('client canceled', [number, JSON.stringify(result)]);
        if (!result.ok) this.sightings.code(result.error.code);
        if (!result.ok) return;
        submitted.canceledMs ??= this.clock.nowMs();
        this.steps.canceled(this.host(i).name, id);
      });
  }

  // ---- what is known at the end ---------------------------------------------------------------------------

  /** Of the daemons that run. */
  stores(): string[] {
    return this.hosts.flatMap(({ peer }) => peer?.identity.storeId ?? []);
  }

  /** Copies of every task record on all disks. */
  replicas(): Map<string, Replicated[]> {
    const byId = new Map<string, Replicated[]>();
    for (const host of this.hosts) {
      const storeId = host.peer?.identity.storeId ?? '';
      for (const record of host.records()) {
        const copies = byId.get(record.id) ?? [];
        copies.push({ storeId, host: host.name, record });
        byId.set(record.id, copies);
      }
    }
    return byId;
  }

  /** What does not hold yet of that which must hold in the end, as lines; empty when all is well. */
  pending(): string[] {
    return pendingOf(this);
  }

  evidence(): Evidence {
    return evidenceOf(this);
  }
}
