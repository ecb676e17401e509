/**
 * What time it is for a task: its delay, backoff and timeouts are durations, and an owner measures them on its boot
 * clock from the moment the task came to it. Wall clocks of two hosts differ and are set back and forth; what a
 * host whose clock is wrong wrote into a record may make a wait as long as was asked for, never longer.
 *
 * The tempting simplification, `wallMs() >= submitted_at + delay`, lets one host that is ten minutes ahead make every
 * task of another wait for ten minutes.
 */
import type { Clock } from '../ports/clock.ts';
import { backoffCeilingMs } from './decide.ts';
import { failureCount, type Task } from './task.ts';

/** No pause but the backoff of a failure is longer: those after a refusal, a loss, a placement taken back. */
const OTHER_PAUSE_MS_MAX = 60_000;

/** The earliest wall time that it can be where these facts are known. */
function earliestMs(task: Task): number {
  const backoffMs = backoffCeilingMs(task.header, failureCount(task));
  const pauses = task.attempts.flatMap(({ ends: [end] }) => {
    if (end?.next_at === undefined) return [];
    const isFailure = end.out === 'failed' || end.out === 'timeout';
    return [end.next_at - (isFailure ? backoffMs : OTHER_PAUSE_MS_MAX)];
  });
  return Math.max(task.submittedAt, ...pauses);
}

export class TaskClock {
  readonly #clock: Clock;
  /** By task: wall time minus boot time. */
  readonly #offsetsMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The task was created just now: its age is nought, whatever the accepting host's clock says. */
  begin(task: Task): void {
    this.#offsetsMs.set(task.id, task.submittedAt - this.#clock.nowMs());
  }

  /** The task comes under this store's ownership with a past, or its owner learned more of that past. */
  enter(task: Task): void {
    const offsetMs = this.#offsetsMs.get(task.id);
    const nowMs = this.#clock.nowMs();
    const wallMs = offsetMs === undefined ? this.#clock.wallMs() : nowMs + offsetMs;
    this.#offsetsMs.set(task.id, Math.max(wallMs, earliestMs(task)) - nowMs);
  }

  forget(id: string): void {
    this.#offsetsMs.delete(id);
  }

  /** Wall time for the task: goes on evenly for as long as this store owns it. */
  nowMs(id: string): number {
    const offsetMs = this.#offsetsMs.get(id);
    return offsetMs === undefined ? this.#clock.wallMs() : this.#clock.nowMs() + offsetMs;
  }
}
