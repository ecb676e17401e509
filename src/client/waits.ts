/**
 * Waits for many tasks with few calls: ids that are waited for are gathered into rounds of `task.wait {any}`. A call
 * per waiter would fill the connection's quota of unanswered requests, and block the calls that finish the tasks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BULK_MAX } from '../api/limits.ts';
import type { TaskView } from '../api/task.ts';
import { err, ok, type Result } from '../base/result.ts';
import { PATIENCE_MS, WAIT_ROUND_BUSY_MS, WAIT_ROUND_MS, WAIT_ROUNDS_MAX } from './limits.ts';
import type { Link } from './link.ts';
import type { RpcFailure } from './types.ts';

type Outcome = Result<TaskView, RpcFailure>;
type Waiter = (outcome: Outcome) => void;

export class Waits {
  readonly #link: Link;
  readonly #waiters = new Map<string, Set<Waiter>>();
  /** Waited for, and in no round yet. */
  readonly #gathered = new Set<string>();
  #rounds = 0;
  #startScheduled = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Calls `waiter` once when the task is final; the returned function takes the wait back. */
  add(askedId: string, waiter: Waiter): () => void {
    const id = canonical(askedId);
    const waiters = this.#waiters.get(id);
    if (waiters) waiters.add(waiter);
    else {
      this.#waiters.set(id, new Set([waiter]));
      this.#gathered.add(id);
      this.#scheduleStart();
    }
    return () => {
      const known = this.#waiters.get(id);
      known?.delete(waiter);
      if (known?.size === 0) this.#forget(id);
    };
  }

  #forget(id: string): void {
    this.#waiters.delete(id);
    this.#gathered.delete(id);
  }

  /** In a later turn, so that what one turn waits for travels in one call. */
  #scheduleStart(): void {
    if (this.#startScheduled || this.#rounds >= WAIT_ROUNDS_MAX) return;
    this.#startScheduled = true;
    setImmediate(() => {
      this.#startScheduled = false;
      if (this.#gathered.size > 0) void this.#round();
      if (this.#gathered.size > 0) this.#scheduleStart();
    });
  }

  async #round(): Promise<void> {
    this.#rounds += 1;
    const ids = [...this.#gathered].slice(0, BULK_MAX);
    for (const id of ids) this.#gathered.delete(id);
    const timeout_ms = this.#rounds > WAIT_ROUNDS_MAX / 2 ? WAIT_ROUND_BUSY_MS : WAIT_ROUND_MS;
    const answer = await this.#link.call(
      'task.wait',
      { ids, timeout_ms, any: true },
      PATIENCE_MS,
      'read',
    );
    this.#rounds -= 1;
    if (answer.ok) for (const task of answer.value.done) this.#settle(task.id, ok(task));
    else if (ids.length === 1) for (const id of ids) this.#settle(id, err(answer.error));
    else await this.#askSingly(ids);
    // Those not final yet, and still waited for, go into the next round with whatever came meanwhile.
    for (const id of ids) if (this.#waiters.has(id)) this.#gathered.add(id);
    if (this.#gathered.size > 0) this.#scheduleStart();
  }

  /** One id of many may be the reason for a refusal: the others shall not fail with it. */
  async #askSingly(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      if (!this.#waiters.has(id)) continue;
      const answer = await this.#link.call('task.get', { id }, PATIENCE_MS, 'read');
      if (!answer.ok) this.#settle(id, answer);
      else if (answer.value.finished_at !== undefined) this.#settle(id, answer);
    }
    await sleep(WAIT_ROUND_BUSY_MS);
  }

  #settle(id: string, outcome: Outcome): void {
    const waiters = this.#waiters.get(id);
    this.#forget(id);
    for (const waiter of waiters ?? []) waiter(outcome);
  }
}

/** The daemon answers under the one true spelling of an id: Crockford's base32 takes look-alikes and both cases. */
const canonical = (id: string): string => id.toUpperCase().replace(/[IL]/g, '1').replace(/O/g, '0');
