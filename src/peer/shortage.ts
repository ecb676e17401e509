/**
 * What a peer tells the others of the room on its disk, so that they own what this store cannot advance: that it takes
 * no starts any more, or nothing at all. Told at once when it gets worse, and later when it gets better: each time the
 * tasks of this store change hands, and every member reads them anew.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { type Room, type Shortage, shortageOf } from '../ports/room.ts';

/** Nobody says when the room on a disk changes: others fill and free it too. */
const LOOK_INTERVAL_MS = 1_000;
/** There must be room for so long before it is told: a disk that is nearly full gets a little freer with each file that ends. */
export const RETURN_AFTER_MS = 5_000;
/**
 * After it was told the others go on with what they own until they have heard of it; so does this store only then. Else
 * two might place the same attempt, neither having read what the other wrote.
 */
export const OWN_AGAIN_MS = 5_000;

const RANKS: Readonly<Record<Shortage | 'none', number>> = { none: 0, scarce: 1, full: 2 };
const rankOf = (shortage: Shortage | undefined): number => RANKS[shortage ?? 'none'];

export interface ShortageDeps {
  readonly clock: Clock;
  readonly room: () => Room;
  readonly tell: (shortage: Shortage | undefined) => void;
  /** This store may own again what it did while there was room. */
  readonly returned: () => void;
}

export class ShortageWatch {
  readonly #deps: ShortageDeps;
  #told: Shortage | undefined;
  /** Since when there is more room than was told. */
  #betterMs: number | undefined;
  #waits = false;
  #timer: Timer | undefined;
  #returnTimer: Timer | undefined;

  constructor(deps: ShortageDeps) {
    this.#deps = deps;
  }

  /** Looks at once: a store whose disk is full from the start owns nothing from the start. */
  start(): void {
    this.#look();
    this.#timer = this.#deps.clock.after(LOOK_INTERVAL_MS, () => this.start());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#returnTimer?.cancel();
  }

  /** There is room again, and the others may not have heard of it. */
  get isReturning(): boolean {
    return this.#waits;
  }

  #look(): void {
    const now = shortageOf(this.#deps.room());
    const isBetter = rankOf(now) < rankOf(this.#told);
    if (!isBetter) this.#betterMs = undefined;
    if (rankOf(now) > rankOf(this.#told)) this.#tell(now);
    if (!isBetter) return;
    const nowMs = this.#deps.clock.nowMs();
    this.#betterMs ??= nowMs;
    if (nowMs - this.#betterMs >= RETURN_AFTER_MS) this.#tell(now);
  }

  #tell(shortage: Shortage | undefined): void {
    this.#told = shortage;
    this.#betterMs = undefined;
    this.#returnTimer?.cancel();
    this.#waits = shortage === undefined;
    if (this.#waits)
      this.#returnTimer = this.#deps.clock.after(OWN_AGAIN_MS, () => {
        this.#waits = false;
        this.#deps.returned();
      });
    this.#deps.tell(shortage);
  }
}

/** What the watch needs of its peer; some of it is made only after the watch. */
export interface ShortPeer {
  readonly ports: { readonly clock: Clock };
  readonly replica: { readonly room: Room };
  readonly membership: { tellShortage(shortage: Shortage | undefined): void };
  readonly tasks: { membersChanged(): void };
  readonly sight: { isReturning: () => boolean };
}

export function shortageWatchOf(peer: ShortPeer): ShortageWatch {
  const watch = new ShortageWatch({
    clock: peer.ports.clock,
    room: () => peer.replica.room,
    tell: (shortage) => peer.membership.tellShortage(shortage),
    returned: () => peer.tasks.membersChanged(),
  });
  peer.sight.isReturning = () => watch.isReturning;
  return watch;
}
