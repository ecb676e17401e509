/** The tasks room put together: what the peer starts and stops, and what the control surface calls. */
import type { Config } from '../api/config.ts';
import type { Receipt, SubmitParams } from '../api/task.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Execution, RunHandlers, RunRequest } from '../executors/executor.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import type { Spool } from '../ports/processes.ts';
import type { Store } from '../ports/store.ts';
import type { PartnerSync } from '../records/partner-sync.ts';
import { ReadRepair } from '../records/read-repair.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { Attempts } from './attempts.ts';
import { Dedupe } from './dedupe.ts';
import type { Demand } from './demand.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Found } from './found.ts';
import { showHidden } from './hidden-finals.ts';
import { Intents } from './intents.ts';
import { Lister } from './listing.ts';
import type { MeshView, PeerSight } from './mesh-view.ts';
import { Owner } from './owner.ts';
import { Reader, type ReaderDeps } from './reader.ts';
import { Redundancy } from './redundancy.ts';
import { Resumption } from './resumption.ts';
import { Retention } from './retention.ts';
import { serveRuns } from './run-messages.ts';
import { REPORT_INTERVAL_MS, Runner, type RunnerDeps } from './runner.ts';
import { Slots } from './slots.ts';
import { Submit } from './submit.ts';
import { Tails } from './tails.ts';
import { Takeover } from './takeover.ts';
import { taskOf } from './task.ts';
import { TaskClock } from './task-clock.ts';
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
  readonly intents: Intents;
  readonly resumption: Resumption;
  readonly visibility: Visibility;
  readonly #deps: TasksDeps;
  readonly #attempts: Attempts;
  readonly #dispatcher: Dispatcher;
  readonly #retention: Retention;
  readonly #redundancy: Redundancy;
  readonly #dedupe: Dedupe;
  #stopping = false;
  #startedMs: number;
  #reporting = false;
  /** Finals that were hidden when the daemon ended. */
  #hidden: readonly string[] = [];

  constructor(deps: TasksDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.nowMs();
    const { messaging, config } = deps;
    this.visibility = new Visibility(deps);
    this.tails = new Tails(deps.store);
    /** What most services need; each takes its own part. */
    const common = {
      ...deps,
      copies: config.copies,
      copiesRequired: config.copies_required,
      killGraceMs: config.kill_grace,
      taskClock: new TaskClock(deps.clock),
      visibility: this.visibility,
      tails: this.tails,
      waitingReason: (id: string) => this.#waitingReason(id),
    };
    this.slots = new Slots({
      ...common,
      closed: () => this.#closedBecause(),
      onChange: deps.onLoad,
      offerLocally: () => this.#dispatcher.pumpAll(),
    });
    this.runner = new Runner({
      ...common,
      slots: this.slots,
      ...this.#reaching(),
    });
    this.#attempts = new Attempts({ ...common, retentionAgeMs: config.retention_age });
    this.#dispatcher = new Dispatcher({
      ...common,
      slots: this.slots,
      closed: () => this.#stopping,
      stillReady: (id) => this.owner.stillReady(id),
      start: (id, credit) => void this.owner.startOn(id, credit),
    });
    const takeover = new Takeover({
      ...common,
      runner: this.runner,
      patienceMs: () => this.#patienceMs(),
      done: (ids, complete) => this.owner.synced(ids, complete),
    });
    const running = { ...common, runner: this.runner, attempts: this.#attempts };
    this.owner = new Owner({ ...running, dispatcher: this.#dispatcher, takeover });
    this.submitter = new Submit({
      ...common,
      claimKey: (queue, key, id) => this.#dedupe.claim(queue, key, id),
      isKnown: async (id) => (await this.reader.find(id, false)) !== undefined,
    });
    this.reader = new Reader({ ...common, ...this.#finding() });
    this.lister = new Lister(common);
    this.#retention = new Retention({
      ...running,
      countMax: config.retention_count,
      tombstoneTtlMs: config.tombstone_ttl,
    });
    this.#redundancy = new Redundancy(running);
    const serving = { ...running, owner: this.owner, reader: this.reader };
    serveRuns(serving);
    this.intents = new Intents(serving);
    this.resumption = new Resumption(serving);
    this.#dedupe = new Dedupe({
      ...common,
      standing: (id) => this.#standingOf(id),
      markDuplicate: (id, of) => this.intents.markDuplicate(id, of),
    });
    messaging.onRequest('own.take', (_from, body) => this.#onTake(body));
  }

  /** Whom a runner can talk to. */
  #reaching(): Pick<RunnerDeps, 'bootCount' | 'peerOfStore' | 'peersInReach'> {
    const { replica, view } = this.#deps;
    const isOther = ({ self, linked }: PeerSight): boolean => linked && !self;
    return {
      bootCount: () => view.self().bootCount,
      peerOfStore: (store) =>
        store === replica.storeId ? view.self().peerId : view.directory.peerOf(store),
      peersInReach: () =>
        view
          .peers()
          .filter(isOther)
          .map(({ peerId }) => peerId),
    };
  }

  /** How records are found, and what becomes of the versions that a search has found. */
  #finding(): Pick<ReaderDeps, 'homeOfId' | 'onVersions'> {
    const repair = new ReadRepair({ ...this.#deps, directory: this.#deps.view.directory });
    return {
      homeOfId: (id) => this.submitter.homeOfId(id),
      onVersions: (joined, copies) => repair.saw(joined, copies),
    };
  }

  /** Once, after the replica was loaded. */
  load(): void {
    this.#hidden = this.visibility.load();
  }

  start(): void {
    this.#startedMs = this.#deps.clock.nowMs();
    this.#dispatcher.startTimers();
    this.runner.startTimers();
    this.reader.startTimers();
    this.owner.start();
    void showHidden({ ...this.#deps, attempts: this.#attempts }, this.#hidden);
    this.#retention.start();
    this.#redundancy.start();
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

  /** A member that was suspect or dead is heard again. */
  memberReturned(): void {
    this.owner.readAgain();
    this.#dedupe.membersChanged();
  }

  /** Somebody is new who decided without this mesh until now. */
  meshesMerged(): void {
    this.#dedupe.meshesMerged();
  }

  /** Members changed: owners may have changed, and free slots. */
  membersChanged(): void {
    this.owner.evaluateAll();
    this.#redundancy.membersChanged();
    this.#dispatcher.pumpAll();
    this.#dedupe.membersChanged();
  }

  capacityChanged(): void {
    this.slots.pump();
  }

  /** Right after the start others may not be in sight yet: longer patience then. */
  #patienceMs(): number {
    const { clock, config } = this.#deps;
    const sinceStart = clock.nowMs() - this.#startedMs;
    return Math.max(config.takeover_patience, config.start_patience - sinceStart);
  }

  #closedBecause(): { code: string; detail: string } | undefined {
    if (this.#stopping) return { code: 'stopping', detail: 'the peer is stopping' };
    if (this.#deps.view.self().shortage === 'full')
      return { code: 'disk_full', detail: 'the disk of the peer is full' };
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

  async #standingOf(id: string): Promise<'final' | 'unfinished' | 'unknown'> {
    const found = await this.reader.findOrRemains(id, false);
    if (found === undefined) return 'unknown';
    return taskOf(found.record).final === undefined ? 'unfinished' : 'final';
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
    this.runner.stopTaking();
    this.#deps.onLoad();
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

  close(): void {
    this.#stopping = true;
    this.owner.close();
    this.#dispatcher.close();
    this.runner.close();
    this.reader.close();
    this.#attempts.stop();
    this.#retention.close();
    this.#redundancy.close();
    this.#dedupe.close();
  }
}
