/**
 * Tasks that are being created at this store: nobody can know more of them, so their owner need not ask, and one that
 * can start at once gets its first attempt in the very write that first stores it.
 */
import type { Clock } from '../ports/clock.ts';
import type { RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import { nextStep } from './decide.ts';
import { demandOf } from './demand.ts';
import type { Dispatcher } from './dispatcher.ts';
import { type StartFact, toWire } from './facts.ts';
import type { HomeKeeper } from './home-keeper.ts';
import type { MeshView } from './mesh-view.ts';
import { ownerOf } from './ownership.ts';
import { type Task, taskOf } from './task.ts';
import type { TaskClock } from './task-clock.ts';

/** A creation that was not written by then was refused, or its disk is stuck. */
const UNBORN_MS = 10_000;

/** Placed in the write that created the task; it goes on as soon as that write is visible. */
export interface Fused {
  readonly start: StartFact;
  readonly credit: string;
}

export interface NewbornDeps {
  readonly clock: Clock;
  readonly taskClock: TaskClock;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly attempts: Attempts;
  readonly dispatcher: Dispatcher;
  readonly homes: HomeKeeper;
  /** The credit of an attempt that came to nothing. */
  readonly giveBack: (credit: string) => void;
}

export class Newborns {
  readonly #deps: NewbornDeps;
  /** Since when, in the order of creation. */
  readonly #fresh = new Map<string, number>();
  readonly #fused = new Map<string, Fused>();

  constructor(deps: NewbornDeps) {
    this.#deps = deps;
  }

  /**
   * For the creation of a record at this store: adds attempt 1 to that very write when the task can start at
   * once here. No other store ever writes an attempt in this one's name.
   */
  enrich(
    record: RecordState,
    fact: Parameters<Parameters<Replica['change']>[1]>[0]['fact'],
  ): RecordState {
    if (record.kind !== 'task') return record;
    const { view, clock, taskClock, dispatcher, attempts, replica, homes } = this.#deps;
    const task = taskOf(record);
    if (ownerOf(task, view) !== replica.storeId) return record;
    this.#fresh.set(record.id, clock.nowMs());
    taskClock.begin(task);
    if (!homes.isInSight(task)) return record;
    if (nextStep(task, taskClock.nowMs(task.id)).step !== 'start') return record;
    const credit = dispatcher.reserveNow(demandOf(task.header));
    if (credit === undefined) return record;
    const start = attempts.startFact(task, view.self());
    this.#fused.set(record.id, { start, credit });
    return { ...record, facts: [fact(toWire(start))] };
  }

  /** Whether the task was created here just now and nobody was out of touch meanwhile; true once. */
  takeFresh(task: Task): boolean {
    return this.#fresh.delete(task.id) && this.#deps.homes.isInSight(task);
  }

  takeFused(id: string): Fused | undefined {
    const fused = this.#fused.get(id);
    this.#fused.delete(id);
    return fused;
  }

  forget(id: string): void {
    this.#fresh.delete(id);
    this.#deps.taskClock.forget(id);
  }

  /** Creations whose write failed or takes too long: their credits are free again, and they are fresh no more. */
  sweep(): void {
    const now = this.#deps.clock.nowMs();
    for (const [id, sinceMs] of this.#fresh) {
      if (now - sinceMs < UNBORN_MS) return;
      this.forget(id);
      const fused = this.takeFused(id);
      if (fused !== undefined) this.#deps.giveBack(fused.credit);
    }
  }
}
