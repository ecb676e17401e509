/**
 * Collecting copies: asks the home, and for those of it that are dead, gone or slow the next stores on the ring,
 * until enough have confirmed. One object a record and occasion.
 */
import type { CoveyError } from '../base/errors.ts';
import type { Result } from '../base/result.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { StoreId } from './record.ts';

/** A home store that has not answered by then is stood in for; it may still answer, and then counts too. */
export const STAND_IN_AFTER_MS = 1_000;
/** How long copies are waited for before the outcome is called unknown. */
export const SPREAD_TIMEOUT_MS = 5_000;

export interface Spread {
  readonly storedOn: readonly StoreId[];
  readonly standIns: readonly StoreId[];
  /** Some store knew the record already. */
  readonly existed: boolean;
  /** Another request has this id: final, whatever else was stored. */
  readonly refusal: CoveyError | undefined;
  /** Why the last store that failed did so. */
  readonly failure: CoveyError | undefined;
  readonly unreachable: readonly StoreId[];
}

export interface GatherPlan {
  readonly home: readonly StoreId[];
  readonly required: number;
  /** Stores that have it, and count. */
  readonly already: readonly StoreId[];
  /** Stores that may stand in, the first to be asked first. */
  readonly reserve: readonly StoreId[];
  readonly isReachable: (store: StoreId) => boolean;
  /** Whether the store knew the record already, when it has it. */
  readonly put: (store: StoreId, standIn: boolean) => Promise<Result<boolean, CoveyError>>;
}

export class Gathering {
  readonly #plan: GatherPlan;
  readonly #clock: Clock;
  readonly #storedOn: StoreId[];
  readonly #standIns: StoreId[] = [];
  readonly #unreachable: StoreId[] = [];
  readonly #reserve: StoreId[];
  /** Home stores asked and not heard yet. */
  readonly #waiting = new Set<StoreId>();
  /** Waiting ones that a stand-in was asked for: they no longer hold a place. */
  readonly #givenUp = new Set<StoreId>();
  #open = 0;
  #existed = false;
  #refusal: CoveyError | undefined;
  #failure: CoveyError | undefined;
  #timers: Timer[] = [];
  #resolve: ((spread: Spread) => void) | undefined;

  constructor(clock: Clock, plan: GatherPlan) {
    this.#clock = clock;
    this.#plan = plan;
    this.#storedOn = [...plan.already];
    this.#reserve = [...plan.reserve];
  }

  /** Resolves as soon as `required` stores have it, or when no more can be had. Once. */
  run(): Promise<Spread> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timers = [
        this.#clock.after(SPREAD_TIMEOUT_MS, () => this.#finish()),
        this.#clock.after(STAND_IN_AFTER_MS, () => this.#replaceSlow()),
      ];
      let missing = 0;
      for (const store of this.#plan.home) {
        if (this.#plan.already.includes(store)) continue;
        if (this.#plan.isReachable(store)) {
          this.#waiting.add(store);
          this.#launch(store, false);
        } else {
          this.#unreachable.push(store);
          missing += 1;
        }
      }
      // A home that is smaller than what is required is filled up too.
      missing += Math.max(0, this.#plan.required - this.#plan.home.length);
      for (let i = 0; i < missing; i++) this.#standIn();
      this.#check();
    });
  }

  #launch(store: StoreId, standIn: boolean): void {
    this.#open += 1;
    void this.#plan.put(store, standIn).then((result) => {
      this.#open -= 1;
      this.#waiting.delete(store);
      // Heard after all: from here on it counts as what it said, and no more as one whose place is free.
      this.#givenUp.delete(store);
      if (result.ok) {
        this.#storedOn.push(store);
        if (standIn) this.#standIns.push(store);
        this.#existed ||= result.value;
      } else if (result.error.code === 'ID_CONFLICT') this.#refusal = result.error;
      else {
        this.#failure = result.error;
        this.#unreachable.push(store);
        this.#standIn();
      }
      this.#check();
    });
  }

  #standIn(): void {
    const places = Math.max(this.#plan.home.length, this.#plan.required);
    if (this.#resolve === undefined) return;
    if (this.#storedOn.length + this.#open - this.#givenUp.size >= places) return;
    const next = this.#reserve.shift();
    if (next !== undefined) this.#launch(next, true);
  }

  #replaceSlow(): void {
    for (const store of [...this.#waiting]) {
      this.#givenUp.add(store);
      this.#standIn();
    }
  }

  #check(): void {
    const enough = this.#storedOn.length >= this.#plan.required;
    if (enough || this.#open === 0 || this.#refusal !== undefined) this.#finish();
  }

  #finish(): void {
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    this.#resolve = undefined;
    for (const timer of this.#timers) timer.cancel();
    resolve({
      storedOn: this.#storedOn,
      standIns: this.#standIns,
      existed: this.#existed,
      refusal: this.#refusal,
      failure: this.#failure,
      unreachable: this.#unreachable,
    });
  }
}
