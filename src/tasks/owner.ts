/**
 * The owner: coordinates the tasks whose home order puts this store first. It reads before it owns (takeover),
 * starts what is due, watches what runs, restarts what was lost, and finishes what is over.
 *
 * `evaluate` is the one place where anything is set in motion; it is called whenever something that matters to a
 * task may have changed, and is harmless when nothing has.
 */
import type { WaitingReason } from '../api/task.ts';
import type { Timer } from '../ports/clock.ts';
import { takes } from '../ports/room.ts';
import type { RecordState } from '../records/record.ts';
import type { Messaging } from '../wire/messaging.ts';
import type { Placed } from './attempts.ts';
import { nextDeadline, nextStep } from './decide.ts';
import { demandOf } from './demand.ts';
import type { Credit, Dispatcher } from './dispatcher.ts';
import { handOverTasks } from './handing-over.ts';
import { type HomeDeps, HomeKeeper } from './home-keeper.ts';
import { type Fused, Newborns } from './newborn.ts';
import { ownerOf } from './ownership.ts';
import { EARLIER_RUN, type Runner } from './runner.ts';
import { sendStart } from './start-order.ts';
import { Sweep } from './sweep.ts';
import type { Takeover } from './takeover.ts';
import { attemptByRun, currentAttempt, isOpen, openAttempts, type Task, taskOf } from './task.ts';
import type { TaskClock } from './task-clock.ts';
import { type Entry, Watcher } from './watcher.ts';

const WATCH_INTERVAL_MS = 500;
/** A tick that comes so late means that this process stood still; others convict a silent peer after 7 s. */
const PAUSE_MS = 3_000;
/** Between two tries to place a task while stores are out of reach or the disk is full. */
const PLACE_RETRY_MS = 1_000;

export interface OwnerDeps extends HomeDeps {
  readonly taskClock: TaskClock;
  readonly messaging: Messaging;
  readonly dispatcher: Dispatcher;
  readonly runner: Runner;
  readonly takeover: Takeover;
  readonly killGraceMs: number;
  /** More or fewer tasks wait here: with all slots taken nothing else would tell the others. */
  readonly onLoad: () => void;
}

export class Owner {
  readonly #deps: OwnerDeps;
  readonly #entries = new Map<string, Entry>();
  /** Those with an open attempt: few, however many wait. */
  readonly #watched = new Set<Entry>();
  /** Those that wait for a slot: how many is told to others ten times a second. */
  readonly #queued = new Set<Entry>();
  readonly #sweep: Sweep<RecordState>;
  readonly #newborns: Newborns;
  readonly #homes: HomeKeeper;
  readonly #watcher: Watcher;
  #timer: Timer | undefined;
  #tickedMs = 0;
  #closed = false;

