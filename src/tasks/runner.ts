/**
 * The runner: carries attempts out for their owners, and gets their ends to the home.
 *
 * An end is kept until a home store has it: the owner if it can be reached, else any other. The runner never
 * decides what an end means. A run id that ended, or that an owner declared void, is remembered for a while, so
 * that a start delayed in the network does not run it. While a run of a task is held here, no other is started.
 *
 * Messages here: `run.start`, `run.query`, `log.read` (requests), `run.cancel` (cast).
 * Messages from here to home stores: `run.done`, `run.report` (requests), `run.tail` (cast).
 */
import type { Logger } from '../base/telemetry.ts';
import type {
  Execution,
  RunHandlers,
  RunOutcome,
  RunRequest,
  StopReason,
} from '../executors/executor.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { OutputStream } from '../ports/processes.ts';
import type { Fact } from '../records/record.ts';
import type { WireValue } from '../wire/codec.ts';
import type { Messaging } from '../wire/messaging.ts';
import { bringEnd } from './delivery.ts';
import { type Demand, demandOf } from './demand.ts';
import type { EndFact } from './facts.ts';
import type { RunOrder } from './order.ts';
import { RunReport } from './run-report.ts';
import { RunTable } from './run-table.ts';
import type { Slots } from './slots.ts';
import { appendTail } from './tails.ts';

/** Run ids remembered after their end. */
export const ENDED_KEPT_MAX = 16_384;
/** Ends waiting for a home store; each may hold 1 MiB of output. More: no new attempt is taken. */
export const UNDELIVERED_MAX = 256;
export const REPORT_INTERVAL_MS = 2_000;
export const TAIL_INTERVAL_MS = 1_000;
const DELIVER_RETRY_MS = 300;
const DELIVER_RETRY_MS_MAX = 3_000;
const DRAIN_POLL_MS = 20;
/** The answer to an order whose owner has not heard of a run of the same task here. */
export const EARLIER_RUN = 'earlier_run';

interface LocalRun {
  readonly order: RunOrder;
  readonly demand: Demand;
  ownerStore: string;
  /** The peer that knew it to be over, if one did. */
  teller: string | undefined;
  execution: Execution | undefined;
  /** It is over, and this is to be brought to a home store. */
  end: EndFact | undefined;
  readonly tails: Record<OutputStream, Uint8Array>;
  progress: WireValue | undefined;
  tailSeq: number;
  tailSent: number;
  timeout: Timer | undefined;
}

export interface RunnerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly messaging: Messaging;
  readonly slots: Slots;
  readonly killGraceMs: number;
  readonly peerOfStore: (store: string) => string | undefined;
  /** How often the store of this peer was started. */
  readonly bootCount: () => number;
  /** Starts the executor of the demand; undefined: it could not take the attempt after all. */
  readonly execute: (
    request: RunRequest,
    demand: Demand,
    handlers: RunHandlers,
  ) => Execution | undefined;
}

export type StartAnswer =
  | { readonly taken: true }
  | { readonly taken: false; readonly code: string };

