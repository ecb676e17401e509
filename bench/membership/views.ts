/** What every node of a fleet says of every other, with the monotonic time at which this program heard it. */

export type Status = 'alive' | 'suspect' | 'dead' | 'left';

interface Seen {
  readonly status: Status;
  readonly atMs: number;
}

export interface Waited {
  /** When the first of the observers said it, and when the last one did. */
  readonly firstMs: number;
  readonly allMs: number;
}

interface Waiter {
  check(): boolean;
}

export interface Wish {
  readonly observers: readonly string[];
  readonly subjects: readonly string[];
  readonly status: Status;
  readonly timeoutMs: number;
}

export class Views {
  readonly #views = new Map<string, Map<string, Seen>>();
  readonly #waiters = new Set<Waiter>();
  /** Subjects of every verdict `dead` so far, also of those that were taken back. */
  readonly deaths: { readonly observer: string; readonly subject: string }[] = [];

  note(observer: string, subject: string, status: Status): void {
    const view = this.#views.get(observer) ?? new Map<string, Seen>();
    this.#views.set(observer, view);
    if (view.get(subject)?.status === status) return;
    view.set(subject, { status, atMs: performance.now() });
    if (status === 'dead') this.deaths.push({ observer, subject });
    for (const waiter of this.#waiters) if (waiter.check()) this.#waiters.delete(waiter);
  }

  statusAt(observer: string, subject: string): Status | undefined {
    return this.#views.get(observer)?.get(subject)?.status;
  }

  /** Undefined: not within the time. */
  until(wish: Wish): Promise<Waited | undefined> {
    return new Promise((resolve) => {
      const check = (): boolean => {
        const waited = this.#met(wish);
        if (waited === undefined) return false;
        clearTimeout(timer);
        resolve(waited);
        return true;
      };
      const waiter = { check };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        resolve(undefined);
      }, wish.timeoutMs);
      if (!check()) this.#waiters.add(waiter);
    });
  }

  /** Who still says what else: for the story of a wait that failed. */
  missing({ observers, subjects, status }: Wish): number {
    return pairs(observers, subjects).filter(([a, b]) => this.statusAt(a, b) !== status).length;
  }

  #met({ observers, subjects, status }: Wish): Waited | undefined {
    let firstMs = Number.POSITIVE_INFINITY;
    let allMs = Number.NEGATIVE_INFINITY;
    for (const [observer, subject] of pairs(observers, subjects)) {
      const seen = this.#views.get(observer)?.get(subject);
      if (seen?.status !== status) return undefined;
      firstMs = Math.min(firstMs, seen.atMs);
      allMs = Math.max(allMs, seen.atMs);
    }
    return { firstMs, allMs };
  }
}

const pairs = (a: readonly string[], b: readonly string[]): [string, string][] =>
  a.flatMap((one) =>
    b.filter((other) => other !== one).map((other): [string, string] => [one, other]),
  );
