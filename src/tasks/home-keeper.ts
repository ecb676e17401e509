/** The home of the tasks that a store owns or stands in for: whether it is in sight, and whether it must grow. */

import { jitter, type Random } from '../base/random.ts';
import { parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { standingHome } from '../records/directory.ts';
import { homeOf, type StoreId } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import { type MeshView, presentCount } from './mesh-view.ts';
import { ownerOf } from './ownership.ts';
import { GROW_TICK_MS, GROWS_AT_ONCE, GROWS_MAX } from './redundancy.ts';
import { type Task, taskOf } from './task.ts';

/** What the network kept during a silence has arrived so soon after it, wherever the wall clocks stand. */
const KEPT_MS_MAX = 2_000;

/**
 * After a death, or the arrival of a member: a host that is only restarting is back by then or soon after, and the
 * homes of many tasks grow together.
 */
const GROW_AFTER_MS = 1_000;

export interface HomeDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly attempts: Attempts;
  readonly copies: number;
}

export class HomeKeeper {
  readonly #deps: HomeDeps;
  readonly #joining = new Set<string>();
  /** Tasks whose homes are to grow: some of those owned here. */
  readonly #lacking = new Set<string>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(deps: HomeDeps) {
    this.#deps = deps;
  }

  /**
   * This store has been in touch with every other store of the home for longer than the task's id exists: then none
   * of them can have taken it for dead since, and started the task in its place. (By the label in the id and our wall clock;
   * with a skewed one a takeover that could have been spared is made, or, for an id reserved long ago at a host
   * whose clock was ahead, one is spared that the mere order of messages makes needless in all but a partition.)
   */
  isInSight(task: Task): boolean {
    const { view, clock, replica } = this.#deps;
    const ageMs = clock.wallMs() - (parseTaskId(task.id)?.createdMs ?? 0);
    return standingHome(view.directory, task.record).every(
      (store) =>
        store === replica.storeId || view.inTouchForMs(store) > Math.max(KEPT_MS_MAX, ageMs),
    );
  }

  /** Of an owned task: fewer than N stores of its home are not dead. Others are added in a moment, at a bounded rate. */
  grow(task: Task): void {
    if (this.#closed || this.#lacking.has(task.id) || this.#missing(task) === undefined) return;
    this.#lacking.add(task.id);
    this.#timer ??= this.#after(GROW_AFTER_MS);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** Up to half as late again: a death is seen by all at once, and what it sets off must not come from all at once. */
  #after(ms: number): Timer {
    const { clock, random } = this.#deps;
    return clock.after(ms + jitter(random, ms / 4, 1), () => void this.#growSome());
  }

  async #growSome(): Promise<void> {
    const ids = [...this.#lacking].slice(0, GROWS_MAX);
    for (const id of ids) this.#lacking.delete(id);
    for (let i = 0; i < ids.length && !this.#closed; i += GROWS_AT_ONCE)
      await Promise.all(ids.slice(i, i + GROWS_AT_ONCE).map((id) => this.#growOne(id)));
    this.#timer = this.#lacking.size > 0 && !this.#closed ? this.#after(GROW_TICK_MS) : undefined;
  }

  async #growOne(id: string): Promise<void> {
    const { replica, attempts, clock, view } = this.#deps;
    const record = replica.get(id);
    const task = record === undefined ? undefined : taskOf(record);
    if (task === undefined || task.final !== undefined) return;
    if (ownerOf(task, view) !== replica.storeId) return;
    const store = this.#missing(task);
    if (store === undefined) return;
    this.#deps.log.log('debug', 'a store is added to the home of a task', { id, store });
    await attempts.note(id, (now) =>
      homeOf(now.record).includes(store) ? undefined : { t: 'home', store, at: clock.wallMs() },
    );
    // One store at a time; and a disk that was full is tried again.
    const after = replica.get(id);
    if (after !== undefined) this.grow(taskOf(after));
  }

  /** The store that the home shall have next. */
  #missing(task: Task): StoreId | undefined {
    if (task.final !== undefined) return undefined;
    const { view, copies } = this.#deps;
    const home = homeOf(task.record);
    const live = home.filter((store) => view.status(store) !== 'dead').length;
    if (live >= copies || live >= presentCount(view)) return undefined;
    return view.directory
      .preference(task.id, home.length + copies)
      .find((store) => !home.includes(store));
  }

  /** No home store is live: a stand-in with a counted copy takes a place in the home, with a dot of its own. */
  join(task: Task): void {
    const { attempts, clock, replica } = this.#deps;
    if (this.#joining.has(task.id)) return;
    this.#joining.add(task.id);
    void attempts
      .note(task.id, (now) =>
        homeOf(now.record).includes(replica.storeId)
          ? undefined
          : { t: 'home', store: replica.storeId, at: clock.wallMs() },
      )
      .then(() => this.#joining.delete(task.id));
  }
}
