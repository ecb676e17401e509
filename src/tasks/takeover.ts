/**
 * Takeover sync: read before you own. Before a store acts as owner of records it did not see created, it asks
 * every member that is neither dead nor left what it holds of them and what of them runs there, and joins the answers.
 */
import { greatest } from '../base/heap.ts';
import { jitter, type Random, randomFloat } from '../base/random.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import { standingHome } from '../records/directory.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { Messaging } from '../wire/messaging.ts';
import { lossOf } from './attempts.ts';
import { askHeld, heldOf, joinHeld } from './held.ts';
import { type MeshView, presentPeers } from './mesh-view.ts';
import type { Runner } from './runner.ts';
import { openAttempts, taskOf } from './task.ts';

/** Takeovers that come within this time travel together. */
const GATHER_MS = 20;
/** A death is seen by all at once: who takes over many asks up to so much later, and so do others at another time. */
const JITTER_MS_PER_ID = 0.1;
const JITTER_MS_MAX = 100;
/**
 * What is owned from then on sets much in motion: in batches, what was lost first, so that it runs again soon; then
 * what runs and is adopted, a question and three writes each; then what waits, which costs little.
 */
const BATCHES = [
  { what: 'lost', idsMax: 64 },
  { what: 'running', idsMax: 64 },
  { what: 'waiting', idsMax: 512 },
] as const;
/** Between two batches; a round of 1,024 is all owned within two seconds, while what was read is fresh. */
const BATCH_PAUSE_MS = 60;
/** Records of one round; a death that moves more runs several rounds, one after another. */
export const ROUND_IDS_MAX = 1_024;
/**
 * Of these the youngest tasks, as their ids say: after a death or a return tens of thousands wait for their turn, in rounds
 * that take seconds on a busy host, and whoever submits a task now would wait behind them all. Not those that were asked
 * for last: what must be read once more is asked for again, by the thousand.
 */
const ROUND_YOUNGEST = 128;
const POLL_MS = 50;
/** A poll that comes so late means that this process stood still: what it did not hear then nobody kept from it. */
const STILL_MS = 500;
/** The patience ends after so many times its length all the same: a host may crawl for minutes, and tasks wait. */
const PATIENCE_TIMES = 3;
/** Refusals of this store, not of the copy. */
const NO_ROOM: ReadonlySet<string> = new Set(['STORE_FULL', 'BUSY', 'STOPPING']);
/** Between two tries when this disk is full. */
const UNREAD_RETRY_MS = 1_000;
/** A question may be lost with a connection that another one replaces: it is asked so often within the patience. */
const ASKS_MAX = 4;

export interface TakeoverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly messaging: Messaging;
  readonly runner: Pick<Runner, 'held'>;
  readonly view: MeshView;
  readonly copiesRequired: number;
  readonly patienceMs: () => number;
  /** The records were read; `complete` says whether everybody was heard. */
  readonly done: (ids: readonly string[], complete: (id: string) => boolean) => void;
}

export class Takeover {
  readonly #deps: TakeoverDeps;
  readonly #waiting = new Set<string>();
  #running = false;
  #closed = false;

  constructor(deps: TakeoverDeps) {
    this.#deps = deps;
  }

