/**
 * Calls the handlers one at a time and never from inside a call of the Network interface: libp2p dispatches
 * some of its events synchronously (aborting a connection reports its end before `abort` returns), and a room
 * that is halfway through a decision must not be entered again.
 */
export class HandlerQueue<Handlers> {
  readonly #handlers: Handlers;
  #calls: ((handlers: Handlers) => void)[] = [];
  #scheduled = false;
  #stopped = false;

  constructor(handlers: Handlers) {
    this.#handlers = handlers;
  }

  call(call: (handlers: Handlers) => void): void {
    if (this.#stopped) return;
    this.#calls.push(call);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#run());
  }

  #run(): void {
    const calls = this.#calls;
    this.#calls = [];
    let done = 0;
    try {
      for (const call of calls) {
        done++;
        if (!this.#stopped) call(this.#handlers);
      }
    } finally {
      // A handler that throws is a broken invariant and goes up; what came after it stays in order.
      this.#scheduled = false;
      this.#calls = [...calls.slice(done), ...this.#calls];
      if (this.#calls.length > 0 && !this.#stopped) this.#schedule();
    }
  }

  /** Nothing is called from now on. */
  stop(): void {
    this.#stopped = true;
    this.#calls = [];
  }
}
