/**
 * How much this peer may trust its own impressions (Lifeguard, Dadgar et al. 2018): a process that
 * was stopped or lags sees silence everywhere. A watchdog tick that comes late tells.
 */
import type { Standing } from './conviction.ts';
import { HEALTH_STEPS, LAG_MS, PAUSE_MS, TICK_MS } from './limits.ts';

export interface HealthReport {
  /** 0 in health, HEALTH_STEPS at worst. */
  readonly step: number;
  readonly patience: number;
  readonly pausedLately: boolean;
  /** How late the last tick was, and the latest one since the start that was no pause. */
  readonly lagMs: number;
  readonly lagMsMax: number;
  readonly pauses: number;
  readonly longestPauseMs: number;
  /** Boot time of this peer's clock. */
  readonly lastPauseMs: number | undefined;
}

export class Health {
  readonly #quietMs: number;
  readonly #trustsItself: boolean;
  #lastTickMs: number;
  #quietUntilMs = Number.NEGATIVE_INFINITY;
  #steps = 0;
  #lagMs = 0;
  #lagMsMax = 0;
  #pauses = 0;
  #longestPauseMs = 0;
  #lastPauseMs: number | undefined;

  /** `quietMs`: how long nobody is accused after a pause. */
  constructor(quietMs: number, nowMs: number, trustsItself = false) {
    this.#trustsItself = trustsItself;
    this.#quietMs = quietMs;
    this.#lastTickMs = nowMs;
  }

  /** Ticks begin now. */
  restart(nowMs: number): void {
    this.#lastTickMs = nowMs;
  }

  /**
   * Called by each tick, and before any judgement in between: after a pause, a frame may be read
   * before the tick runs. True once for each pause found.
   */
  notice(nowMs: number, isTick: boolean): boolean {
    const lateMs = this.#trustsItself ? 0 : nowMs - this.#lastTickMs - TICK_MS;
    if (isTick) {
      this.#steps = lateMs > LAG_MS ? this.#steps + 1 : this.#steps - 0.25;
      this.#steps = Math.min(HEALTH_STEPS, Math.max(0, this.#steps));
    }
    const paused = lateMs > PAUSE_MS;
    if (paused) this.#notePause(lateMs, nowMs);
    else if (isTick) this.#noteLag(Math.max(0, lateMs));
    if (paused) this.#quietUntilMs = nowMs + this.#quietMs;
    if (paused || isTick) this.#lastTickMs = nowMs;
    return paused;
  }

  #notePause(lateMs: number, nowMs: number): void {
    this.#pauses += 1;
    this.#longestPauseMs = Math.max(this.#longestPauseMs, lateMs);
    this.#lastPauseMs = nowMs;
  }

  #noteLag(lateMs: number): void {
    this.#lagMs = lateMs;
    this.#lagMsMax = Math.max(this.#lagMsMax, lateMs);
  }

  report(nowMs: number): HealthReport {
    const told = { lagMs: this.#lagMs, lagMsMax: this.#lagMsMax, pauses: this.#pauses };
    const pauses = { longestPauseMs: this.#longestPauseMs, lastPauseMs: this.#lastPauseMs };
    return { step: this.#steps, ...this.standing(nowMs), ...told, ...pauses };
  }

  standing(nowMs: number): Standing {
    return {
      patience: 1 + this.#steps / HEALTH_STEPS,
      pausedLately: nowMs < this.#quietUntilMs,
    };
  }
}
