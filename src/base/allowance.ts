/** A token bucket: so much at once, and so much a second for as long as it takes. Pure: time is given. */

export interface AllowanceLimits {
  readonly burst: number;
  readonly perSecond: number;
}

export class Allowance {
  readonly #limits: AllowanceLimits;
  #left: number;
  #atMs: number;

  constructor(limits: AllowanceLimits, nowMs: number) {
    this.#limits = limits;
    this.#left = limits.burst;
    this.#atMs = nowMs;
  }

  /** False: it is used up, and nothing was taken. */
  take(amount: number, nowMs: number): boolean {
    const { burst, perSecond } = this.#limits;
    const earned = (Math.max(0, nowMs - this.#atMs) * perSecond) / 1_000;
    this.#left = Math.min(burst, this.#left + earned);
    this.#atMs = nowMs;
    if (amount > this.#left) return false;
    this.#left -= amount;
    return true;
  }
}

/** One for each peer; those that were not used for longest are forgotten first, and begin anew with a full one. */
export class Allowances {
  readonly #limits: AllowanceLimits;
  readonly #peersMax: number;
  readonly #byPeer = new Map<string, Allowance>();

  constructor(limits: AllowanceLimits, peersMax: number) {
    this.#limits = limits;
    this.#peersMax = peersMax;
  }

  take(peerId: string, amount: number, nowMs: number): boolean {
    const allowance = this.#byPeer.get(peerId) ?? new Allowance(this.#limits, nowMs);
    this.#byPeer.delete(peerId);
    this.#byPeer.set(peerId, allowance);
    for (const oldest of this.#byPeer.keys()) {
      if (this.#byPeer.size <= this.#peersMax) break;
      this.#byPeer.delete(oldest);
    }
    return allowance.take(amount, nowMs);
  }
}
