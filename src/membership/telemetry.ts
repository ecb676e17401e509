/** Counters of this room, for people: plain integers, and the last refusals. Nothing is decided by them. */
import type { PeerId } from '../ports/identity.ts';
import { REFUSALS_KEPT_MAX } from './limits.ts';

export interface Refusal {
  readonly peerId: PeerId;
  /** us: we let it not in. them: it did not let us in. */
  readonly by: 'us' | 'them';
  readonly code: string;
  readonly why: string;
  /** Boot time of this peer's clock, of the last one. */
  readonly atMs: number;
  readonly count: number;
}

export class Telemetry {
  /** Anti-entropy: begun by this peer and by others, and how many of each found a difference. */
  readonly rounds = { started: 0, startedDifferent: 0, asked: 0, askedDifferent: 0 };
  readonly news = { published: 0, received: 0 };
  readonly facts = { sent: 0, received: 0 };
  readonly #refusals = new Map<string, Refusal>();

  refused(peerId: PeerId, by: Refusal['by'], error: { code: string; message: string }, at: number) {
    const key = `${by} ${peerId}`;
    const count = (this.#refusals.get(key)?.count ?? 0) + 1;
    // Last in the map: the one that is forgotten first is the one that was not repeated for longest.
    this.#refusals.delete(key);
    const { code, message: why } = error;
    this.#refusals.set(key, { peerId, by, code, why, atMs: at, count });
    for (const oldest of this.#refusals.keys()) {
      if (this.#refusals.size <= REFUSALS_KEPT_MAX) break;
      this.#refusals.delete(oldest);
    }
  }

  get refusals(): Refusal[] {
    return [...this.#refusals.values()];
  }
}
