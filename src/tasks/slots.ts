/**
 * Slots of this peer: late binding by credits. An owner with waiting tasks says what it wants; this peer grants
 * free slots, in turn among the owners that want them, as credits that are reserved for a short time; an attempt
 * is placed only against a credit, so a placed attempt does not find the peer occupied.
 *
 * Messages (all casts): owner → here `slot.want {demand, n}`, `slot.return {credits}`; here → owner
 * `slot.grant {demand, credits}`, `slot.refuse {demand, code, detail}`.
 */
import { toHex } from '../base/hash.ts';
import type { Random } from '../base/random.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { WireValue } from '../wire/codec.ts';
import type { Messaging } from '../wire/messaging.ts';
import { type Demand, demandParts } from './demand.ts';

/** A credit not used by then is free again: its owner died, or found no task for it. */
export const CREDIT_TTL_MS = 5_000;
/** A want not repeated by then is forgotten. */
export const WANT_TTL_MS = 3_000;
/** Different (owner, demand) pairs that wait here; more are refused. */
export const WANTS_MAX = 4_096;
/** Slots of one grant: a large fleet of workers fills up in a few turns instead of one. */
const GRANT_MAX = 64;
/** The refusal of a peer where nobody works on such tasks. */
export const NO_WORKER = 'no_worker';
/** A system that had no process or descriptor left is not tried again for so long: others get the commands. */
export const PAUSE_TTL_MS = 5_000;

export interface SlotDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly messaging: Messaging;
  readonly execSlots: number;
  readonly workerCapacity: (type: string) => { total: number; free: number };
  readonly directoryExists: (path: string) => Promise<boolean>;
  /** Why nothing is granted at all, or undefined. */
  readonly closed: () => Refusal | undefined;
  /** The load changed. */
  readonly onChange: () => void;
  /** This peer's own waiting tasks may take what is free. */
  readonly offerLocally: () => void;
}

interface Credit {
  readonly demand: Demand;
  readonly timer: Timer;
}

interface Refusal {
  readonly code: string;
  readonly detail: string;
}

export class Slots {
  readonly #deps: SlotDeps;
  readonly #credits = new Map<string, Credit>();
  readonly #wants = new Map<Demand, Map<string, { n: number; untilMs: number }>>();
  readonly #reserved = new Map<Demand, number>();
  #execBusy = 0;
  #execReserved = 0;
  #turn = 0;
  #pause: { readonly refusal: Refusal; readonly timer: Timer } | undefined;

  constructor(deps: SlotDeps) {
    this.#deps = deps;
    deps.messaging.onMessage('slot.want', (from, body) => {
      if (typeof body.demand === 'string' && typeof body.n === 'number')
        void this.#want(from, body.demand, body.n);
    });
    deps.messaging.onMessage('slot.return', (_from, body) => {
      for (const id of Array.isArray(body.credits) ? (body.credits as WireValue[]) : [])
        this.release(String(id));
      this.pump();
    });
  }

  get execFree(): number {
    if (this.#pause !== undefined) return 0;
    return Math.max(0, this.#deps.execSlots - this.#execBusy - this.#execReserved);
  }

  get execBusy(): number {
    return this.#execBusy;
  }

  free(demand: Demand): number {
    if (this.#deps.closed() !== undefined) return 0;
    const parts = demandParts(demand);
    if (parts === undefined) return 0;
    if (parts.kind === 'exec') return this.execFree;
    return Math.max(
      0,
      this.#deps.workerCapacity(parts.type).free - (this.#reserved.get(demand) ?? 0),
    );
  }

  /** A credit for the owner on this very peer, at once if there is room. */
  reserve(demand: Demand): string | undefined {
    if (this.free(demand) <= 0) return undefined;
    const id = toHex(this.#deps.random.bytes(8));
    const timer = this.#deps.clock.after(CREDIT_TTL_MS, () => {
      this.release(id);
      this.pump();
    });
    this.#credits.set(id, { demand, timer });
    this.#count(demand, 1);
    return id;
  }

  /** Gives a credit back unused. */
  release(id: string): void {
    const credit = this.#credits.get(id);
    if (credit === undefined) return;
    credit.timer.cancel();
    this.#credits.delete(id);
    this.#count(credit.demand, -1);
  }

  /** Turns a credit into a running attempt. False: it expired, or was for something else, and nothing is free. */
  occupy(id: string, demand: Demand): boolean {
    const isOurs = this.#credits.get(id)?.demand === demand;
    if (!isOurs && this.free(demand) <= 0) return false;
    this.release(id);
    if (demand.startsWith('exec:')) this.#execBusy += 1;
    // Others must hear that this peer is busy, also when nothing else happens here for a long time.
    this.#deps.onChange();
    return true;
  }

  /** The system would not start a command: nothing is wrong with it, nor with those that wait for this host. */
  pauseCommands(detail: string): void {
    this.#pause?.timer.cancel();
    const timer = this.#deps.clock.after(PAUSE_TTL_MS, () => {
      this.#pause = undefined;
      this.pump();
    });
    this.#pause = { refusal: { code: 'cannot_start', detail }, timer };
    this.#deps.onChange();
  }

