/**
 * In a partial mesh two may have had nothing to say to one another for longer than `tombstone_ttl`, and are not away
 * for that. Long before, they are linked for a moment. What others say of a member is no proof: it may be behind a cut
 * of which those others hear both sides.
 */
import type { Membership } from '../membership/membership.ts';
import type { Member } from '../membership/types.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Absences } from '../records/absence.ts';

/** Of `tombstone_ttl`: a member that was not linked for so long is dialled. */
const STALE_SHARE = 4;
/** Of it too: how often that is looked at, and how many are dialled at once. */
const LOOKS = 100;
const LOOK_MS_MAX = 60_000;
const DIALS_MAX = 16;
const DIAL_MS = 2_000;

export interface FreshLinksDeps {
  readonly clock: Clock;
  readonly absences: Absences;
  readonly membership: Pick<Membership, 'linked' | 'mesh'>;
}

export class FreshLinks {
  readonly #deps: FreshLinksDeps;
  readonly #others: () => Member[];
  #timer: Timer | undefined;

  constructor(deps: FreshLinksDeps, others: () => Member[]) {
    this.#deps = deps;
    this.#others = others;
  }

  start(): void {
    const { clock, absences } = this.#deps;
    const ms = Math.min(LOOK_MS_MAX, absences.ttlMs / LOOKS);
    this.#timer = clock.after(ms, () => {
      this.#dial();
      this.start();
    });
  }

  close(): void {
    this.#timer?.cancel();
  }

  #dial(): void {
    const { membership, absences } = this.#deps;
    const { mesh } = membership;
    if (!mesh.isPartial) return;
    const stale = this.#others()
      .filter(({ peerId }) => !membership.linked(peerId) && mesh.canBeDialled(peerId))
      .map(({ peerId, storeId }) => ({ peerId, awayMs: absences.absenceMs(storeId) }))
      .filter(({ awayMs }) => awayMs > absences.ttlMs / STALE_SHARE)
      .sort((a, b) => b.awayMs - a.awayMs);
    for (const { peerId } of stale.slice(0, DIALS_MAX)) void mesh.connect(peerId, DIAL_MS);
  }
}
