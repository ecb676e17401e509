/** What keeps copies where they belong: rounds of anti-entropy, stand-ins delivered, damaged values fetched again. */
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { Room } from '../ports/room.ts';
import { HANDOFF_ROUND_MAX, type Handoff } from '../records/handoff.ts';
import type { PartnerSync } from '../records/partner-sync.ts';
import type { Repair } from '../records/repair.ts';
import type { Replica } from '../records/replica.ts';
import type { Sight } from './sight.ts';

/** What one read finds damaged its neighbours are likely to be too: a moment later they are repaired together. */
const REPAIR_AFTER_MS = 200;
/** Pages of stand-ins in one round, while all of a page could be delivered: a store that was renewed holds many. */
const HANDOFF_PAGES_MAX = 50;
/** Partners at once: one that is rebuilt from nothing takes minutes, and the others must not wait for it. */
const SYNCS_AT_ONCE = 8;

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
  readonly replica: Pick<Replica, 'room'>;
  readonly intervalMs: number;
  readonly copiesRequired: number;
}

export class Upkeep {
  readonly #deps: UpkeepDeps;
  readonly #timers = new Map<'sync' | 'handoff', Timer>();
  /** By store: what is being synchronised. */
  readonly #syncs = new Map<string, Promise<void>>();
  #repairTimer: Timer | undefined;
  #running = false;
  #room: Room = 'ample';

  constructor(deps: UpkeepDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running = true;
    this.#schedule('sync', () => this.round());
    // By itself: a round takes minutes while a wiped store is rebuilt, and what only stand-ins hold is run by nobody.
    this.#schedule('handoff', () => this.#handOff());
  }

  stop(): void {
    this.#running = false;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#repairTimer?.cancel();
  }

  #schedule(what: 'sync' | 'handoff', act: () => Promise<void>): void {
    const { clock, random, intervalMs } = this.#deps;
    const delay = intervalMs * (0.75 + (random.uint32() / 0x1_0000_0000) * 0.5);
    const timer = clock.after(delay, () => {
      void act().then(() => {
        if (this.#running) this.#schedule(what, act);
      });
    });
    this.#timers.set(what, timer);
  }

  /** A sync is begun with every partner in reach whose last one is over. */
  async round(): Promise<void> {
    const { sight, repair } = this.#deps;
    this.#tellRoom();
    repair.scrub();
    await repair.round();
    for (const { self, reachable, storeId, name } of sight.peers()) {
      if (self || !reachable || this.#syncs.has(storeId)) continue;
      while (this.#syncs.size >= SYNCS_AT_ONCE) await Promise.race(this.#syncs.values());
      if (!this.#running) return;
      const done = this.#syncWith(storeId, name).then(() => void this.#syncs.delete(storeId));
      this.#syncs.set(storeId, done);
    }
  }

  async #syncWith(storeId: string, name: string): Promise<void> {
    const { sync, log } = this.#deps;
    const round = await sync.syncWith(storeId);
    if (!round.ok || round.value.equal) return;
    log.log('debug', 'records were synchronised', { with: name, ...round.value });
  }

  /** The stand-in copies are offered to their homes. */
  async #handOff(): Promise<void> {
    const { handoff, copiesRequired } = this.#deps;
    for (let pages = 0; pages < HANDOFF_PAGES_MAX && this.#running; pages++)
      if ((await handoff.round(copiesRequired)) < HANDOFF_ROUND_MAX) return;
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
