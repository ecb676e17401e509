/**
 * Wall clocks that were set: wall time that runs away from boot time between two looks. Nothing is decided by wall
 * time, but what is shown, `run_at` and retention go by it, and an operator should know.
 */

/** NTP slews by half a millisecond a second; between two ticks of a busy daemon the two clocks are read apart. */
export const JUMP_MS_MIN = 1_000;

export interface Jumps {
  readonly count: number;
  /** Forward is positive; of the last one. */
  readonly lastMs: number;
  /** Boot time of this peer's clock. */
  readonly atMs: number;
}

export class ClockJumps {
  #offsetMs: number | undefined;
  #seen: Jumps | undefined;

  note(nowMs: number, wallMs: number): void {
    const offsetMs = wallMs - nowMs;
    const jumpMs = offsetMs - (this.#offsetMs ?? offsetMs);
    // What a slew adds up to is no jump: the next look is compared with this one.
    this.#offsetMs = offsetMs;
    if (Math.abs(jumpMs) < JUMP_MS_MIN) return;
    const count = (this.#seen?.count ?? 0) + 1;
    this.#seen = { count, lastMs: Math.round(jumpMs), atMs: nowMs };
  }

  get seen(): Jumps | undefined {
    return this.#seen;
  }
}
