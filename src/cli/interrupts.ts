/** Counts Ctrl-C from before the submit on, so that none is lost between submitting and waiting. */
import type { Cli } from './context.ts';
import type { InterruptSignal } from './io.ts';

export class Interrupts {
  readonly #end: () => void;
  #count = 0;
  #signal: InterruptSignal | undefined;
  readonly #listeners: ((count: number) => void)[] = [];

  constructor(cli: Cli) {
    this.#end = cli.io.onInterrupt((signal) => {
      this.#signal = signal;
      this.#count++;
      for (const listener of this.#listeners) listener(this.#count);
    });
  }

  get signal(): InterruptSignal | undefined {
    return this.#signal;
  }

  /** At once if one came already. */
  listen(listener: (count: number) => void): void {
    this.#listeners.push(listener);
    if (this.#count > 0) listener(this.#count);
  }

  /** Resolves when so many have come. */
  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.listen((now) => {
        if (now >= count) resolve();
      });
    });
  }

  end(): void {
    this.#end();
  }
}
