/**
 * Lets the loops of one run wait for "something changed"; each checks its own condition again when woken. Whoever
 * awaits anything between its check and the wait must have taken `version` before the check: a change in between
 * would else wake nobody, and the loop would sleep for ever.
 */
export class Gate {
  #waiting: (() => void)[] = [];
  #version = 0;

  get version(): number {
    return this.#version;
  }

  /** At once if something changed since `version`. */
  wait(version: number = this.#version): Promise<void> {
    if (version !== this.#version) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  wake(): void {
    this.#version++;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
