/**
 * What must hold of every single step, judged when it is made: a store changes a record, shows how a task ended, lets
 * a copy go, acknowledges. A mistake in a step is often healed by the next join, and the end state says nothing of it;
 * but had a disk been lost in between, so had the task.
 *
 * What was told is compared with what lies on the disks at that moment, not with what any peer believes.
 */
import { type Fact, factHash, homeOf, type RecordState, type StoreId } from '../records/record.ts';
import { attemptByRun, currentAttempt, type Task, taskOf } from '../tasks/task.ts';
import type { StepViolation } from './evidence.ts';
import { Notes } from './notes.ts';

/** W of a world whose hosts are all configured alike. */
const COPIES_REQUIRED = 2;

/** After W was lowered somewhere, what was counted by it is on its way for so long at most: a stuck disk included. */
const LOWERED_MS = 45_000;
/** A decision of a peer that sees too few is written so soon. */
const WRITE_MS_MAX = 2_000;
/** A pause that a peer must have noticed, and how long it then accuses nobody (`heartbeat_pause` and more). */
const PAUSE_MS_MIN = 5_000;
const QUIET_MS = 2_000;
/** An order is on its way for so long at most: its timeout, asked for once more, and a slow network. */
const ORDER_MS_MAX = 8_000;
/** In touch for so long, links stand again, a suspicion was asked about, and the answer came. */
const WITNESS_MS = 15_000;

/** What the steps of a world are compared with. */
export interface Ground {
  readonly disks: () => readonly Disk[];
  /** Of each peer, as configured. */
  readonly observers: () => number;
  readonly nowMs: () => number;
  /** No fault has destroyed a copy of this record, or of any: what was counted is still there. */
  readonly isIntact: (id?: string) => boolean;
  /** For how long both daemons have run and nothing stood between them. */
  readonly inTouchForMs: (host: string, other: string) => number;
}

export interface Disk {
  readonly name: string;
  /** Of the running daemon, as the mesh counts them. */
  readonly bootCount: number | undefined;
  /** The version on its disk, of tasks. */
  durable(id: string): RecordState | undefined;
  /** A tombstone of it lies on its disk. */
  isBuried(id: string): boolean;
  /** Set aside, after a long absence. */
  isAside(id: string): boolean;
}

/** One incarnation of a host's peer. */
export interface Actor {
  readonly host: string;
  readonly storeId: string;
  /** What it showed of each record last. */
  readonly shown: Map<string, RecordState>;
  /** Since when it sees fewer than half of the members. */
  minoritySinceMs: number | undefined;
}

const dotOf = (fact: Fact): string => `${fact.store}/${fact.seq}`;
const short = (id: string): string => id.slice(8, 20);

