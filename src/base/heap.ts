/** A binary min-heap. `before` must be a strict weak order; ties leave in an unspecified order. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as T;
      if (!this.#before(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#before(items[child + 1] as T, items[child] as T))
        child += 1;
      const below = items[child] as T;
      if (!this.#before(below, last)) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

/** The `count` greatest of very many, in no particular order, without sorting all of them. */
export function greatest(items: readonly string[], count: number): string[] {
  const heap = new Heap<string>((a, b) => a < b);
  // From the end: they mostly come in order, and then the rest is passed over.
  for (let i = items.length - 1; i >= 0; i--) {
    const item = items[i] ?? '';
    if (heap.size >= count) {
      if (item <= (heap.peek() ?? '')) continue;
      heap.pop();
    }
    heap.push(item);
  }
  return Array.from({ length: heap.size }, () => heap.pop() ?? '');
}
