/**
 * Copies of finished tasks, until they are dropped, and of dedupe keys. Owners look after what is unfinished
 * (home-keeper.ts); of what is over nobody would notice that one of its stores is gone for good, wiped, left or
 * removed, or that a mesh of one has grown. So each store walks over the final records that it holds, and the first
 * live one of each home adds a store where fewer than N are left; anti-entropy brings the copy.
 *
 * A store that is merely dead counts as one that has its copy: it is expected back, and a host that restarts must not
 * set off the copying of all it holds.
 */
import { jitter, type Random } from '../base/random.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { StoreStatus } from '../records/directory.ts';
import { homeOf, KEY_PREFIX, type StoreId } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { Sharing } from '../records/sharing.ts';
import type { Attempts } from './attempts.ts';
import { withKeyHome } from './dedupe.ts';
import { type MeshView, presentCount, requiredNow } from './mesh-view.ts';
import { firstOwner, ownerOrder } from './ownership.ts';

export const GROW_TICK_MS = 1_000;
/** Records looked at in a tick: some ten milliseconds. */
export const LOOKS_MAX = 1_000;
/** Homes that grow in a tick: each costs a write here and at one more store, and soon a copy. */
export const GROWS_MAX = 200;
/** Writes at once. */
export const GROWS_AT_ONCE = 20;
/** After members have changed: many changes are one walk, and not all stores walk at once. */
const AFTER_CHANGE_MS = 3_000;
/** A walk without an occasion: what was missed by all others. */
const WALK_INTERVAL_MS = 600_000;

/** Of a store that does not have its copy any more, as far as the mesh is concerned. */
const GONE: ReadonlySet<StoreStatus> = new Set(['unknown', 'left', 'removed']);

export interface RedundancyDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly replica: Replica;
  readonly sharing: Sharing;
  readonly view: MeshView;
  readonly attempts: Attempts;
  readonly copies: number;
  readonly copiesRequired: number;
}

export class Redundancy {
  readonly #deps: RedundancyDeps;
  #timer: Timer | undefined;
  #closed = false;
  /** When the next walk begins; undefined while one is under way. */
  #nextMs: number | undefined;
  /** Members changed, or homes grew, during the walk: it is followed by another one. */
  #again = false;
  #mark = '';
  #grown = 0;

  constructor(deps: RedundancyDeps) {
    this.#deps = deps;
    // Over before its owner had found all the stores that its home lacks.
    deps.replica.onVisible(({ id }) => {
      if (!deps.replica.isUnfinished(id) && this.#missing(id) !== undefined) this.membersChanged();
    });
  }

  start(): void {
    this.#planIn(AFTER_CHANGE_MS);
    const tick = (): void => {
      void this.tick().then(() => {
        if (!this.#closed) this.#timer = this.#deps.clock.after(GROW_TICK_MS, tick);
      });
    };
    this.#timer = this.#deps.clock.after(GROW_TICK_MS, tick);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** Homes may lack stores now that they had before. */
  membersChanged(): void {
    if (this.#nextMs === undefined) this.#again = true;
    else this.#planIn(AFTER_CHANGE_MS);
  }

  #planIn(ms: number): void {
    const { clock, random } = this.#deps;
    const atMs = clock.nowMs() + jitter(random, ms, 0.5);
    this.#nextMs = Math.min(this.#nextMs ?? Number.POSITIVE_INFINITY, atMs);
  }

  /** A piece of the walk, when it is time; answers how many homes grew. */
  async tick(): Promise<number> {
    const { clock, replica } = this.#deps;
    if (this.#nextMs !== undefined && clock.nowMs() < this.#nextMs) return 0;
    this.#nextMs = undefined;
    const page = replica.byDropTime(this.#mark, LOOKS_MAX);
    const due: { id: string; store: StoreId }[] = [];
    for (const { mark, id } of page) {
      if (due.length >= GROWS_MAX) break;
      this.#mark = mark;
      const store = this.#missing(id);
      if (store !== undefined) due.push({ id, store });
    }
    const isEnd = page.length < LOOKS_MAX && due.length < GROWS_MAX;
    for (let i = 0; i < due.length && !this.#closed; i += GROWS_AT_ONCE)
      await Promise.all(due.slice(i, i + GROWS_AT_ONCE).map((item) => this.#grow(item)));
    this.#grown += due.length;
    if (isEnd) this.#endWalk();
    return due.length;
  }

  #endWalk(): void {
    const { log } = this.#deps;
    const again = this.#again || this.#grown > 0;
    if (this.#grown > 0)
      log.log('info', 'records get copies on further stores', { records: this.#grown });
    this.#mark = '';
    this.#grown = 0;
    this.#again = false;
    this.#planIn(again ? AFTER_CHANGE_MS : WALK_INTERVAL_MS);
  }

  /** The store that this one shall add to the home of the record. */
  #missing(id: string): StoreId | undefined {
    const { replica, view, copies } = this.#deps;
    const record = replica.get(id);
    if (record === undefined) return undefined;
    const { directory } = view;
    const home = homeOf(record);
    const kept = home.filter((store) => {
      const status = directory.statusOf(store);
      return store === replica.storeId || !GONE.has(status);
    });
    // Nobody of the home is left: whoever has a copy takes a place in it.
    if (kept.length === 0) return replica.isStandIn(id) ? replica.storeId : undefined;
    // In this order: it is asked for every final, and counting the members costs as much as there are.
    if (kept.length >= copies || kept.length >= presentCount(view)) return undefined;
    // One whose disk is full could not write it down, and may not even know that the task is over.
    if (firstOwner(ownerOrder(id, home), view) !== replica.storeId) return undefined;
    return directory.preference(id, home.length + copies).find((store) => !home.includes(store));
  }

  async #grow({ id, store }: { readonly id: string; readonly store: StoreId }): Promise<void> {
    const { attempts, clock, replica, sharing, view, copiesRequired } = this.#deps;
    if (id.startsWith(KEY_PREFIX)) {
      await replica.change<void>(id, ({ current, fact }) => ({
        value: undefined,
        next: current && withKeyHome(current, store, fact),
      }));
      await sharing.share(id, requiredNow(view, copiesRequired));
      return;
    }
    await attempts.note(id, (now) =>
      homeOf(now.record).includes(store) ? undefined : { t: 'home', store, at: clock.wallMs() },
    );
  }
}
