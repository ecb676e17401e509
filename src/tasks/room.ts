/** The tasks room put together: what the peer starts and stops, and what the control surface calls. */
import type { Config } from '../api/config.ts';
import type { Receipt, SubmitParams, TaskState } from '../api/task.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Execution, RunHandlers, RunRequest } from '../executors/executor.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { Spool } from '../ports/processes.ts';
import type { Store } from '../ports/store.ts';
import type { PartnerSync } from '../records/partner-sync.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { Attempts } from './attempts.ts';
import type { Demand } from './demand.ts';
import { Dispatcher } from './dispatcher.ts';
import type { EndFact, StartFact } from './facts.ts';
import { Lister } from './listing.ts';
import type { MeshView } from './mesh-view.ts';
import { Owner, orderOf } from './owner.ts';
import { type Found, Reader } from './reader.ts';
import { Retention } from './retention.ts';
import { serveRuns } from './run-messages.ts';
import { REPORT_INTERVAL_MS, Runner } from './runner.ts';
import { Slots } from './slots.ts';
import { Submit } from './submit.ts';
import { Tails } from './tails.ts';
import { Takeover } from './takeover.ts';
import { attemptByRun, isOpen, taskOf } from './task.ts';
import { standingOf } from './view.ts';
import { Visibility } from './visibility.ts';

/** How long a stopping peer is kept waiting for a takeover. */
const TAKE_WAIT_MS = 4_000;
const TAKE_POLL_MS = 20;

export interface TasksDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly store: Store;
  readonly spool: Spool;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly sync: PartnerSync;
  readonly view: MeshView;
  readonly config: Config;
  readonly execSlots: number;
  readonly workerCapacity: (type: string) => { total: number; free: number };
  readonly directoryExists: (path: string) => Promise<boolean>;
  readonly execute: (
    request: RunRequest,
    demand: Demand,
    handlers: RunHandlers,
  ) => Execution | undefined;
  readonly onLoad: () => void;
}

export class Tasks {
  readonly slots: Slots;
  readonly runner: Runner;
  readonly owner: Owner;
  readonly reader: Reader;
  readonly lister: Lister;
  readonly tails: Tails;
  readonly submitter: Submit;
  readonly visibility: Visibility;
  readonly #deps: TasksDeps;
  readonly #attempts: Attempts;
  readonly #dispatcher: Dispatcher;
  readonly #retention: Retention;
  #stopping = false;
  #startedMs: number;
  #reporting = false;