  /** What is under way ends without being handed over: nobody of this peer owns anything any more. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
  }

  request(id: string): void {
    if (this.#closed) return;
    this.#waiting.add(id);
    if (this.#running) return;
    this.#running = true;
    this.#deps.clock.after(GATHER_MS, () => void this.#loop());
  }

  async #jitter(): Promise<void> {
    const { clock, random } = this.#deps;
    const mostMs = Math.min(JITTER_MS_MAX, JITTER_MS_PER_ID * this.#waiting.size);
    if (mostMs >= 1) await sleep(clock, mostMs * randomFloat(random));
  }

  /** What has become of the task's attempt. */
  #standing(id: string): (typeof BATCHES)[number]['what'] {
    const { replica, view } = this.#deps;
    const record = replica.get(id);
    const open = record === undefined ? undefined : openAttempts(taskOf(record))[0];
    if (open === undefined) return 'waiting';
    return lossOf(open, view.peer(open.start.runner)) === undefined ? 'running' : 'lost';
  }

  async #hand(ids: readonly string[], complete: (id: string) => boolean): Promise<void> {
    const { clock, random, done } = this.#deps;
    const standings = Map.groupBy(ids, (id) => this.#standing(id));
    const batches = BATCHES.flatMap(({ what, idsMax }) => {
      const all = standings.get(what) ?? [];
      const count = Math.ceil(all.length / idsMax);
      return Array.from({ length: count }, (_, i) => all.slice(i * idsMax, (i + 1) * idsMax));
    });
    for (const [i, batch] of batches.entries()) {
      if (i > 0) await sleep(clock, jitter(random, BATCH_PAUSE_MS, 0.5));
      if (this.#closed) return;
      done(batch, complete);
    }
  }

  async #loop(): Promise<void> {
    await this.#jitter();
    while (this.#waiting.size > 0) {
      const ids = this.#take();
      const unread = new Set<string>();
      const answered = await this.#round(ids, unread);
      if (this.#closed) return;
      const { view, clock } = this.#deps;
      const all = presentPeers(view).every((peer) => peer.self || answered.has(peer.storeId));
      const read = ids.filter((id) => !unread.has(id));
      await this.#hand(read, (id) => all && this.#homeHeard(id, answered));
      // What others know better and this disk could not take must not be decided here.
      if (unread.size > 0) {
        clock.after(UNREAD_RETRY_MS, () => {
          for (const id of unread) this.request(id);
        });
      }
    }
    this.#running = false;
  }

  /** The ids of the next round: those that wait longest, and some of the youngest. */
  #take(): string[] {
    const all = [...this.#waiting];
    const isAll = all.length <= ROUND_IDS_MAX;
    const longest = isAll ? all : all.slice(0, ROUND_IDS_MAX - ROUND_YOUNGEST);
    const youngest = isAll ? [] : greatest(all.slice(longest.length), ROUND_YOUNGEST);
    const ids = [...longest, ...youngest];
    for (const id of ids) this.#waiting.delete(id);
    return ids;
  }

  /** At least n − min(W, n) + 1 of the home stores, this one included: then no acknowledged change was missed. */
  #homeHeard(id: string, answered: ReadonlySet<string>): boolean {
    const { replica, copiesRequired, view } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return false;
    const home = standingHome(view.directory, record);
    const heard = home.filter((store) => store === replica.storeId || answered.has(store)).length;
    return heard >= home.length - Math.min(copiesRequired, home.length) + 1;
  }

  /**
   * Asks everybody in sight, as they come into reach, until all have answered or patience ends. Time in which this
   * process stood still is none of it: a busy host would else go on without having heard anybody.
   */
  async #round(ids: readonly string[], unread: Set<string>): Promise<Set<string>> {
    const { clock, view, log, replica, runner } = this.#deps;
    for (const id of await joinHeld(replica, heldOf(runner, ids))) unread.add(id);
    const patienceMs = this.#deps.patienceMs();
    let giveUpAt = clock.nowMs() + patienceMs;
    const latestMs = clock.nowMs() + PATIENCE_TIMES * patienceMs;
    const answered = new Set<string>();
    const asking = new Set<string>();
    for (;;) {
      const missing = presentPeers(view).filter(
        (peer) => !peer.self && !answered.has(peer.storeId),
      );
      if (missing.length === 0 || this.#closed) return answered;
      if (clock.nowMs() >= giveUpAt) {
        log.log('warn', 'a takeover went on without some members', {
          tasks: ids.length,
          unheard: missing.map((peer) => peer.name),
        });
        return answered;
      }
      for (const peer of missing) {
        if (!peer.reachable || asking.has(peer.storeId)) continue;
        asking.add(peer.storeId);
        void this.#askOne(peer.peerId, ids, unread, patienceMs / ASKS_MAX).then((heard) => {
          asking.delete(peer.storeId);
          if (heard) answered.add(peer.storeId);
        });
      }
      const dueMs = clock.nowMs() + POLL_MS;
      await sleep(clock, POLL_MS);
      const lateMs = clock.nowMs() - dueMs;
      if (lateMs > STILL_MS) giveUpAt = Math.min(giveUpAt + lateMs, latestMs);
    }
  }

  async #askOne(
    peerId: string,
    ids: readonly string[],
    unread: Set<string>,
    timeoutMs: number,
  ): Promise<boolean> {
    const { sharing, messaging, replica } = this.#deps;
    // First what runs there: an end that is brought home meanwhile is read at its home, or brought here, too.
    const held = await askHeld(messaging, peerId, ids, timeoutMs);
    if (held === undefined) return false;
    for (const id of await joinHeld(replica, held)) unread.add(id);
    const copies = await sharing.ask(peerId, ids, false, timeoutMs);
    if (!copies.ok) return false;
    for (const copy of copies.value) {
      const joined = await sharing.accept({ ...copy, fresh: false, standIn: false });
      if (!joined.ok && NO_ROOM.has(joined.error.code)) unread.add(copy.record.id);
    }
    return true;
  }
}
