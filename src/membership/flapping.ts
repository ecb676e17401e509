/** Members that come and go: how often one came back lately. Each time costs takeovers, so an operator should know. */

/** Returns that are remembered of one member. */
const RETURNS_MAX = 16;
/** Returns within FLAP_WINDOW_MS that make a member a flapping one: a restart or a short cut is one. */
export const FLAPS_MIN = 4;
export const FLAP_WINDOW_MS = 10 * 60_000;

export class Returns {
  readonly #atMs: number[] = [];
  #isFlapping = false;

  /** It came back: the number of returns when it has begun to flap with this one, else undefined. */
  note(nowMs: number): number | undefined {
    this.#atMs.push(nowMs);
    if (this.#atMs.length > RETURNS_MAX) this.#atMs.shift();
    const wasFlapping = this.#isFlapping;
    const count = this.count(nowMs);
    this.#isFlapping = count >= FLAPS_MIN;
    return this.#isFlapping && !wasFlapping ? count : undefined;
  }

  /** Within the window; at most RETURNS_MAX. */
  count(nowMs: number): number {
    return this.#atMs.filter((atMs) => nowMs - atMs <= FLAP_WINDOW_MS).length;
  }
}