export class Steps {
  readonly violations: StepViolation[] = [];
  readonly notes = new Notes();
  readonly #ground: Ground;
  readonly #values = new Map<string, string>();
  /** When a peer last saw fewer members than W. */
  #loweredMs = Number.NEGATIVE_INFINITY;
  readonly #lowered = new Set<string>();
  readonly #thaws = new Map<string, number>();
  /** By run: when anybody first had its end, or had given it up. */
  readonly #ends = new Map<string, number>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  #disk(host: string): Disk | undefined {
    return this.#ground.disks().find(({ name }) => name === host);
  }

  /** All hosts are members now: W is what it will be, and nothing was counted before. */
  joined(): void {
    this.#loweredMs = Number.NEGATIVE_INFINITY;
  }

  /** A daemon ended, or sees enough members again. */
  ended(host: string): void {
    if (this.#lowered.delete(host)) this.#loweredMs = this.#ground.nowMs();
  }

  /** A peer sees its members otherwise than before. */
  members(actor: Actor, statuses: readonly string[]): void {
    const now = this.#ground.nowMs();
    this.ended(actor.host);
    const present = statuses.filter((status) => status === 'alive' || status === 'suspect').length;
    if (present < COPIES_REQUIRED) this.#lowered.add(actor.host);
    const known = statuses.filter((status) => status !== 'left' && status !== 'removed').length;
    const seen = statuses.filter((status) => status === 'alive').length;
    if (seen * 2 >= known) actor.minoritySinceMs = undefined;
    else actor.minoritySinceMs ??= now;
  }

  /** Whether W has been the same everywhere for long, and all that was ever counted is still there. */
  #isSteady(id: string): boolean {
    const { nowMs, isIntact } = this.#ground;
    return isIntact(id) && this.#lowered.size === 0 && nowMs() - this.#loweredMs > LOWERED_MS;
  }

  /** A peer goes on after it stood still. */
  thawed(host: string, pausedMs: number): void {
    if (pausedMs >= PAUSE_MS_MIN) this.#thaws.set(host, this.#ground.nowMs());
  }

  /** A peer takes a member for dead by its own judgement. */
  convicted(host: string, member: string): void {
    const sinceMs = this.#ground.nowMs() - (this.#thaws.get(host) ?? Number.NEGATIVE_INFINITY);
    const detail = `${host} stood still itself until a moment ago, and takes ${member} for dead`;
    if (sinceMs < QUIET_MS) this.violate('accused_after_pause', detail);
    // Where all watch all, whoever is in touch with both hears the one and answers the other.
    const { disks, inTouchForMs, observers } = this.#ground;
    if (disks().length > observers() + 1) return;
    const witness = disks().find(
      ({ name }) =>
        inTouchForMs(name, host) > WITNESS_MS && inTouchForMs(name, member) > WITNESS_MS,
    );
    if (witness !== undefined)
      this.violate(
        'convicted_though_heard',
        `${host} takes ${member} for dead, which ${witness.name} hears, as both could say to one another`,
      );
  }

  /** A peer is told that its store went back in time. */
  refused(host: string, why: string, storeId: StoreId): void {
    // By an operator, whatever became of its disk.
    if (this.notes.forgotten.has(storeId)) return;
    if (this.#ground.isIntact()) this.violate('refused_for_nothing', `${host}: ${why}`);
  }

  /** A peer shows a new version of a record. */
  visible(actor: Actor, after: RecordState, decidedOn: RecordState | undefined): void {
    const { host, shown } = actor;
    const before = shown.get(after.id) ?? decidedOn;
    shown.set(after.id, after);
    if (after.kind !== 'task') return;
    const what = `${short(after.id)} on ${host}`;
    const dots = new Set(after.facts.map(dotOf));
    // A destroyed copy comes back by and by, the older version of a partner perhaps first.
    const isIntact = this.#ground.isIntact(after.id);
    if (isIntact && before?.facts.some((fact) => !dots.has(dotOf(fact))) === true)
      this.violate('facts_lost', `a version of ${what} lacks facts of the one before`);
    const known = new Set(before?.facts.map(dotOf));
    const task = before === undefined ? undefined : taskOf(before);
    for (const fact of after.facts) {
      if (known.has(dotOf(fact))) continue;
      const isNew = this.#noteDot(fact, what);
      const { t, run_id: runId } = fact.value;
      if (t === 'end' && !this.#ends.has(String(runId)))
        this.#ends.set(String(runId), this.#ground.nowMs());
      if (!isNew || fact.store !== actor.storeId || task === undefined) continue;
      this.#judgeOwn(task, fact, what);
      this.#judgeLoss(actor, task, fact, what);
    }
    this.#judgeDisk(host, after, dots, what);
  }

  /** The small side of a partition gives up nothing of which it does not know that it ended. */
  #judgeLoss(actor: Actor, task: Task, { value }: Fact, what: string): void {
    // Of a worker's handler, which outlives its daemon, nothing is ever proven.
    const isCommand = task.header.argv !== undefined;
    const isLoss = isCommand && value.t === 'end' && value.out === 'lost' && value.proven !== true;
    const sinceMs = this.#ground.nowMs() - (actor.minoritySinceMs ?? Number.POSITIVE_INFINITY);
    if (isLoss && sinceMs > WRITE_MS_MAX)
      this.violate('minority_loss', `run ${value.run_id} of ${what}, which sees a minority`);
  }

  /** One dot has one value, wherever it is seen. True: it was never seen before. */
  #noteDot(fact: Fact, what: string): boolean {
    const dot = dotOf(fact);
    const digest = factHash(fact);
    const known = this.#values.get(dot);
    if (known === undefined) this.#values.set(dot, digest);
    else if (known !== digest)
      this.violate('dot_reused', `the dot ${dot} has another value in ${what}`);
    return known === undefined;
  }

  /** Durable before visible. */
  #judgeDisk(host: string, after: RecordState, dots: ReadonlySet<string>, what: string): void {
    const durable = new Set(this.#disk(host)?.durable(after.id)?.facts.map(dotOf));
    if ([...dots].some((dot) => !durable.has(dot)))
      this.violate('shown_before_durable', `${what} is shown and not on its disk`);
  }

  /** What a store writes itself, it decides on the newest version that it has. */
  #judgeOwn(before: Task, { value }: Fact, what: string): void {
    const { t, run_id: runId } = value;
    if (t !== 'start' && t !== 'end' && t !== 'final') return;
    if (before.final !== undefined)
      this.violate('written_after_final', `${what} is final, and a fact '${t}' was added`);
    if (t === 'start' && currentAttempt(before) !== undefined)
      this.violate('start_while_open', `run ${runId} of ${what} is placed beside an open one`);
    if (t === 'start' && before.cancel !== undefined)
      this.violate('start_after_cancel', `run ${runId} of ${what}, which is canceled`);
    const attempt = t === 'end' ? attemptByRun(before, String(runId)) : undefined;
    if (attempt !== undefined && attempt.ends.length > 0)
      this.violate('second_end', `run ${runId} of ${what} had ended, and ended again`);
  }

  /** A peer forgot a record. A stand-in does so when W of the home have it. */
  gone(actor: Actor, record: RecordState): void {
    actor.shown.delete(record.id);
    if (record.kind !== 'task') return;
    if (this.#disk(actor.host)?.isBuried(record.id) === true) {
      if (taskOf(record).final !== undefined) this.notes.drop(record);
      else if (this.notes.dropped(record.id) !== undefined) this.notes.overtake(record);
      return;
    }
    const copies = this.#copies(record.id, () => true);
    if (this.#disk(actor.host)?.isAside(record.id) === true) {
      const isKnown = copies > 0 || this.notes.dropped(record.id) !== undefined;
      const detail = `${actor.host} set ${short(record.id)} aside, which is not over and which it alone has`;
      // Of what was never acknowledged nobody else need ever have heard: to the store that looks forgotten.
      if (!isKnown && this.notes.acknowledged.has(record.id) && this.#ground.isIntact(record.id))
        this.violate('aside_for_nothing', detail);
      return;
    }
    // Its end had been everywhere, and was forgotten.
    if (this.notes.dropped(record.id) !== undefined) return;
    if (
      copies < Math.min(COPIES_REQUIRED, homeOf(record).length) &&
      this.#ground.isIntact(record.id)
    ) {
      const detail = `${actor.host} gave up its copy of ${short(record.id)}; ${copies} are left`;
      this.violate('given_up_early', detail);
    }
  }

  /** A peer shows how a task ended. */
  told({ host }: Pick<Actor, 'host'>, id: string): void {
    const copies = () => this.#copies(id, ({ final }) => final !== undefined);
    this.#demand(id, copies, 'told_early', `${host} shows the end of ${short(id)}`);
  }

  acknowledged(host: string, id: string): void {
    this.notes.acknowledged.add(id);
    const copies = () => this.#copies(id, () => true);
    this.#demand(id, copies, 'acknowledged_early', `${host} acknowledged ${short(id)}`);
  }

  canceled(host: string, id: string): void {
    const copies = () => this.#copies(id, (task) => (task.cancel ?? task.final) !== undefined);
    this.#demand(id, copies, 'canceled_early', `${host} acknowledged the cancel of ${short(id)}`);
  }

  /** A command or a worker's handler was started. */
  started(host: string, id: string, runId: string): void {
    this.#judgeBoot(host, id, runId);
    if (this.notes.missedItsEnd(host, id))
      this.violate('ran_forgotten', `${host} was away for too long, and runs ${short(id)} again`);
    const endedMs = this.#ends.get(runId) ?? Number.POSITIVE_INFINITY;
    const detail = `${host} started run ${runId} of ${short(id)} long after it was given up`;
    if (this.#ground.nowMs() - endedMs > ORDER_MS_MAX) this.violate('started_too_late', detail);
    const copies = () => this.#copies(id, (task) => attemptByRun(task, runId) !== undefined);
    this.#demand(id, copies, 'started_early', `${host} started run ${runId} of ${short(id)}`);
  }

  /** An order is for one boot: whoever reads the record takes the attempt for lost with that boot. */
  #judgeBoot(host: string, id: string, runId: string): void {
    const attempt = this.#ground
      .disks()
      .flatMap((disk) => {
        const record = disk.durable(id);
        return record === undefined ? [] : (attemptByRun(taskOf(record), runId) ?? []);
      })
      .at(0);
    const bootCount = this.#disk(host)?.bootCount;
    if (attempt === undefined || bootCount === undefined || attempt.runnerBoot >= bootCount) return;
    const detail = `${host} started run ${runId} of ${short(id)}, placed on its boot ${attempt.runnerBoot}, in ${bootCount}`;
    this.violate('wrong_boot', detail);
  }

  #demand(id: string, countCopies: () => number, rule: string, what: string): void {
    // What some have let go, tombstones and all, others may still show.
    if (!this.#isSteady(id) || this.notes.dropped(id) !== undefined) return;
    const copies = countCopies();
    if (copies < COPIES_REQUIRED)
      this.violate(rule, `${what}, which so many disks have: ${copies}`);
  }

  /** Disks with a copy of which it holds, or with its tombstone. */
  #copies(id: string, holds: (task: Task) => boolean): number {
    return this.#ground.disks().filter((disk) => {
      const record = disk.durable(id);
      return record === undefined ? disk.isBuried(id) : holds(taskOf(record));
    }).length;
  }

  violate(rule: string, detail: string, within: StepViolation['within'] = 'any'): void {
    this.violations.push({ rule, detail, within });
  }
}