  constructor(deps: TasksDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.nowMs();
    const { clock, random, log, messaging, replica, sharing, view, config } = deps;
    const copiesRequired = config.copies_required;
    this.visibility = new Visibility(replica);
    this.tails = new Tails(deps.store);
    this.slots = new Slots({
      clock,
      random,
      messaging,
      execSlots: deps.execSlots,
      workerCapacity: deps.workerCapacity,
      directoryExists: deps.directoryExists,
      closed: () => this.#closedBecause(),
      onChange: deps.onLoad,
    });
    this.runner = new Runner({
      clock,
      log,
      messaging,
      slots: this.slots,
      killGraceMs: config.kill_grace,
      peerOfStore: (store) =>
        store === replica.storeId ? view.self().peerId : view.directory.peerOf(store),
      execute: deps.execute,
    });
    this.#attempts = new Attempts({
      clock,
      random,
      replica,
      sharing,
      view,
      visibility: this.visibility,
      copiesRequired,
      retentionAgeMs: config.retention_age,
    });
    this.#dispatcher = new Dispatcher({
      clock,
      messaging,
      view,
      slots: this.slots,
      closed: () => this.#stopping,
      stillReady: (id) => this.owner.stillReady(id),
      start: (id, credit) => void this.owner.startOn(id, credit),
    });
    const takeover = new Takeover({
      clock,
      log,
      replica,
      sharing,
      view,
      copiesRequired,
      patienceMs: () => this.#patienceMs(),
      done: (ids, complete) => this.owner.synced(ids, complete),
    });
    this.owner = new Owner({
      clock,
      log,
      messaging,
      replica,
      view,
      attempts: this.#attempts,
      dispatcher: this.#dispatcher,
      runner: this.runner,
      takeover,
      copies: config.copies,
      killGraceMs: config.kill_grace,
    });
    this.submitter = new Submit({
      clock,
      random,
      replica,
      sharing,
      view,
      copies: config.copies,
      copiesRequired,
      isKnown: async (id) => (await this.reader.find(id, false)) !== undefined,
    });
    const waitingReason = (id: string): string | undefined => this.#waitingReason(id);
    const reading = { clock, messaging, replica, visibility: this.visibility, view, waitingReason };
    this.lister = new Lister(reading);
    this.reader = new Reader({
      ...reading,
      tails: this.tails,
      homeOfId: (id) => this.submitter.homeOfId(id),
    });
    this.#retention = new Retention({
      clock,
      log,
      replica,
      sync: deps.sync,
      attempts: this.#attempts,
      view,
      tails: this.tails,
      spool: deps.spool,
      countMax: config.retention_count,
      tombstoneTtlMs: config.tombstone_ttl,
    });
    serveRuns({
      clock,
      messaging,
      replica,
      runner: this.runner,
      owner: this.owner,
      attempts: this.#attempts,
      tails: this.tails,
      spool: deps.spool,
    });
    messaging.onRequest('task.cancel', (_from, body) => this.#onCancel(body));
    messaging.onRequest('own.take', (_from, body) => this.#onTake(body));
    messaging.onRequest('run.hold', (_from, body) => this.#onHold(body));
    messaging.onRequest('run.resume', (_from, body) => this.#onResume(body));
  }

  start(): void {
    this.#startedMs = this.#deps.clock.nowMs();
    this.#dispatcher.startTimers();
    this.runner.startTimers();
    this.reader.startTimers();
    this.owner.start();
    this.#retention.start();
    const report = (): void => {
      if (this.#stopping || this.#reporting) return;
      this.#reporting = true;
      void this.runner.report().then(() => {
        this.#reporting = false;
      });
    };
    const tick = (): void => {
      report();
      if (!this.#stopping) this.#deps.clock.after(REPORT_INTERVAL_MS, tick);
    };
    this.#deps.clock.after(REPORT_INTERVAL_MS, tick);
  }

  /** Members changed: owners may have changed, and free slots. */
  membersChanged(): void {
    this.owner.evaluateAll();
    this.#dispatcher.pumpAll();
  }

  capacityChanged(): void {
    this.slots.pump();
    this.#dispatcher.pumpAll();
  }

  /** Right after the start others may not be in sight yet: longer patience then. */
  #patienceMs(): number {
    const { clock, config } = this.#deps;
    const sinceStart = clock.nowMs() - this.#startedMs;
    return Math.max(config.takeover_patience, config.start_patience - sinceStart);
  }

  #closedBecause(): { code: string; detail: string } | undefined {
    if (this.#stopping) return { code: 'stopping', detail: 'the peer is stopping' };
    if (this.runner.isChoked)
      return { code: 'over_limit', detail: 'too many results wait for a reachable home store' };
    return undefined;
  }

  #waitingReason(id: string): string | undefined {
    if (!this.owner.owns(id)) return undefined;
    const record = this.#deps.replica.get(id);
    return record === undefined ? undefined : this.owner.waitingReason(taskOf(record));
  }

  get isStopping(): boolean {
    return this.#stopping;
  }

  async submit(params: SubmitParams): Promise<Result<Receipt, CoveyError>> {
    if (this.#stopping) return err(coveyError('STOPPING'));
    return this.submitter.submit(params);
  }

  /** Notes the wish at a home store; whoever owns the task acts on it. */
  async cancel(id: string, reason: string): Promise<Result<TaskState, CoveyError>> {
    const found = await this.reader.find(id, false);
    if (found === undefined) return err(coveyError('NOT_FOUND', { what: `task ${id}` }));
    const { view, messaging, clock } = this.#deps;
    const standing = standingOf(taskOf(found.record), clock.wallMs());
    if (taskOf(found.record).final !== undefined) return ok(standing.state);
    let failure: CoveyError = coveyError('UNREACHABLE', { what: `the home of ${id}` });
    for (const store of homeOf(found.record)) {
      const peer =
        store === view.self().storeId ? view.self().peerId : view.directory.peerOf(store);
      if (peer === undefined) continue;
      const answer = await messaging.call(peer, 'task.cancel', {
        id,
        reason,
        by: view.self().name,
      });
      if (answer.ok) return ok(standing.state);
      failure = answer.error;
    }
    return err(failure);
  }

  async #onCancel(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, reason, by } = body;
    if (typeof id !== 'string')
      return err(coveyError('INVALID_PARAMS', { why: 'task.cancel without an id' }));
    const noted = await this.#attempts.note(id, (task) => {
      if (task.final !== undefined || task.cancel !== undefined) return undefined;
      return {
        t: 'cancel',
        reason: String(reason ?? ''),
        by: String(by ?? ''),
        at: this.#deps.clock.wallMs(),
      };
    });
    return noted ? ok({}) : err(coveyError('NOT_FOUND', { what: `task ${id}` }));
  }

  /** Why a task is where it is; meaningful at its owner. */
  explainHere(found: Found): ReturnType<Dispatcher['placement']> {
    const { header } = taskOf(found.record);
    return this.#dispatcher.placement(
      header.argv === undefined ? `worker:${header.type}` : `exec:${header.cwd ?? '/'}`,
    );
  }

  // ---- orderly stop and resume ----------------------------------------------------------------------------

  /** No new task, no new attempt; what runs goes on. */
  stopTaking(): void {
    this.#stopping = true;
    this.#deps.onLoad();
  }

  /** Tells the owners that these attempts may be resumed within `holdMs`. */
  async holdWorkers(holdMs: number): Promise<void> {
    const held = this.runner.runs().filter((run) => run.worker);
    await Promise.all(
      held.map((run) =>
        this.#atHome(run.home, run.ownerStore, 'run.hold', {
          id: run.id,
          run_id: run.runId,
          ms: holdMs,
        }),
      ),
    );
  }

  /** A stopping peer asks for a takeover: answered when this store has read what there is, so that it may go. */
  async #onTake(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { clock } = this.#deps;
    const ids = (Array.isArray(body.ids) ? body.ids : []).map(String);
    const until = clock.nowMs() + TAKE_WAIT_MS;
    for (const id of ids) this.owner.evaluate(id);
    while (clock.nowMs() < until && ids.some((id) => this.owner.isTaking(id)))
      await sleep(clock, TAKE_POLL_MS);
    return ok({});
  }

  async #onHold(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, run_id: runId, ms } = body;
    if (typeof id !== 'string' || typeof runId !== 'string' || typeof ms !== 'number') {
      return err(coveyError('INVALID_PARAMS', { why: 'run.hold is malformed' }));
    }
    const at = this.#deps.clock.wallMs();
    const noted = await this.#attempts.note(id, (task) => {
      const attempt = attemptByRun(task, runId);
      return attempt === undefined || !isOpen(attempt)
        ? undefined
        : { t: 'hold', run_id: runId, ms, at };
    });
    return noted ? ok({}) : err(coveyError('NOT_FOUND', { what: `task ${id}` }));
  }

  async #onResume(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, run_id: runId, boot } = body;
    if (typeof id !== 'string' || typeof runId !== 'string' || typeof boot !== 'number') {
      return err(coveyError('INVALID_PARAMS', { why: 'run.resume is malformed' }));
    }
    if (!this.owner.owns(id)) return err(coveyError('NOT_FOUND', { what: `the owner of ${id}` }));
    let keep = false;
    const at = this.#deps.clock.wallMs();
    const noted = await this.#attempts.note(id, (task) => {
      const attempt = attemptByRun(task, runId);
      keep = attempt !== undefined && isOpen(attempt) && task.final === undefined;
      return keep ? { t: 'resume', run_id: runId, boot, at } : undefined;
    });
    if (keep) this.owner.heard(id, runId);
    return ok({ keep: keep && noted });
  }

  /** Asks the owner whether a worker may go on; attaches it if so. */
  async resumeRun(
    id: string,
    attempt: number,
    attach: (request: RunRequest, handlers: RunHandlers) => Execution | undefined,
  ): Promise<boolean> {
    const { view } = this.#deps;
    const found = await this.reader.find(id, true);
    if (found === undefined) return false;
    const task = taskOf(found.record);
    const self = view.self();
    const open = task.attempts.find(
      (item) => isOpen(item) && item.start.n === attempt && item.start.runner === self.peerId,
    );
    const fact = found.record.facts.find(
      (item) => item.value.t === 'start' && item.value.run_id === open?.start.run_id,
    );
    if (open === undefined || fact === undefined) return false;
    const home = homeOf(found.record);
    const body = { id, run_id: open.start.run_id, boot: self.bootCount };
    const answer = await this.#atHome(home, open.owner, 'run.resume', body);
    if (answer?.keep !== true) return false;
    const start = fact.value as unknown as StartFact;
    const order = {
      ...orderOf({ record: found.record, start, fact }, open.owner, undefined),
      blob: found.extras.blob ?? {},
    };
    return this.runner.resume(order, (handlers) => attach(order, handlers));
  }

  /** A worker's late word about an attempt that it no longer holds: kept as an orphan at the home. */
  async orphan(
    id: string,
    attempt: number,
    end: Omit<EndFact, 't' | 'n' | 'run_id' | 'at'>,
  ): Promise<void> {
    const found = await this.reader.find(id, false);
    const start =
      found === undefined
        ? undefined
        : taskOf(found.record).attempts.find((item) => item.start.n === attempt)?.start;
    if (found === undefined || start === undefined) return;
    const full: EndFact = {
      t: 'end',
      n: attempt,
      run_id: start.run_id,
      at: this.#deps.clock.wallMs(),
      ...end,
    };
    await this.#atHome(homeOf(found.record), '', 'run.done', { id, end: { ...full } });
  }

  /** Asks the home stores in turn, `first` before the others; the first answer counts. */
  async #atHome(
    home: readonly string[],
    first: string,
    type: string,
    body: WireMap,
  ): Promise<WireMap | undefined> {
    const { view, messaging } = this.#deps;
    const self = view.self();
    const order = [first, ...home.filter((store) => store !== first)];
    for (const store of order) {
      const peer = store === self.storeId ? self.peerId : view.directory.peerOf(store);
      if (peer === undefined) continue;
      const answer = await messaging.call(peer, type, body);
      if (answer.ok) return answer.value;
    }
    return undefined;
  }

  close(): void {
    this.#stopping = true;
    this.owner.close();
    this.#dispatcher.close();
    this.runner.close();
    this.reader.close();
    this.#attempts.stop();
    this.#retention.close();
  }
}
