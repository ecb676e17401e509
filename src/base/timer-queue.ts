/**
 * The queue of pending timers behind both clocks: a binary heap ordered by due time, then by order
 * of setting. Removal is O(log n) and immediate; marking cancelled timers and skipping them later
 * would keep every request's 30 s timeout in memory long after its answer.
 */
export interface QueuedTimer<T> {
  readonly dueMs: number;
  readonly order: number;
  readonly value: T;
  /** Place in the heap; −1 when not queued. Owned by the queue. */
  index: number;
}

export class TimerQueue<T> {
  readonly #heap: QueuedTimer<T>[] = [];
  #nextOrder = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** The order number that the next timer will get. */
  get nextOrder(): number {
    return this.#nextOrder;
  }

  add(dueMs: number, value: T): QueuedTimer<T> {
    const timer = { dueMs, order: this.#nextOrder++, value, index: this.#heap.length };
    this.#heap.push(timer);
    this.#up(timer);
    return timer;
  }

  peek(): QueuedTimer<T> | undefined {
    return this.#heap[0];
  }

  shift(): QueuedTimer<T> | undefined {
    const first = this.#heap[0];
    if (first) this.remove(first);
    return first;
  }

  /** Takes the timer out; false when it is not queued any more. */
  remove(timer: QueuedTimer<T>): boolean {
    if (timer.index < 0) return false;
    const last = this.#heap.pop();
    if (last && last !== timer) {
      this.#place(last, timer.index);
      this.#up(last);
      this.#down(last);
    }
    timer.index = -1;
    return true;
  }

  /** Takes out every timer whose value is matched. */
  removeWhere(matches: (value: T) => boolean): void {
    for (const timer of this.#heap.filter((queued) => matches(queued.value))) this.remove(timer);
  }

  #place(timer: QueuedTimer<T>, index: number): void {
    this.#heap[index] = timer;
    timer.index = index;
  }

  #up(timer: QueuedTimer<T>): void {
    while (timer.index > 0) {
      const parent = this.#heap[(timer.index - 1) >> 1];
      if (!parent || before(parent, timer)) return;
      this.#swap(parent, timer);
    }
  }

  #down(timer: QueuedTimer<T>): void {
    for (;;) {
      const left = this.#heap[2 * timer.index + 1];
      const right = this.#heap[2 * timer.index + 2];
      const child = left && right && before(right, left) ? right : left;
      if (!child || before(timer, child)) return;
      this.#swap(timer, child);
    }
  }

  #swap(a: QueuedTimer<T>, b: QueuedTimer<T>): void {
    const index = a.index;
    this.#place(a, b.index);
    this.#place(b, index);
  }
}

const before = <T>(a: QueuedTimer<T>, b: QueuedTimer<T>): boolean =>
  a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
