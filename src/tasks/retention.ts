/**
 * Forgetting final tasks: by age (`drop_at`, written with the final) and by count, which only makes `drop_at`
 * earlier. A dropped record leaves a tombstone, so that a copy that comes late is not taken for a new task.
 */
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Spool } from '../ports/processes.ts';
import { homeOf, KEY_PREFIX, type RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';
import { ownerOf } from './ownership.ts';
import type { Tails } from './tails.ts';
import { taskOf } from './task.ts';

export const SWEEP_INTERVAL_MS = 10_000;
/** Records dropped in one sweep, so that a sweep never holds the disk for long. */
export const SWEEP_MAX = 2_000;
/**
 * After a sweep that left some: else a store dropped 200 a second at most, and where more tasks end it grew for as long
 * as that goes on, whatever its limits say.
 */
export const SWEEP_AGAIN_MS = 500;
/** Under way at once: the disk writes what comes together in one go. */
const AT_ONCE = 50;
/** Entries of the list by drop time that one sweep walks over; the next goes on there. Keys lie between the tasks. */
export const WALK_MAX = 10_000;
/** Read without letting other work in between. */
const PAGE_MAX = 1_000;
/** Named in one line of the log. */
const RUNS_TOLD_MAX = 16;

export interface RetentionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly replica: Replica;
  readonly attempts: Attempts;
  readonly view: MeshView;
  readonly tails: Tails;
  readonly spool: Spool;
  readonly countMax: number;
  readonly tombstoneTtlMs: number;
}

export class Retention {
  readonly #deps: RetentionDeps;
  #timer: Timer | undefined;
  #closed = false;
  /** Where the walk over final records stands, and how many tasks it has passed since its start. */
  #mark = '';
  #passed = 0;
  /** The last sweep found as many as it drops in one go. */
  #hasMore = false;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    deps.replica.onGone((record) => this.#tellOvertaken(record));
  }

  /**
   * Others ended it, and forgot it, while this side could not hear them and started it too: the end is told by the
   * tombstone, but no history will ever show what ran here.
   */
  #tellOvertaken(record: RecordState): void {
    const { log, replica } = this.#deps;
    if (record.kind !== 'task') return;
    const { attempts, final } = taskOf(record);
    const stone = final === undefined ? replica.tombstone(record.id) : undefined;
    if (stone === undefined || attempts.length === 0) return;
    log.log('warn', 'a task that others had ended and forgotten was started on this side', {
      task: record.id,
      final: stone.final,
      runs: attempts.map(({ start }) => start.run_id).slice(0, RUNS_TOLD_MAX),
    });
  }

  start(): void {
    const tick = (): void => {
      void this.sweep().then(() => {
        const ms = this.#hasMore ? SWEEP_AGAIN_MS : SWEEP_INTERVAL_MS;
        if (!this.#closed) this.#timer = this.#deps.clock.after(ms, tick);
      });
    };
    this.#timer = this.#deps.clock.after(SWEEP_INTERVAL_MS, tick);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** One round; answers how many records were dropped. */
  async sweep(): Promise<number> {
    const { clock, replica, tails, tombstoneTtlMs } = this.#deps;
    await this.#shortenByCount();
    const now = clock.wallMs();
    const due = this.#closed ? [] : replica.droppable(now, SWEEP_MAX);
    // Before their records: after a stop in between nobody would find them again.
    await tails.drop(due.filter((id) => !id.startsWith(KEY_PREFIX)));
    let dropped = 0;
    for (let i = 0; i < due.length && !this.#closed; i += AT_ONCE) {
      const some = due.slice(i, i + AT_ONCE).map((id) => this.#drop(id, now));
      dropped += (await Promise.all(some)).filter((isDropped) => isDropped).length;
    }
    // Not if none could be, as on a full disk.
    this.#hasMore = due.length >= SWEEP_MAX && dropped > 0;
    await replica.sweepTombstones(tombstoneTtlMs, SWEEP_MAX);
    return dropped;
  }

  async #drop(id: string, nowWallMs: number): Promise<boolean> {
    const { replica, spool, log } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return false;
    if (record.kind === 'key') {
      await replica.drop(id, { final: 'key', digest: '', droppedWallMs: nowWallMs });
      return false;
    }
    const task = taskOf(record);
    if (task.final === undefined) return false;
    const stone = { final: task.final.state, digest: task.final.digest, droppedWallMs: nowWallMs };
    const dropped = await replica.drop(id, stone);
    if (!dropped.ok || !dropped.value) return false;
    for (const { start } of task.attempts) {
      const removed = await spool.remove(start.run_id);
      // From the next start on the spool counts them again, and lets them go as its oldest.
      if (!removed.ok)
        log.log('warn', 'output of a dropped task stays on the disk', { why: removed.error });
    }
    return true;
  }

  /**
   * Too many final tasks: their owners let the oldest go now. Keys do not count: they live longer than most tasks and
   * have a limit of their own, and a result must not go because many keys are in use.
   */
  async #shortenByCount(): Promise<void> {
    const { replica, clock, countMax } = this.#deps;
    const surplus = (): number =>
      replica.heldCount - replica.heldKeys - replica.unfinishedCount - countMax;
    const now = clock.wallMs();
    for (let looked = 0; looked < WALK_MAX && !this.#closed; ) {
      // From the front again: those that were passed are gone, or others' to let go.
      if (this.#passed >= surplus()) this.#startWalk();
      if (surplus() <= 0) return;
      const page = replica.byDropTime(this.#mark, Math.min(PAGE_MAX, WALK_MAX - looked));
      let some: Promise<void>[] = [];
      for (const { mark, id } of page) {
        if (this.#closed || this.#passed >= surplus()) break;
        this.#mark = mark;
        looked += 1;
        if (id.startsWith(KEY_PREFIX)) continue;
        this.#passed += 1;
        some.push(this.#letGo(id, now));
        if (some.length < AT_ONCE) continue;
        await Promise.all(some);
        some = [];
      }
      await Promise.all(some);
      if (this.#closed || this.#passed >= surplus()) return;
      if (page.length < PAGE_MAX) return this.#startWalk();
    }
  }

  #startWalk(): void {
    this.#mark = '';
    this.#passed = 0;
  }

  async #letGo(id: string, nowWallMs: number): Promise<void> {
    const { replica, attempts, view } = this.#deps;
    const record = replica.get(id);
    if (record?.kind !== 'task' || !homeOf(record).includes(replica.storeId)) return;
    if (ownerOf(taskOf(record), view) !== replica.storeId) return;
    await attempts.note(id, (task) =>
      task.dropAt !== undefined && task.dropAt > nowWallMs
        ? { t: 'drop', drop_at: nowWallMs }
        : undefined,
    );
  }
}
