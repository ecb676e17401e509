/**
 * What an owner does about attempts that are open: ends them when they were canceled, asks about silent ones,
 * adopts what runs without an owner, and gives up those whose runner is gone.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { StoreStatus } from '../records/directory.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Messaging } from '../wire/messaging.ts';
import { type Attempts, lossOf } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';
import { ownerOf } from './ownership.ts';
import { type Attempt, attemptByRun, isOpen, openAttempts, type Task } from './task.ts';
import type { TaskClock } from './task-clock.ts';

/** An open attempt that was not heard of for this long is asked about. */
export const QUERY_AFTER_MS = 6_000;
/** A runner that does not answer a question or a cancel is asked again this often. */
export const REPEAT_MS = 2_000;
/** Of a store that may come back with what it has. One that was replaced is removed from all homes, or comes back. */
const AWAY: ReadonlySet<StoreStatus> = new Set(['dead', 'unknown']);

/** A task that this store owns or is taking over. */
export interface Entry {
  readonly id: string;
  phase: 'syncing' | 'owned';
  /** Everybody was heard when this store took over. */
  complete: boolean;
  starting: boolean;
  /** While it was being read or an attempt placed, this store learned that it may have been taken for dead. */
  mustRead: boolean;
  timer: Timer | undefined;
  /** When the current attempt was last heard of. */
  heardMs: number;
  askedMs: number;
  /** The runner said of this run that a home store has taken its end; what others hold was read again since. */
  endedRun: string | undefined;
  /** The last hold that was met, and when. */
  held: { readonly runId: string; readonly at: number; readonly seenMs: number } | undefined;
}

export interface WatcherDeps {
  readonly clock: Clock;
  readonly taskClock: TaskClock;
  readonly messaging: Messaging;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly attempts: Attempts;
  readonly killGraceMs: number;
  /** What was being written about the task is written; looks at it anew if `again`. */
  readonly settled: (entry: Entry, again: boolean) => void;
  /** Reads again what others hold of the task. */
  readonly readAgain: (entry: Entry) => void;
  /** Still owned here, and nothing else is being done about it. */
  readonly isCurrent: (entry: Entry) => boolean;
}

export class Watcher {
  readonly #deps: WatcherDeps;

  constructor(deps: WatcherDeps) {
    this.#deps = deps;
  }

  /** Looks after every open attempt of an owned task. */
  watch(entry: Entry, task: Task): void {
    for (const attempt of openAttempts(task)) this.#watchAttempt(entry, task, attempt);
  }

  #watchAttempt(entry: Entry, task: Task, attempt: Attempt): void {
    const { view, clock, attempts } = this.#deps;
    const now = clock.nowMs();
    const runner = view.peer(attempt.start.runner);
    const loss = lossOf(attempt, runner);
    if (loss !== undefined) {
      if (this.#isHeld(entry, attempt)) return;
      entry.starting = true;
      const proven = loss.proven && entry.complete;
      const weight = attempt.hold === undefined ? 2 : 1;
      void attempts.lose(task, attempt, { ...loss, proven, weight }).then((lost) => {
        this.#deps.settled(entry, lost);
      });
      return;
    }
    if (now - entry.askedMs < REPEAT_MS || runner === undefined) return;
    const reason = this.#endReason(task);
    if (reason !== undefined) {
      // A runner that never got the start has nothing to cancel and stays silent: it is asked below all the same.
      entry.askedMs = now;
      this.#cancelRun(task, attempt, reason);
    }
    if (now - entry.heardMs < QUERY_AFTER_MS || (!runner.reachable && !runner.self)) return;
    entry.askedMs = now;
    void this.#query(entry, task, attempt);
  }

  /** Why what runs must end: somebody canceled the task, or its whole time is up. */
  #endReason(task: Task): 'cancel' | 'timeout' | undefined {
    if (task.cancel !== undefined) return 'cancel';
    const { total_timeout_ms: totalMs } = task.header;
    const now = this.#deps.taskClock.nowMs(task.id);
    const isOver = totalMs !== undefined && now >= task.submittedAt + totalMs;
    return isOver ? 'timeout' : undefined;
  }

  /** A worker may resume it, within the time its daemon announced when it stopped. */
  #isHeld(entry: Entry, { start, hold }: Attempt): boolean {
    if (hold === undefined) return false;
    // Counted from when it was first seen here: the clock of the peer that wrote it may be another.
    if (entry.held?.runId !== start.run_id || entry.held.at !== hold.at)
      entry.held = { runId: start.run_id, at: hold.at, seenMs: this.#deps.clock.nowMs() };
    return this.#deps.clock.nowMs() < entry.held.seenMs + hold.ms;
  }

  #cancelRun(task: Task, attempt: Attempt, reason: 'cancel' | 'timeout' | 'stale'): void {
    const { start } = attempt;
    const body = { id: task.id, run_id: start.run_id, reason, grace_ms: this.#deps.killGraceMs };
    this.#deps.messaging.cast(start.runner, 'run.cancel', body);
  }

  /** Attempts that still run although the task is final. */
  endStrays(task: Task): void {
    if (ownerOf(task, this.#deps.view) !== this.#deps.replica.storeId) return;
    for (const attempt of openAttempts(task)) this.#cancelRun(task, attempt, 'stale');
  }

  /** No store of its home is away, with facts that nobody else has. What has left has handed over what it had. */
  #isHomeHere(task: Task): boolean {
    const { directory } = this.#deps.view;
    return homeOf(task.record).every((store) => !AWAY.has(directory.statusOf(store)));
  }

  /** Asks the runner about an attempt that was silent; a new owner adopts it that way. */
  async #query(entry: Entry, task: Task, attempt: Attempt): Promise<void> {
    const { replica, clock, attempts, messaging } = this.#deps;
    const { start } = attempt;
    const answer = await messaging.call(start.runner, 'run.query', {
      run_id: start.run_id,
      owner: replica.storeId,
    });
    if (!answer.ok || !this.#deps.isCurrent(entry)) return;
    if (answer.value.state === 'running') {
      entry.heardMs = clock.nowMs();
      if (attempt.owner === replica.storeId) return;
      await attempts.note(task.id, (now) => {
        const current = attemptByRun(now, start.run_id);
        if (current === undefined || !isOpen(current) || current.owner === replica.storeId)
          return undefined;
        return { t: 'adopt', run_id: start.run_id, at: clock.wallMs() };
      });
    } else if (answer.value.state === 'ended') {
      entry.heardMs = clock.nowMs();
      // Somebody returned while the question was under way: what he has is being read.
      if (entry.phase !== 'owned' || entry.mustRead) return;
      if (entry.endedRun === start.run_id && entry.complete && this.#isHomeHere(task)) {
        const why = `the stores that had its end from ${start.runner_name} have lost it`;
        await attempts.lose(task, attempt, { weight: 1, proven: true, why });
        return;
      }
      // Its end lies at another home store: read what they hold, and let the join decide.
      entry.endedRun = start.run_id;
      this.#deps.readAgain(entry);
    } else if (answer.value.state === 'given_up') {
      // It ran there, when no store in its reach knew of the task.
      const why = `${start.runner_name} gave it up`;
      await attempts.lose(task, attempt, { weight: 1, proven: true, why });
    } else if ((answer.value.boot ?? attempt.runnerBoot) === attempt.runnerBoot) {
      // Another boot knows nothing of what this one carried: that it is another one is told by its record.
      await attempts.refused(task.id, start, 'never_started');
    }
  }
}
