/**
 * What an owner writes about attempts: their start, their end, their loss, the final. Every write decides anew on
 * the version it finds, in the record's queue, so that no decision rests on an older reading.
 */
import type { CoveyError } from '../base/errors.ts';
import { coveyError, invariant } from '../base/errors.ts';
import { toHex } from '../base/hash.ts';
import type { Random } from '../base/random.ts';
import { err, ok, type Result } from '../base/result.ts';
import { KIB } from '../base/units.ts';
import type { Clock } from '../ports/clock.ts';
import { takes } from '../ports/room.ts';
import {
  decodeFacts,
  FACTS_MAX,
  type Fact,
  joinRecords,
  type RecordState,
  withFact,
} from '../records/record.ts';
import type { Decision, Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { WireValue } from '../wire/codec.ts';
import { Confirming } from './confirming.ts';
import { backoffMs, nextStep, refusalPauseMs } from './decide.ts';
import { type EndFact, type FinalFact, isTaskFact, type StartFact, toWire } from './facts.ts';
import type { MeshView, PeerSight } from './mesh-view.ts';
import { inMinority, isEnoughInTouch, requiredNow } from './mesh-view.ts';
import {
  type Attempt,
  attemptByRun,
  currentAttempt,
  digestOfEnd,
  failureCount,
  isOpen,
  nextAttemptNumber,
  type Task,
  taskOf,
} from './task.ts';
import type { TaskClock } from './task-clock.ts';
import type { Visibility } from './visibility.ts';

/**
 * After crash evidence the dead daemon's guardian has this long to end its commands before they run elsewhere. It needs
 * some milliseconds; on a host too starved to run it for a quarter of a second a command may still go on when the next
 * begins, and nobody says so. The whole second of the port would cost every task of a dead daemon that much.
 */
export const GUARDIAN_GRACE_MS = 250;
/**
 * After a partition members come back one by one, and so do the records: who was on the small side waits so long
 * before it believes a silence. Longer than redials, refutations and one round of anti-entropy take.
 */
const HEAL_SETTLE_MS = 10_000;
const RUN_ID_BYTES = 8;

/** Of each stream of an attempt that others follow: PLACED_MAX of them stay far below a record's limit. */
export const EARLIER_OUTPUT_BYTES_MAX = 8 * KIB;

/**
 * With so many facts no move of an attempt between owners is written any more: where a network flaps and an attempt runs for
 * weeks they would fill the record, and its end would find no place (FACTS_MAX). Who owns it follows from who is alive
 * all the same; a move only keeps it where it is. A quarter, for the sides of a partition each write their own.
 */
const MOVES_UNTIL_FACTS = FACTS_MAX / 4;

type Intent = (task: Task) => Parameters<typeof toWire>[0] | undefined;
type DotOf = (value: ReturnType<typeof toWire>) => Fact;

function shortened(end: EndFact): EndFact {
  const { stdout, stderr } = end;
  const isShort = [stdout, stderr].every(
    (bytes) => (bytes?.length ?? 0) <= EARLIER_OUTPUT_BYTES_MAX,
  );
  if (isShort) return end;
  const last = (bytes: Uint8Array): Uint8Array => bytes.slice(-EARLIER_OUTPUT_BYTES_MAX);
  return {
    ...end,
    ...(stdout === undefined ? {} : { stdout: last(stdout) }),
    ...(stderr === undefined ? {} : { stderr: last(stderr) }),
    trunc: true,
    whole: digestOfEnd(end),
  };
}

export interface AttemptDeps {
  readonly clock: Clock;
  readonly taskClock: TaskClock;
  readonly random: Random;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly visibility: Visibility;
  readonly copiesRequired: number;
  readonly retentionAgeMs: number;
}

export interface Placed {
  readonly record: RecordState;
  readonly start: StartFact;
  readonly fact: Fact;
}

export class Attempts {
  readonly #deps: AttemptDeps;
  readonly #confirming: Confirming;
  #stopped = false;
  /** When this peer last found itself on the small side, with a loss to judge. */
  #minorityMs = Number.NEGATIVE_INFINITY;

  constructor(deps: AttemptDeps) {
    this.#deps = deps;
    this.#confirming = new Confirming({
      clock: deps.clock,
      isShared: (id) => this.#isShared(id),
      isHeld: (id) => deps.replica.get(id) !== undefined,
      isStopped: () => this.#stopped,
      reveal: (id) => deps.visibility.reveal(id),
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  #now(id: string): number {
    return this.#deps.taskClock.nowMs(id);
  }

  /** The start of the next attempt on `runner`, if the task may start now. Pure; for use inside a change. */
  startFact(task: Task, runner: PeerSight): StartFact {
    const { clock, random } = this.#deps;
    // Of every earlier attempt, not of the last alone: one that was given up may outlive its successor's failure.
    const ends = task.attempts.map((attempt) => attempt.ends[0]);
    return {
      t: 'start',
      n: nextAttemptNumber(task),
      run_id: toHex(random.bytes(RUN_ID_BYTES)),
      runner: runner.peerId,
      runner_store: runner.storeId,
      runner_boot: runner.bootCount,
      runner_name: runner.name,
      at: clock.wallMs(),
      dbl: ends.some((end) => end?.out === 'lost' && end.proven !== true),
    };
  }

  /**
   * Writes the start of the next attempt and brings it to W stores. `no`: the task may not start now. `later`: it
   * may, but not with the stores or the disk as they are. `taken_back`: it was written, and W stores were not had.
   */
  async place(id: string, runner: PeerSight): Promise<Placed | 'no' | 'later' | 'taken_back'> {
    const { replica, view, copiesRequired } = this.#deps;
    if (!isEnoughInTouch(view, copiesRequired) || !takes(replica.room, 'extend')) return 'later';
    const written = await replica.change<Placed | 'no'>(id, ({ current, fact }) => {
      if (current?.kind !== 'task') return { value: 'no' };
      const task = taskOf(current);
      if (nextStep(task, this.#now(id)).step !== 'start') return { value: 'no' };
      const start = this.startFact(task, runner);
      const dotted = fact(toWire(start));
      const next = withFact(current, dotted);
      return { value: { record: next, start, fact: dotted }, next, purpose: 'extend' };
    });
    if (!written.ok) return 'later';
    if (written.value === 'no') return 'no';
    return (await this.secure(id, written.value.start)) ? written.value : 'taken_back';
  }

  /** Brings a placed attempt to W stores; if that fails it is taken back, since it was never started. */
  async secure(id: string, start: StartFact): Promise<boolean> {
    if (await this.#isShared(id)) return true;
    await this.takeBack(id, start);
    return false;
  }

  /** The attempt was placed, and for want of stores in reach nobody was told to start it. */
  async takeBack(id: string, start: StartFact): Promise<void> {
    await this.end(id, {
      ...this.#endOf(start, 'interrupted'),
      code: 'not_enough_copies',
      err: 'the attempt could not be stored on enough peers before its start',
      next_at: this.#now(id) + 1_000,
    });
  }

  #endOf(start: StartFact, out: EndFact['out']): EndFact {
    return { t: 'end', n: start.n, run_id: start.run_id, out, at: this.#deps.clock.wallMs() };
  }

  async #isShared(id: string): Promise<boolean> {
    const { storedOn, required } = await this.#share(id);
    return storedOn >= required;
  }

  async #share(id: string): Promise<{ readonly storedOn: number; readonly required: number }> {
    const required = requiredNow(this.#deps.view, this.#deps.copiesRequired);
    const spread = await this.#deps.sharing.share(id, required);
    return { storedOn: spread?.storedOn.length ?? 0, required };
  }

  /** The runner refused the attempt: it did not run, and counts as nothing. */
  async refused(id: string, start: StartFact, code: string): Promise<void> {
    await this.end(id, { ...this.#endOf(start, 'refused'), code });
  }

  /**
   * An end from a runner or a worker, at whatever home store it reached. True when enough stores have it, or have
   * it as an orphan: then the runner may forget it.
   */
  async take(
    id: string,
    end: EndFact,
    startFacts: WireValue | undefined,
  ): Promise<Result<boolean, CoveyError>> {
    const extra = (decodeFacts(startFacts) ?? []).filter((fact) => isTaskFact(fact.value));
    const { replica, visibility } = this.#deps;
    if (replica.get(id)?.kind !== 'task') {
      // It was final, and forgotten since: nobody asks for its results any more, so the runner may forget them too.
      if (replica.tombstone(id) !== undefined) return ok(true);
      return err(coveyError('NOT_FOUND', { what: `task ${id}` }));
    }
    visibility.hide(id);
    const written = await replica.change<boolean>(id, ({ current, fact }) => {
      if (current?.kind !== 'task') return { value: false };
      const known = joinRecords(current, { ...current, facts: extra });
      const task = taskOf(known);
      const attempt = attemptByRun(task, end.run_id);
      const isRepeated =
        attempt?.ends.some((other) => digestOfEnd(other) === digestOfEnd(end)) ?? false;
      const isKept = task.orphans.some((orphan) => orphan.run_id === end.run_id);
      // Taken without a trace would be lost: the runner forgets what was taken.
      if (attempt === undefined) return { value: false };
      if (isRepeated || isKept) return { value: true, next: known };
      if (!isOpen(attempt) || task.final !== undefined) {
        const orphan = {
          t: 'orphan',
          n: end.n,
          run_id: end.run_id,
          out: end.out,
          digest: digestOfEnd(end),
          at: end.at,
        } as const;
        return { value: true, next: withFact(known, fact(toWire(orphan))) };
      }
      const ended = this.#withEnd(known, fact, this.#withBackoff(task, end));
      return this.#decide(true, current, this.#finishIfDue(ended, fact, end.out === 'completed'));
    });
    const shared = written.ok && (await this.#isShared(id));
    if (shared) visibility.reveal(id);
    else void this.confirm(id);
    if (!written.ok) return written;
    return written.value
      ? ok(shared)
      : err(coveyError('NOT_FOUND', { what: `attempt ${end.run_id}` }));
  }

  /** An end that this owner concluded by itself. False: it could not be written, as on a full disk. */
  async end(id: string, end: EndFact): Promise<boolean> {
    const { replica, visibility } = this.#deps;
    visibility.hide(id);
    const written = await replica.change<void>(id, ({ current, fact }) => {
      if (current?.kind !== 'task') return { value: undefined };
      const task = taskOf(current);
      const attempt = attemptByRun(task, end.run_id);
      if (attempt === undefined || !isOpen(attempt) || task.final !== undefined)
        return { value: undefined };
      const ended = this.#withEnd(current, fact, this.#withBackoff(task, end));
      return this.#decide(undefined, current, this.#finishIfDue(ended, fact, true));
    });
    await this.confirm(id);
    return written.ok;
  }

  /** The attempt is lost with its runner, unless this may be the small side of a partition. True: it is written. */
  async lose(
    task: Task,
    attempt: Attempt,
    loss: { weight: number; proven: boolean; why: string },
  ): Promise<boolean> {
    const { clock, view } = this.#deps;
    if (inMinority(view)) this.#minorityMs = clock.nowMs();
    const isSettled = clock.nowMs() - this.#minorityMs >= HEAL_SETTLE_MS;
    const mayRestart = loss.proven || task.header.on_partition === 'available' || isSettled;
    if (!mayRestart) return false;
    const isCommand = task.header.argv !== undefined;
    return this.end(task.id, {
      ...this.#endOf(attempt.start, 'lost'),
      loss: loss.weight,
      // A command's group ends with its daemon. A worker outlives it: its handler may still run.
      proven: loss.proven && isCommand,
      err: loss.why,
      ...(isCommand ? { next_at: this.#now(task.id) + GUARDIAN_GRACE_MS } : {}),
    });
  }

  /** Writes the final if the task has come to it. False: it could not be written, as on a full disk. */
  async finish(id: string): Promise<boolean> {
    const { replica, visibility } = this.#deps;
    visibility.hide(id);
    const written = await replica.change<void>(id, ({ current, fact }) => {
      if (current?.kind !== 'task') return { value: undefined };
      return this.#decide(undefined, current, this.#finishIfDue(current, fact, true));
    });
    await this.confirm(id);
    return written.ok;
  }

  /** Any fact of an intent: cancel, adopt, hand, hold, home. True when enough stores have it. */
  async note(id: string, build: Intent): Promise<boolean> {
    return (await this.noteOrWhy(id, build)).ok;
  }

  /** The same; says what stands in its way. Too few copies: it is noted here, and may be acted on. */
  async noteOrWhy(id: string, build: Intent): Promise<Result<void, CoveyError>> {
    const written = await this.#deps.replica.change<boolean>(id, ({ current, fact }) => {
      if (current?.kind !== 'task') return { value: false };
      const value = build(taskOf(current));
      const isMove = value?.t === 'adopt' || value?.t === 'hand';
      if (value === undefined || (isMove && current.facts.length >= MOVES_UNTIL_FACTS))
        return { value: true };
      return { value: true, next: withFact(current, fact(toWire(value))) };
    });
    if (!written.ok) return written;
    if (!written.value) return err(coveyError('NOT_FOUND', { what: `task ${id}` }));
    const { storedOn, required } = await this.#share(id);
    if (storedOn >= required) return ok(undefined);
    return err(coveyError('NOT_ENOUGH_COPIES', { id, stored_on: storedOn, required }));
  }

  /** A version that makes the task final is written with a mark: a restart does not show it either. */
  #decide<T>(value: T, current: RecordState, next: RecordState): Decision<T> {
    return { value, next, extra: this.#deps.visibility.mark(current, next) };
  }

  /** Shows a hidden change as soon as enough stores have it, for as long as that takes. */
  confirm(id: string): Promise<void> {
    return this.#confirming.confirm(id);
  }

  /**
   * Adds the end. Its output is kept whole where it is the result; of an attempt that others follow only the last of
   * it: a hundred outputs of 1 MiB fit neither a record nor a frame.
   */
  #withEnd(record: RecordState, fact: DotOf, end: EndFact): RecordState {
    const dotted = fact(toWire(end));
    const ended = withFact(record, dotted);
    if (nextStep(taskOf(ended), this.#now(record.id)).step === 'finish') return ended;
    return withFact(record, { ...dotted, value: toWire(shortened(end)) });
  }

  #withBackoff(task: Task, end: EndFact): EndFact {
    if (end.out === 'refused')
      return { ...end, next_at: this.#now(task.id) + refusalPauseMs(task, end.run_id) };
    if (end.out !== 'failed' && end.out !== 'timeout') return end;
    const wait = backoffMs(task.header, failureCount(task) + 1, this.#deps.random);
    return wait === 0 ? end : { ...end, next_at: this.#now(task.id) + wait };
  }

  /** Adds the final when the facts call for one. A mere home store may do so only for a result. */
  #finishIfDue(record: RecordState, fact: DotOf, mayDecide: boolean): RecordState {
    const step = nextStep(taskOf(record), this.#now(record.id));
    if (step.step !== 'finish' || !mayDecide) return record;
    const final: FinalFact = {
      t: 'final',
      ...step.final,
      at: this.#deps.clock.wallMs(),
      drop_at: this.#deps.clock.wallMs() + this.#deps.retentionAgeMs,
    };
    const finished = withFact(record, fact(toWire(final)));
    invariant(taskOf(finished).final !== undefined, `task ${record.id} did not become final`);
    return finished;
  }
}

/** The runner of an open attempt is gone for good, or undefined while it may still answer. */
export function lossOf(
  attempt: Attempt,
  runner: PeerSight | undefined,
): { proven: boolean; why: string } | undefined {
  const name = attempt.start.runner_name;
  if (runner === undefined) return undefined;
  if (runner.storeId !== attempt.start.runner_store || runner.bootCount > attempt.runnerBoot) {
    return { proven: true, why: `${name} started again` };
  }
  if (runner.status === 'dead' || runner.status === 'removed') {
    const isRemoved = runner.status === 'removed';
    const how = isRemoved ? 'was removed' : runner.crashed ? 'crashed' : 'fell silent';
    return { proven: runner.crashed, why: `${name} ${how}` };
  }
  return runner.status === 'left' ? { proven: true, why: `${name} left` } : undefined;
}

export { currentAttempt };
