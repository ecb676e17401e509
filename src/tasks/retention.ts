/**
 * Forgetting final tasks: by age (`drop_at`, written with the final) and by count, which only makes `drop_at`
 * earlier. A dropped record leaves a tombstone, so that a copy that comes late is not taken for a new task.
 */
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Spool } from '../ports/processes.ts';
import { homeOf } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Attempts } from './attempts.ts';
import type { MeshView } from './mesh-view.ts';
import { ownerOf } from './ownership.ts';
import type { Tails } from './tails.ts';
import { taskOf } from './task.ts';

export const SWEEP_INTERVAL_MS = 10_000;
/** Records dropped in one sweep, so that a sweep never holds the disk for long. */
export const SWEEP_MAX = 2_000;
/** Far in the future: lists final records by age whatever their drop time. */
const ALL_TIMES_MS = 10 ** 15 - 1;

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

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
  }

  start(): void {
    const tick = (): void => {
      void this.sweep().then(() => {
        this.#timer = this.#deps.clock.after(SWEEP_INTERVAL_MS, tick);
      });
    };
    this.#timer = this.#deps.clock.after(SWEEP_INTERVAL_MS, tick);
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** One round; answers how many records were dropped. */
  async sweep(): Promise<number> {
    const { clock, replica, tails, tombstoneTtlMs } = this.#deps;
    await this.#shortenByCount();
    const now = clock.wallMs();
    const dropped: string[] = [];
    for (const id of replica.droppable(now, SWEEP_MAX)) {
      if (await this.#drop(id, now)) dropped.push(id);
    }
    await tails.drop(dropped);
    await replica.sweepTombstones(now - tombstoneTtlMs, SWEEP_MAX);
    return dropped.length;
  }

  async #drop(id: string, nowWallMs: number): Promise<boolean> {
    const { replica, spool } = this.#deps;
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
    await Promise.all(task.attempts.map((attempt) => spool.remove(attempt.start.run_id)));
    return true;
  }

  /** Too many final records: their owners let the oldest go now. */
  async #shortenByCount(): Promise<void> {
    const { replica, attempts, view, clock, countMax } = this.#deps;
    const surplus = replica.heldCount - replica.unfinishedCount - countMax;
    if (surplus <= 0) return;
    const now = clock.wallMs();
    for (const id of replica.droppable(ALL_TIMES_MS, Math.min(surplus, SWEEP_MAX))) {
      const record = replica.get(id);
      if (record?.kind !== 'task' || !homeOf(record).includes(replica.storeId)) continue;
      if (ownerOf(taskOf(record), view) !== replica.storeId) continue;
      await attempts.note(id, (task) =>
        task.dropAt !== undefined && task.dropAt > now ? { t: 'drop', drop_at: now } : undefined,
      );
    }
  }
}
