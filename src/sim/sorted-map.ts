/** A map from strings to values in the order of the keys, for disks of a few thousand entries. */
export class SortedMap<T> {
  readonly #values = new Map<string, T>();
  readonly #keys: string[] = [];

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: T): void {
    if (!this.#values.has(key)) this.#keys.splice(this.#indexOf(key), 0, key);
    this.#values.set(key, value);
  }

  delete(key: string): void {
    if (this.#values.delete(key)) this.#keys.splice(this.#indexOf(key), 1);
  }

  entries(): [string, T][] {
    return this.range('', undefined, this.#keys.length, false);
  }

  /** Up to `limit` entries with from ≤ key < to, from the start or from the end. */
  range(from: string, to: string | undefined, limit: number, reverse: boolean): [string, T][] {
    const start = this.#indexOf(from);
    const end = to === undefined ? this.#keys.length : Math.max(start, this.#indexOf(to));
    const keys = reverse
      ? this.#keys.slice(Math.max(start, end - limit), end).reverse()
      : this.#keys.slice(start, Math.min(end, start + limit));
    const entries: [string, T][] = [];
    for (const key of keys) {
      const value = this.#values.get(key);
      if (value !== undefined) entries.push([key, value]);
    }
    return entries;
  }

  /** Index of the first key that is not before `key`. */
  #indexOf(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
