/** How often something from outside was not taken, by reason: for people. Nothing is decided by it. */

/** Reasons are constants of the code and error codes, so there are few; more would be a mistake, and stay bounded. */
const REASONS_MAX = 128;

export class Refused {
  readonly #counts = new Map<string, number>();

  count(reason: string): void {
    const known = this.#counts.get(reason);
    if (known === undefined && this.#counts.size >= REASONS_MAX) return;
    this.#counts.set(reason, (known ?? 0) + 1);
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
