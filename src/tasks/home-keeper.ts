/** The home of the tasks that a store owns or stands in for: whether it is in sight, and whether it must grow. */

import { parseTaskId } from '../base/task-id.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import { standingHome } from '../records/directory.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import { type MeshView, presentPeers } from './mesh-view.ts';
import type { Task } from './task.ts';
import { type Entry, REPEAT_MS } from './watcher.ts';

/** What the network kept during a silence has arrived so soon after it, wherever the wall clocks stand. */
const KEPT_MS_MAX = 2_000;

export interface HomeDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly replica: Replica;
  readonly view: MeshView;
  readonly attempts: Attempts;
  readonly copies: number;
}

export class HomeKeeper {
  readonly #deps: HomeDeps;
  readonly #joining = new Set<string>();

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

  /** Adds live stores to the home when fewer than N of it are not dead. */
  grow(entry: Entry, task: Task): void {
    const { view, copies, attempts, clock } = this.#deps;
    const home = homeOf(task.record);
    const live = home.filter((store) => view.status(store) !== 'dead').length;
    if (live >= Math.min(copies, presentPeers(view).length)) return;
    if (clock.nowMs() - entry.askedMs < REPEAT_MS) return;
    const next = view.directory
      .preference(task.id, home.length + copies)
      .find((store) => !home.includes(store));
    if (next === undefined) return;
    entry.askedMs = clock.nowMs();
    void attempts.note(task.id, (now) =>
      homeOf(now.record).includes(next)
        ? undefined
        : { t: 'home', store: next, at: clock.wallMs() },
    );
    const fields = { id: task.id, store: next };
    this.#deps.log.log('debug', 'a store was added to the home of a task', fields);
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
