/**
 * Stores that this peer had before the one that it has: wiped, rolled back and renewed, corrupt and set aside. Nobody but
 * their peer knows for certain that they are given up, and as long as they count, each replacement makes the homes of
 * its tasks larger and a quorum of them harder to have. So this peer removes them itself, as an operator would (removal.ts):
 * when all members have been in touch for a while, and have from one another what the former store had of them.
 */
import type { PeerId } from '../ports/identity.ts';
import type { AppendResult } from '../ports/store.ts';
import type { Core } from './core.ts';
import { type Fact, signFact } from './fact.ts';
import { FORMER_AFTER_MS, FORMER_MAX, REMOVALS_MAX } from './limits.ts';

export interface FormerDeps {
  readonly isUp: (peerId: PeerId) => boolean;
  readonly announce: (fact: Fact) => void;
}

export class FormerStores {
  readonly #core: Core;
  readonly #deps: FormerDeps;
  readonly #left: Set<string>;
  /** Since when all members have been in touch. */
  #togetherMs: number | undefined;
  #isRemoving = false;

  constructor(core: Core, deps: FormerDeps) {
    this.#core = core;
    this.#deps = deps;
    this.#left = new Set(core.book.formerStores());
  }

  tick(): void {
    if (this.#left.size === 0 || this.#isRemoving) return;
    const nowMs = this.#core.deps.clock.nowMs();
    if (!this.#isTogether()) this.#togetherMs = undefined;
    else this.#togetherMs ??= nowMs;
    if (this.#togetherMs === undefined || nowMs - this.#togetherMs < FORMER_AFTER_MS) return;
    this.#isRemoving = true;
    void this.#removeAll();
  }

  /**
   * One that is dead or out of sight may have the only copy of what the former store had acknowledged: until it is back,
   * or an operator has removed it, reads must go on missing the former store.
   */
  #isTogether(): boolean {
    const { roster, peerId: self } = this.#core;
    const others = roster
      .list()
      .filter(({ peerId, status }) => peerId !== self && status !== 'left' && status !== 'removed');
    return (
      others.length > 0 &&
      others.every(({ peerId, status }) => status === 'alive' && this.#deps.isUp(peerId))
    );
  }

  async #removeAll(): Promise<void> {
    for (const storeId of this.#left) {
      if (this.#isOthers(storeId) || (await this.#remove(storeId))) {
        this.#left.delete(storeId);
        this.#core.book.forgetFormer(storeId);
      }
    }
    this.#togetherMs = undefined;
    this.#isRemoving = false;
  }

  /** What was started here was a copy of another member's store, which lives there, or is for that member to give up. */
  #isOthers(storeId: string): boolean {
    const { book, roster, peerId, deps } = this.#core;
    return (
      storeId === deps.store.storeId ||
      book.seenStores().some((seen) => seen.storeId === storeId && seen.peerId !== peerId) ||
      roster.list().some((member) => member.storeId === storeId && member.peerId !== peerId)
    );
  }

  /** True when it is removed, durably. */
  async #remove(storeId: string): Promise<boolean> {
    const { view, book, deps, peerId } = this.#core;
    if (view.removalOf(storeId) !== undefined) return true;
    // Operators must have room for theirs.
    if (view.removalCount >= REMOVALS_MAX / 2) return false;
    const removedAtMs = Math.round(deps.clock.wallMs());
    const statement = { kind: 'removal', peerId, storeId, removedAtMs } as const;
    const removal = signFact(deps.identity, view.meshId, statement);
    const saved = await book.saveFacts([removal]);
    if (!saved.ok || view !== this.#core.view) return false;
    this.#core.accept([removal], 'own');
    this.#deps.announce(removal);
    deps.log.log('info', 'the former store of this peer was removed from all homes', { storeId });
    return true;
  }
}

/** Before the first packet of a start: which one it is, and with which store. */
export const countStart = (
  core: Pick<Core, 'book' | 'deps'>,
  meshId: string,
  epoch: number,
): Promise<AppendResult> =>
  core.book.saveEpoch(epoch, core.deps.store.storeId, noticeFormer(core, meshId));

/** At the start: the store that this peer had last, if it has another one now. Says so: nobody may have meant it. */
function noticeFormer(
  { book, deps }: Pick<Core, 'book' | 'deps'>,
  meshId: string,
): string | undefined {
  const { identity, store, log } = deps;
  const before = book.ownRecord(identity.peerId, meshId, (...args) => identity.verify(...args));
  if (before === undefined || before.storeId === store.storeId) return undefined;
  log.log(
    'warn',
    'the store of this peer is another one than at its last start: the mesh brings the copies',
    {
      store_id: store.storeId,
      former: before.storeId,
    },
  );
  return book.formerStores().length < FORMER_MAX ? before.storeId : undefined;
}