  constructor(deps: OwnerDeps) {
    this.#deps = deps;
    this.#homes = new HomeKeeper(deps);
    this.#newborns = new Newborns({
      ...deps,
      homes: this.#homes,
      giveBack: (credit) => this.#giveBack({ peerId: deps.view.self().peerId, credit }),
    });
    this.#watcher = new Watcher({
      ...deps,
      settled: (entry, again) => this.#settled(entry, again),
      readAgain: (entry) => this.#read(entry),
      isCurrent: (entry) => this.#entries.get(entry.id) === entry && !entry.starting,
    });
    const evaluate = ({ id, kind }: RecordState) => {
      if (kind === 'task') this.evaluate(id);
    };
    this.#sweep = new Sweep(deps.clock, () => deps.replica.unfinished(), evaluate);
    deps.replica.onVisible(evaluate);
    deps.replica.onGone((record) => this.evaluate(record.id));
  }

  start(): void {
    this.#tickedMs = this.#deps.clock.nowMs();
    const tick = (): void => {
      this.#noticePause();
      this.#tickedMs = this.#deps.clock.nowMs();
      this.#newborns.sweep();
      for (const entry of [...this.#watched]) this.#watch(entry);
      this.#timer = this.#deps.clock.after(WATCH_INTERVAL_MS, tick);
    };
    this.#timer = this.#deps.clock.after(WATCH_INTERVAL_MS, tick);
    this.evaluateAll();
  }

  /** This process stood still: others may have taken it for dead and gone on with what it owns. */
  #wasPaused(): boolean {
    return this.#deps.clock.nowMs() - this.#tickedMs > PAUSE_MS;
  }

  /** Before anything that was decided earlier is done: what waited meanwhile is done first after a pause, not the ticks. */
  #noticePause(): void {
    if (!this.#wasPaused()) return;
    this.readAgain();
    this.#tickedMs = this.#deps.clock.nowMs();
  }

  /**
   * Members that were silent are heard again, or this peer itself stood still: whatever it owns may have been taken
   * over meanwhile, so it reads before it owns once more.
   */
  readAgain(): void {
    for (const entry of this.#entries.values()) {
      if (entry.phase === 'owned' && !entry.starting) this.#read(entry);
      else entry.mustRead = true;
    }
  }

  #read(entry: Entry): void {
    entry.phase = 'syncing';
    this.#queued.delete(entry);
    entry.mustRead = false;
    this.#deps.takeover.request(entry.id);
  }

  /** Nothing is being written about the task any more. */
  #settled(entry: Entry, again: boolean): void {
    entry.starting = false;
    if (this.#entries.get(entry.id) !== entry) return;
    if (entry.mustRead) this.#read(entry);
    else if (again) this.evaluate(entry.id);
  }

  /** Starts nothing more. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#sweep.close();
    this.#homes.close();
    this.#deps.takeover.close();
    for (const entry of this.#entries.values()) entry.timer?.cancel();
  }

  get ownedCount(): number {
    return this.#entries.size;
  }

  /** Tasks that could start and have no slot: neither active nor delayed. */
  get waitingCount(): number {
    return this.#queued.size;
  }

  owns(id: string): boolean {
    return this.#entries.get(id)?.phase === 'owned';
  }

  /** An attempt is being placed, or its placement taken back: its record is about to change. */
  get isPlacing(): boolean {
    return [...this.#entries.values()].some((entry) => entry.starting);
  }

  /** The takeover of this task is under way here. */
  isTaking(id: string): boolean {
    return this.#entries.get(id)?.phase === 'syncing';
  }

  /** Members changed: any unfinished task may have a new owner. */
  evaluateAll(): void {
    this.#sweep.run();
  }

  /** For the creation of a record at this store, in the write that first stores it. */
  enrich(...creation: Parameters<Newborns['enrich']>): RecordState {
    return this.#closed || this.#wasPaused() ? creation[0] : this.#newborns.enrich(...creation);
  }

  evaluate(id: string): void {
    const { replica, view } = this.#deps;
    const record = replica.get(id);
    const task = record === undefined ? undefined : taskOf(record);
    if (task === undefined || task.final !== undefined) {
      this.#forget(id);
      if (task !== undefined) this.#watcher.endStrays(task);
      return;
    }
    const owner = ownerOf(task, view);
    if (this.#closed || owner !== replica.storeId) {
      this.#forget(id);
      if (owner === undefined && !this.#closed && replica.isStandIn(id)) this.#homes.join(task);
      return;
    }
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = this.#enter(task);
      if (entry.phase === 'syncing') this.#deps.takeover.request(id);
    }
    if (openAttempts(task).length > 0) this.#watched.add(entry);
    else this.#watched.delete(entry);
    if (entry.phase === 'owned') this.#act(entry, task);
  }

  #enter(task: Task): Entry {
    const now = this.#deps.clock.nowMs();
    const isFresh = this.#newborns.takeFresh(task);
    const entry: Entry = {
      id: task.id,
      phase: isFresh ? 'owned' : 'syncing',
      complete: isFresh,
      starting: false,
      mustRead: false,
      timer: undefined,
      heardMs: now,
      askedMs: Number.NEGATIVE_INFINITY,
      endedRun: undefined,
      held: undefined,
    };
    this.#entries.set(task.id, entry);
    return entry;
  }

  /** The takeover read what others hold. */
  synced(ids: readonly string[], complete: (id: string) => boolean): void {
    for (const id of ids) {
      const entry = this.#entries.get(id);
      if (entry === undefined || entry.phase === 'owned') continue;
      // What was asked before or during a silence may be lost or old.
      if (entry.mustRead) {
        this.#read(entry);
        continue;
      }
      entry.phase = 'owned';
      entry.complete = complete(id);
      entry.heardMs = Number.NEGATIVE_INFINITY;
      this.evaluate(id);
    }
  }

  #forget(id: string): void {
    this.#newborns.forget(id);
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.timer?.cancel();
    if (this.#queued.delete(entry)) this.#deps.onLoad();
    this.#watched.delete(entry);
    this.#entries.delete(id);
  }

  #act(entry: Entry, task: Task): void {
    const { taskClock, dispatcher } = this.#deps;
    const fused = this.#newborns.takeFused(task.id);
    if (fused !== undefined) {
      entry.starting = true;
      void this.#secureFused(entry, fused);
      return;
    }
    this.#homes.grow(task);
    taskClock.enter(task);
    const now = taskClock.nowMs(task.id);
    this.#setTimer(entry, nextDeadline(task, now), now);
    const step = nextStep(task, now);
    if (step.step === 'finish') void this.#finish(entry);
    else if (step.step === 'running') this.#watch(entry);
    else if (step.step === 'start' && !this.#queued.has(entry) && !entry.starting) {
      this.#queued.add(entry);
      this.#deps.onLoad();
      const { id, header, submittedAt } = task;
      dispatcher.add(demandOf(header), { id, priority: header.priority, submittedAt });
    }
  }

  async #finish(entry: Entry): Promise<void> {
    if (entry.starting) return;
    entry.starting = true;
    const written = await this.#deps.attempts.finish(entry.id);
    if (!written) this.#setTimer(entry, PLACE_RETRY_MS, 0);
    this.#settled(entry, written);
  }

  #setTimer(entry: Entry, atWallMs: number | undefined, nowWallMs: number): void {
    entry.timer?.cancel();
    entry.timer =
      atWallMs === undefined
        ? undefined
        : this.#deps.clock.after(atWallMs - nowWallMs, () => this.evaluate(entry.id));
  }

  /** Whether the dispatcher's entry for the task still stands. */
  stillReady(id: string): boolean {
    const entry = this.#entries.get(id);
    return entry !== undefined && this.#queued.has(entry) && entry.phase === 'owned';
  }

  /** The dispatcher found a slot. */
  async startOn(id: string, credit: Credit): Promise<void> {
    const { view, attempts } = this.#deps;
    const entry = this.#entries.get(id);
    const runner = view.peer(credit.peerId);
    this.#noticePause();
    const isReady = entry !== undefined && !entry.starting && entry.phase === 'owned';
    if (!isReady || runner === undefined || !this.#isStillOurs(id)) {
      this.#giveBack(credit);
      return;
    }
    this.#queued.delete(entry);
    entry.starting = true;
    const placed = await attempts.place(id, runner);
    if (typeof placed === 'string') this.#giveBack(credit);
    else await this.#order(entry, placed, credit);
    if (placed === 'later') this.#setTimer(entry, PLACE_RETRY_MS, 0);
    this.#settled(entry, placed !== 'later');
  }

  /** Members may have changed, and the walk over all tasks not have come to this one yet. */
  #isStillOurs(id: string): boolean {
    const { replica, view } = this.#deps;
    const record = replica.get(id);
    const isOurs = record !== undefined && ownerOf(taskOf(record), view) === replica.storeId;
    if (!isOurs) this.#forget(id);
    return isOurs;
  }

  async #secureFused(entry: Entry, fused: Fused): Promise<void> {
    const credit = { peerId: this.#deps.view.self().peerId, credit: fused.credit };
    const secured = await this.#deps.attempts.secure(entry.id, fused.start);
    const record = this.#deps.replica.get(entry.id);
    const fact = record?.facts.find((item) => item.value.run_id === fused.start.run_id);
    if (secured && record !== undefined && fact !== undefined) {
      await this.#order(entry, { record, start: fused.start, fact }, credit);
    } else this.#giveBack(credit);
    this.#settled(entry, true);
  }

  #giveBack(credit: Credit): void {
    this.#deps.messaging.cast(credit.peerId, 'slot.return', { credits: [credit.credit] });
  }

  /**
   * Tells the runner to start. No answer is not a refusal: the watch asks again. What was placed before a silence
   * and confirmed after it is taken back: others may have gone on without this store.
   */
  async #order(entry: Entry, placed: Placed, credit: Credit): Promise<void> {
    const { record, start } = placed;
    this.#noticePause();
    const now = this.#deps.replica.get(record.id);
    const task = now === undefined ? undefined : taskOf(now);
    const attempt = task === undefined ? undefined : attemptByRun(task, start.run_id);
    // While it was brought to the others they may have brought an end, a loss or a cancel.
    const isCalledFor = attempt !== undefined && isOpen(attempt) && task?.final === undefined;
    if (!isCalledFor || entry.mustRead || task?.cancel !== undefined) {
      this.#giveBack(credit);
      if (isCalledFor) await this.#deps.attempts.takeBack(record.id, start);
      return;
    }
    const answer = await sendStart(this.#deps, placed, credit);
    if (answer === undefined) return;
    if (answer.taken) {
      entry.heardMs = this.#deps.clock.nowMs();
      return;
    }
    // It must be read before another attempt is placed.
    if (answer.code === EARLIER_RUN) entry.mustRead = true;
    await this.#deps.attempts.refused(record.id, start, answer.code);
  }

  /** A sign of life of a running attempt. */
  heard(id: string, runId: string): void {
    const entry = this.#entries.get(id);
    const record = this.#deps.replica.get(id);
    if (entry === undefined || record === undefined) return;
    if (currentAttempt(taskOf(record))?.start.run_id === runId)
      entry.heardMs = this.#deps.clock.nowMs();
  }

  #watch(entry: Entry): void {
    if (entry.phase !== 'owned' || entry.starting || this.#closed) return;
    const record = this.#deps.replica.get(entry.id);
    if (record === undefined) return;
    this.#watcher.watch(entry, taskOf(record));
  }

  /** Before an orderly stop: what this store owns goes to the next live home stores. Answers who got what. */
  handOver(): Promise<Map<string, string[]>> {
    return handOverTasks(this.#deps, (id) => this.#entries.has(id));
  }

  /** Why a task that this store owns waits. */
  waitingReason(task: Task): WaitingReason {
    if (!takes(this.#deps.replica.room, 'extend')) return 'over_limit';
    return this.#deps.dispatcher.placement(demandOf(task.header)).reason ?? 'no_free_slot';
  }
}