export class Runner {
  readonly #deps: RunnerDeps;
  readonly #runs = new RunTable<LocalRun>();
  /** Run ids that are over here: ended, or void. */
  readonly #over = new Map<string, 'ended' | 'void'>();
  readonly #report: RunReport;
  #undelivered = 0;
  #timer: Timer | undefined;
  #stopped = false;
  #takesStarts = true;
  #takesEnds = true;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
    this.#report = new RunReport(deps);
  }

  startTimers(): void {
    const tick = (): void => {
      this.#sendTails();
      this.#timer = this.#deps.clock.after(TAIL_INTERVAL_MS, tick);
    };
    this.#timer = this.#deps.clock.after(TAIL_INTERVAL_MS, tick);
  }

  /** Attempts here that have not been delivered yet. */
  get activeCount(): number {
    return this.#runs.size;
  }

  /** Whether the end of an attempt that a worker brings now is still delivered. */
  get takesEnds(): boolean {
    return this.#takesEnds;
  }

  get isChoked(): boolean {
    return this.#undelivered >= UNDELIVERED_MAX;
  }

  runs(): {
    id: string;
    n: number;
    runId: string;
    worker: boolean;
    home: readonly string[];
    ownerStore: string;
  }[] {
    return [...this.#runs.values()].map((run) => ({
      id: run.order.id,
      n: run.order.n,
      runId: run.order.runId,
      worker: run.demand.startsWith('worker:'),
      home: run.order.home,
      ownerStore: run.ownerStore,
    }));
  }

  /**
   * Idempotent by run id: an owner that lost the answer asks again. `known`: runs of the task whose end the owner
   * has; their own delivery may still be on its way here.
   */
  start(order: RunOrder, credit: string, known: ReadonlySet<string> = new Set()): StartAnswer {
    if (this.#runs.has(order.runId)) return { taken: true };
    const over = this.#over.get(order.runId);
    if (over !== undefined)
      return over === 'ended' ? { taken: true } : { taken: false, code: 'void' };
    const earlier = this.#runs.ofTask(order.id).filter(({ order: { runId } }) => !known.has(runId));
    if (earlier.length > 0) {
      for (const run of earlier) this.#turnTo(run, order.ownerStore);
      this.#deps.slots.release(credit);
      return { taken: false, code: EARLIER_RUN };
    }
    if (!this.#takesStarts) return { taken: false, code: 'stopping' };
    const demand = demandOf(order.header);
    if (!this.#deps.slots.occupy(credit, demand)) return { taken: false, code: 'no_free_slot' };
    const run = this.#add(order, demand);
    const execution = this.#deps.execute(order, demand, this.#handlersOf(run));
    if (execution === undefined) {
      this.#runs.delete(run);
      this.#remember(order.runId, 'void');
      this.#deps.slots.vacate(demand);
      return { taken: false, code: 'no_worker' };
    }
    this.#begin(run, execution);
    return { taken: true };
  }

  /** The starts of the runs of a task that are held here: they go on, or no home store has their end. */
  held(id: string): Fact[] {
    return this.#runs.ofTask(id).map((run) => run.order.startFact);
  }

  /** Another store owns it now. What is over is brought there at once: the earlier owner may never answer. */
  #turnTo(run: LocalRun, store: string): void {
    run.ownerStore = store;
    if (run.end === undefined) return;
    const bringing = this.#bring(run, run.end, [this.#deps.peerOfStore(store)]);
    void bringing.then((isTaken) => isTaken && this.#delivered(run));
  }

  /** A worker goes on with an attempt of an earlier boot of this daemon. */
  resume(order: RunOrder, attach: (handlers: RunHandlers) => Execution | undefined): boolean {
    // Twice by the same worker: the first time stands.
    if (this.#runs.has(order.runId)) return true;
    const run = this.#add(order, demandOf(order.header));
    const execution = attach(this.#handlersOf(run));
    if (execution === undefined) {
      this.#runs.delete(run);
      return false;
    }
    // Its timeout begins anew: how much of it was spent before the restart is known to other clocks alone.
    this.#begin(run, execution);
    return true;
  }

  #begin(run: LocalRun, execution: Execution): void {
    run.execution = execution;
    const timeoutMs = run.order.header.run_timeout_ms;
    if (timeoutMs === undefined) return;
    run.timeout = this.#deps.clock.after(timeoutMs, () => this.#stop(run, 'timeout'));
  }

  #add(order: RunOrder, demand: Demand): LocalRun {
    const run: LocalRun = {
      order,
      demand,
      ownerStore: order.ownerStore,
      teller: undefined,
      execution: undefined,
      end: undefined,
      tails: { stdout: new Uint8Array(0), stderr: new Uint8Array(0) },
      progress: undefined,
      tailSeq: 0,
      tailSent: 0,
      timeout: undefined,
    };
    this.#runs.add(run);
    return run;
  }

  #handlersOf(run: LocalRun): RunHandlers {
    return {
      output: (stream, bytes) => {
        run.tails[stream] = appendTail(run.tails[stream], bytes);
        run.tailSeq += 1;
      },
      progress: (value) => {
        run.progress = value;
        run.tailSeq += 1;
      },
      ended: (outcome) => this.#ended(run, outcome),
      lost: () => this.#ended(run, { out: 'lost', err: 'the worker program is gone' }, 1),
    };
  }

  /** Ends attempts; `grace` between the request and the insistence. */
  stopRun(runId: string, reason: StopReason, graceMs = this.#deps.killGraceMs): void {
    const run = this.#runs.get(runId);
    if (run !== undefined) this.#stop(run, reason, graceMs);
  }

  /**
   * Ends an attempt that `teller` knows to be over. Its end goes there first, to be joined with what is known there:
   * an owner that has not heard of the task's end would take it for a canceled attempt and start the next one.
   */
  stopStale(runId: string, teller: string, graceMs = this.#deps.killGraceMs): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    run.teller = teller;
    this.#stop(run, 'stale', graceMs);
  }

  #stop(run: LocalRun, reason: StopReason, graceMs = this.#deps.killGraceMs): void {
    if (run.end === undefined) run.execution?.stop(reason, graceMs);
  }

  /** What became of a run id, asked by its owner or a new one. `void`: never to be started here. */
  query(runId: string, asker: string): 'running' | 'ended' | 'unknown' {
    const run = this.#runs.get(runId);
    if (run !== undefined) {
      this.#turnTo(run, asker);
      return 'running';
    }
    if (this.#over.get(runId) === 'ended') return 'ended';
    this.#remember(runId, 'void');
    return 'unknown';
  }

  #ended(run: LocalRun, outcome: RunOutcome, loss?: number): void {
    run.timeout?.cancel();
    this.#undelivered += 1;
    // Before its slot is free again: the next command would meet the same.
    if (outcome.out === 'refused') this.#deps.slots.pauseCommands(outcome.err ?? '');
    this.#deps.slots.vacate(run.demand);
    run.end = {
      t: 'end',
      n: run.order.n,
      run_id: run.order.runId,
      at: this.#deps.clock.wallMs(),
      ...outcome,
      ...(loss === undefined ? {} : { loss, proven: true }),
    };
    void this.#deliver(run, run.end);
  }

  async #deliver(run: LocalRun, end: EndFact): Promise<void> {
    let retryMs = DELIVER_RETRY_MS;
    while (this.#isHeld(run) && !(await this.#deliverOnce(run, end))) {
      if (this.#stopped) return;
      await sleep(this.#deps.clock, retryMs);
      retryMs = Math.min(retryMs * 2, DELIVER_RETRY_MS_MAX);
    }
    this.#delivered(run);
  }

  #isHeld(run: LocalRun): boolean {
    return this.#runs.get(run.order.runId) === run;
  }

  #delivered(run: LocalRun): void {
    if (!this.#isHeld(run)) return;
    this.#undelivered -= 1;
    this.#runs.delete(run);
    this.#remember(run.order.runId, 'ended');
    this.#deps.slots.pump();
  }

  /** The owner first; any other home store if it cannot be reached. */
  #deliverOnce(run: LocalRun, end: EndFact): Promise<boolean> {
    const holders = [run.ownerStore, ...run.order.home].map((store) =>
      this.#deps.peerOfStore(store),
    );
    return this.#bring(run, end, [run.teller, ...holders]);
  }

  #bring(run: LocalRun, end: EndFact, peers: (string | undefined)[]): Promise<boolean> {
    const { id, startFact } = run.order;
    return bringEnd(this.#deps, new Set(peers), { id, startFact, end });
  }

  #sendTails(): void {
    for (const run of this.#runs.values()) {
      if (run.tailSeq === run.tailSent || run.end !== undefined) continue;
      run.tailSent = run.tailSeq;
      const body = {
        id: run.order.id,
        n: run.order.n,
        run_id: run.order.runId,
        boot: this.#deps.bootCount(),
        seq: run.tailSeq,
        stdout: run.tails.stdout,
        stderr: run.tails.stderr,
        ...(run.progress === undefined ? {} : { progress: run.progress }),
      };
      for (const store of run.order.home) {
        const peer = this.#deps.peerOfStore(store);
        if (peer !== undefined) this.#deps.messaging.cast(peer, 'run.tail', body);
      }
    }
  }

  /** Tells every home store what runs here; what is known to be over, or to nobody any more, is ended. */
  async report(): Promise<void> {
    const orders = [...this.#runs.values()].map(({ order }) => order);
    const { stale, orphans } = await this.#report.round(orders);
    for (const [runId, peer] of stale) this.stopStale(runId, peer);
    for (const runId of orphans) this.#giveUp(runId);
  }

  /** Its task is nowhere any more: it is ended, and what it ended in is brought to nobody. */
  #giveUp(runId: string): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    const fields = { id: run.order.id, run_id: runId };
    if (run.end === undefined) this.#stop(run, 'stale');
    else {
      this.#deps.log.log('warn', 'a run is given up: no store knows its task any more', fields);
      this.#delivered(run);
    }
  }

  /**
   * Refuses every start from now on, also of attempts that were placed here before: a stopping peer counts what
   * runs once, and what started after that would neither be waited for nor held for its worker.
   */
  stopTaking(): void {
    this.#takesStarts = false;
  }

  /**
   * Before the end of this boot: workers keep their results from now on, and those that were accepted before are
   * brought home, for `limitMs` at most.
   */
  async drain(limitMs: number): Promise<void> {
    const { clock } = this.#deps;
    this.#takesEnds = false;
    const until = clock.nowMs() + limitMs;
    while (this.#undelivered > 0 && clock.nowMs() < until) await sleep(clock, DRAIN_POLL_MS);
  }

  /** No new attempts, no more ends; the timers end. */
  close(): void {
    this.stopTaking();
    this.#takesEnds = false;
    this.#stopped = true;
    this.#timer?.cancel();
    for (const run of this.#runs.values()) run.timeout?.cancel();
  }

  #remember(runId: string, how: 'ended' | 'void'): void {
    this.#over.set(runId, how);
    const oldest = this.#over.keys().next();
    if (this.#over.size > ENDED_KEPT_MAX && !oldest.done) this.#over.delete(oldest.value);
  }
}
