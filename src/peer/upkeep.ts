/** What keeps copies where they belong: rounds of anti-entropy, stand-ins delivered, damaged values fetched again. */
import type { Config } from '../api/config.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { Room } from '../ports/room.ts';
import type { Handoff } from '../records/handoff.ts';
import type { PartnerSync } from '../records/partner-sync.ts';
import { type Repair, SCRUB_SLICES } from '../records/repair.ts';
import type { Replica } from '../records/replica.ts';
import type { PeerSight } from '../tasks/mesh-view.ts';
import type { Sight } from './sight.ts';

/** What one read finds damaged its neighbours are likely to be too: a moment later they are repaired together. */
const REPAIR_AFTER_MS = 200;
/** Pages of stand-ins in one round, while some of a page could be delivered: a store that was renewed holds many. */
const HANDOFF_PAGES_MAX = 50;
/** Intervals vary by a quarter to either side. */
const INTERVAL_MIN = 0.75;
/** After a member came into reach: others come with it, and one round is for all of them. */
const RETURNED_MS = 500;
/** Partners at once: one that is rebuilt from nothing takes minutes, and the others must not wait for it. */
const SYNCS_AT_ONCE = 8;
/** One in so many of the links may be made anew in each round, for partners that have none; they come in turn. */
const FAR_SHARE = 16;

const JOBS = ['sync', 'handoff'] as const;
type Job = (typeof JOBS)[number];

const ROOM_SENTENCES: Readonly<Record<Room, string>> = {
  ample: 'there is room on the disk again',
  low: 'little room on the disk: no new tasks are stored here',
  scarce: 'very little room on the disk: no new tasks, attempts and copies are stored here',
  full: 'the disk is full: nothing is stored here',
};

export interface UpkeepDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly sight: Sight;
  readonly sync: PartnerSync;
  readonly handoff: Handoff;
  readonly repair: Repair;
  readonly replica: Pick<Replica, 'room' | 'heldCount'>;
  readonly config: Pick<Config, 'record_sync_interval' | 'copies_required' | 'max_connections'>;
}

export class Upkeep {
  readonly #deps: UpkeepDeps;
  readonly #timers = new Map<Job, Timer>();
  /** By store: what is being synchronised. */
  readonly #syncs = new Map<string, Promise<void>>();
  #repairTimer: Timer | undefined;
  #running = false;
  /** The last of the partners without a link that was synchronised. */
  #farthest = '';
  #scrubbedMs = Number.NEGATIVE_INFINITY;
  /** A member came into reach since these last began. */
  readonly #awaited = new Set<Job>();
  #room: Room = 'ample';

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running = true;
    for (const what of JOBS) this.#schedule(what);
  }

  stop(): void {
    this.#running = false;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#repairTimer?.cancel();
  }

  #schedule(what: Job): void {
    const { clock, random, config } = this.#deps;
    const intervalMs = config.record_sync_interval;
    const meanMs = this.#awaited.has(what) ? Math.min(RETURNED_MS, intervalMs) : intervalMs;
    const spread = 2 * (1 - INTERVAL_MIN);
    const delay = meanMs * (INTERVAL_MIN + (random.uint32() / 0x1_0000_0000) * spread);
    const timer = clock.after(delay, () => {
      this.#timers.delete(what);
      this.#awaited.delete(what);
      // Each by itself: a round takes minutes while a wiped store is rebuilt, and what only stand-ins hold is run by nobody.
      const done = what === 'sync' ? this.round() : this.#handOff();
      void done.then(() => {
        if (this.#running) this.#schedule(what);
      });
    });
    this.#timers.set(what, timer);
  }

  /**
   * A member is in reach again. What this store wrote without it, perhaps alone, and what only stand-ins hold, does not
   * wait for the next round: until then the loss of this disk would be the loss of it.
   */
  memberReturned(): void {
    for (const what of this.#running ? JOBS : []) {
      if (this.#awaited.has(what)) continue;
      this.#awaited.add(what);
      const timer = this.#timers.get(what);
      // While one is under way the next one follows it soon.
      if (timer === undefined) continue;
      timer.cancel();
      this.#schedule(what);
    }
  }

  /** A sync is begun with every partner in reach whose last one is over. */
  async round(): Promise<void> {
    const { sight, repair, clock, config } = this.#deps;
    this.#tellRoom();
    // Not in each round that a return brings forward: members may come and go all the time.
    if (clock.nowMs() - this.#scrubbedMs >= config.record_sync_interval * INTERVAL_MIN) {
      this.#scrubbedMs = clock.nowMs();
      await this.#scrub();
    }
    await repair.round();
    const partners = sight.peers().filter(({ self, reachable }) => !self && reachable);
    const near = partners.filter(({ linked }) => linked);
    for (const { storeId, name } of [...near, ...this.#someFar(partners)]) {
      if (this.#syncs.has(storeId)) continue;
      while (this.#syncs.size >= SYNCS_AT_ONCE) await Promise.race(this.#syncs.values());
      if (!this.#running) return;
      const done = this.#syncWith(storeId, name).then(() => void this.#syncs.delete(storeId));
      this.#syncs.set(storeId, done);
    }
  }

  /** With a turn of the event loop between two slices: four megabytes at once would hold up heartbeats and clients. */
  async #scrub(): Promise<void> {
    const { repair, clock } = this.#deps;
    for (let slices = 1; this.#running && !repair.scrub() && slices < SCRUB_SLICES; slices++)
      await new Promise<void>((resolve) => clock.after(0, resolve));
  }

  /** A store that holds nothing has nothing to compare: whoever holds something asks it. */
  #someFar(partners: readonly PeerSight[]): readonly PeerSight[] {
    const { replica, config } = this.#deps;
    const atOnce = Math.max(1, Math.floor(config.max_connections / FAR_SHARE));
    const far = partners.filter(({ linked }) => !linked);
    if (far.length === 0 || replica.heldCount === 0) return [];
    const next = far.filter(({ peerId }) => peerId > this.#farthest);
    const some = [...next, ...far.filter((peer) => !next.includes(peer))].slice(0, atOnce);
    this.#farthest = some.at(-1)?.peerId ?? '';
    return some;
  }

  async #syncWith(storeId: string, name: string): Promise<void> {
    const { sync, log } = this.#deps;
    const round = await sync.syncWith(storeId);
    if (!round.ok)
      log.log('debug', 'a round ended early', { with: name, why: round.error.message });
    else if (!round.value.equal)
      log.log('debug', 'records were synchronised', { with: name, ...round.value });
  }

  /** The stand-in copies are offered to their homes. */
  async #handOff(): Promise<void> {
    const { handoff, config } = this.#deps;
    for (let pages = 0; pages < HANDOFF_PAGES_MAX && this.#running; pages++) {
      const released = await handoff.round(config.copies_required);
      if (released === 0 || !handoff.isUnderWay) return;
    }
  }

  #tellRoom(): void {
    const { log, replica } = this.#deps;
    if (replica.room === this.#room) return;
    this.#room = replica.room;
    log.log(this.#room === 'ample' ? 'info' : 'warn', ROOM_SENTENCES[this.#room]);
  }

  /** Something damaged was read. */
  damaged(key = ''): void {
    this.#deps.repair.found(key);
    if (!this.#running || this.#repairTimer !== undefined) return;
    this.#repairTimer = this.#deps.clock.after(REPAIR_AFTER_MS, () => {
      this.#repairTimer = undefined;
      if (this.#running) void this.#deps.repair.round();
    });
  }
}