  /** Why no command is started here for the moment, or undefined. */
  pausedBecause(demand: Demand): Refusal | undefined {
    return demand.startsWith('exec:') ? this.#pause?.refusal : undefined;
  }

  /** A running attempt has ended. */
  vacate(demand: Demand): void {
    if (demand.startsWith('exec:')) this.#execBusy -= 1;
    this.pump();
  }

  /**
   * Offers what is free: to this peer's own tasks, which need no message, and to other owners, which would starve
   * behind them: whose turn is first changes each time.
   */
  pump(): void {
    this.#turn += 1;
    if (this.#turn % 2 === 0) this.#deps.offerLocally();
    this.#grantAll();
    if (this.#turn % 2 === 1) this.#deps.offerLocally();
    this.#deps.onChange();
  }

  #grantAll(): void {
    const now = this.#deps.clock.nowMs();
    for (const [demand, owners] of this.#wants) {
      for (const [owner, want] of owners)
        if (want.untilMs < now || want.n <= 0) owners.delete(owner);
      if (owners.size === 0) this.#wants.delete(demand);
    }
    const demands = [...this.#wants.keys()];
    for (let i = 0; i < demands.length; i++) {
      const demand = demands[(i + this.#turn) % demands.length];
      if (demand !== undefined) this.#grantOf(demand);
    }
  }

  #grantOf(demand: Demand): void {
    const owners = this.#wants.get(demand);
    if (owners === undefined) return;
    const names = [...owners.keys()];
    const grants = new Map<string, string[]>();
    let idle = 0;
    for (let turn = this.#turn; idle < names.length; turn++) {
      const owner = names[turn % names.length] ?? '';
      const want = owners.get(owner);
      const mine = grants.get(owner) ?? [];
      const credit =
        want !== undefined && mine.length < Math.min(want.n, GRANT_MAX)
          ? this.reserve(demand)
          : undefined;
      if (credit === undefined) {
        idle += 1;
        continue;
      }
      idle = 0;
      mine.push(credit);
      grants.set(owner, mine);
    }
    for (const [owner, credits] of grants) {
      const want = owners.get(owner);
      if (want !== undefined) want.n -= credits.length;
      if (!this.#deps.messaging.cast(owner, 'slot.grant', { demand, credits })) {
        for (const credit of credits) this.release(credit);
        owners.delete(owner);
      }
    }
  }

  async #want(owner: string, demand: Demand, n: number): Promise<void> {
    const refusal = await this.refusalOf(demand);
    if (refusal !== undefined) {
      if (n > 0) this.#deps.messaging.cast(owner, 'slot.refuse', { demand, ...refusal });
      // A worker program that died is mostly back in a moment: then whoever still wants it need not ask again.
      if (refusal.code !== NO_WORKER) return;
    }
    const owners = this.#wants.get(demand) ?? new Map<string, { n: number; untilMs: number }>();
    if (n <= 0) {
      owners.delete(owner);
      if (owners.size === 0) this.#wants.delete(demand);
      return;
    }
    if (!this.#wants.has(demand) && this.#wants.size >= WANTS_MAX) {
      this.#deps.messaging.cast(owner, 'slot.refuse', {
        demand,
        code: 'BUSY',
        detail: 'too many kinds of task wait here',
      });
      return;
    }
    owners.set(owner, { n, untilMs: this.#deps.clock.nowMs() + WANT_TTL_MS });
    this.#wants.set(demand, owners);
    // With nothing free there is nothing to share out: thousands of wants must not each look at all others.
    if (this.free(demand) > 0) this.pump();
  }

  /** Why nothing of this demand can run here, or undefined. */
  async refusalOf(demand: Demand): Promise<Refusal | undefined> {
    const closed = this.#deps.closed() ?? this.pausedBecause(demand);
    if (closed !== undefined) return closed;
    const parts = demandParts(demand);
    if (parts === undefined) return { code: 'unknown_demand', detail: demand };
    if (parts.kind === 'worker') {
      const { total } = this.#deps.workerCapacity(parts.type);
      return total > 0
        ? undefined
        : { code: NO_WORKER, detail: `no worker for '${parts.type}' is connected` };
    }
    if (this.#deps.execSlots === 0)
      return { code: 'exec_disabled', detail: 'this peer runs no commands' };
    const there = await this.#deps.directoryExists(parts.cwd);
    return there ? undefined : { code: 'no_such_cwd', detail: `${parts.cwd} is not there` };
  }

  #count(demand: Demand, by: number): void {
    if (demand.startsWith('exec:')) this.#execReserved += by;
    else {
      const left = (this.#reserved.get(demand) ?? 0) + by;
      if (left === 0) this.#reserved.delete(demand);
      else this.#reserved.set(demand, left);
    }
  }
}
