/** Puts results back into the order of the input; pure. */

/**
 * Held results are bounded by bytes: what is put beyond `bytesMax` is kept in its `shed` form, without its output,
 * unless its turn is now. How far indices may run ahead is the submitter's business (`span`).
 */
export class OrderKeeper<T> {
  readonly #bytesMax: number;
  readonly #bytesOf: (value: T) => number;
  readonly #shed: (value: T) => T;
  readonly #held = new Map<number, T>();
  #next = 0;
  #bytes = 0;

  constructor(bytesMax: number, bytesOf: (value: T) => number, shed: (value: T) => T) {
    this.#bytesMax = bytesMax;
    this.#bytesOf = bytesOf;
    this.#shed = shed;
  }

  get next(): number {
    return this.#next;
  }

  get heldBytes(): number {
    return this.#bytes;
  }

  put(index: number, value: T): void {
    if (index < this.#next || this.#held.has(index)) {
      throw new Error(`result ${index} came twice`);
    }
    const fits = index === this.#next || this.#bytes + this.#bytesOf(value) <= this.#bytesMax;
    const kept = fits ? value : this.#shed(value);
    this.#held.set(index, kept);
    this.#bytes += this.#bytesOf(kept);
  }

  /** The result whose turn it is, if it is here. */
  take(): T | undefined {
    const value = this.#held.get(this.#next);
    if (value === undefined) return undefined;
    this.#held.delete(this.#next);
    this.#bytes -= this.#bytesOf(value);
    this.#next++;
    return value;
  }
}
