/**
 * Changes that are hidden until enough stores have them, brought there for as long as that takes: one loop a record. A
 * runner whose end could not be confirmed brings it again every few seconds. If each time began a loop of its own, an
 * hour in which the others' disks are full would leave a thousand of them for one task, each asking all stores twice a
 * second.
 */
import { type Clock, sleep } from '../ports/clock.ts';

const RETRY_MS = 500;

export interface ConfirmingDeps {
  readonly clock: Clock;
  /** Brings this store's version to others; true when enough have it. */
  readonly isShared: (id: string) => Promise<boolean>;
  readonly isHeld: (id: string) => boolean;
  readonly isStopped: () => boolean;
  readonly reveal: (id: string) => void;
}

interface Waiting {
  /** How often it was hidden. */
  hides: number;
  /** It was changed after the version that is just being brought was read. */
  isNewer: boolean;
}

export class Confirming {
  readonly #deps: ConfirmingDeps;
  readonly #loops = new Map<string, { readonly waiting: Waiting; readonly done: Promise<void> }>();

  constructor(deps: ConfirmingDeps) {
    this.#deps = deps;
  }

  /** Once for each time that the record was hidden, after the change; resolves when it is shown, or never will be. */
  confirm(id: string): Promise<void> {
    const known = this.#loops.get(id);
    if (known !== undefined) {
      known.waiting.hides += 1;
      known.waiting.isNewer = true;
      return known.done;
    }
    const waiting = { hides: 1, isNewer: false };
    const done = this.#bring(id, waiting);
    this.#loops.set(id, { waiting, done });
    return done;
  }

  async #bring(id: string, waiting: Waiting): Promise<void> {
    const { clock, isShared, isHeld, isStopped, reveal } = this.#deps;
    for (;;) {
      waiting.isNewer = false;
      const shared = await isShared(id);
      if (shared && !waiting.isNewer) break;
      // What this disk alone has is not told at a stop either: others may come to another end meanwhile.
      if (isStopped()) return;
      if (!isHeld(id)) break;
      if (!shared) await sleep(clock, RETRY_MS);
    }
    this.#loops.delete(id);
    for (let i = 0; i < waiting.hides; i++) reveal(id);
  }
}
