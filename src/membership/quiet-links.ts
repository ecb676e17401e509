/**
 * Links on which nobody owes heartbeats: between two members of which neither observes the other. Such a link may have
 * died unnoticed, and what comes over it hours later would be that old. So it is asked for a sign of life now and then,
 * and at once when one that does owe heartbeats is silent; where none comes it is closed, and no member is the worse for it.
 */
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import type { Hearing } from './hearing.ts';
import { LINK_QUIET_MS, LONE_SILENCE_MS_MAX } from './limits.ts';
import type { Links } from './links.ts';
import type { Watch } from './watch.ts';

/** All links are looked at so often: there may be hundreds, and what is waited for here takes seconds. */
const LOOK_MS = 900;

export interface QuietHooks {
  expects(peerId: PeerId): boolean;
  watch(peerId: PeerId): Watch;
}

export class QuietLinks {
  readonly #core: Core;
  readonly #links: Links;
  readonly #hearing: Hearing;
  readonly #hooks: QuietHooks;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(core: Core, links: Links, hearing: Hearing, hooks: QuietHooks) {
    this.#core = core;
    this.#links = links;
    this.#hearing = hearing;
    this.#hooks = hooks;
  }

  get #pauseMs(): number {
    return this.#core.deps.config.heartbeat_pause;
  }

  tick(now: number): void {
    if (now - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = now;
    for (const peerId of this.#links.upPeers()) {
      if (this.#hooks.expects(peerId)) continue;
      const { askedMs, heardMs } = this.#hooks.watch(peerId);
      if (askedMs !== undefined) {
        if (now - askedMs >= LONE_SILENCE_MS_MAX) void this.#links.end(peerId, 'idle');
        continue;
      }
      const quietMs = now - (heardMs ?? now);
      const isDue = quietMs >= this.#pauseMs && this.#hearing.isOut(now);
      if (isDue || quietMs >= LINK_QUIET_MS) this.ask(peerId);
    }
  }

  /** For a sign of life, unless one is waited for, or heartbeats tell. */
  ask(peerId: PeerId): void {
    const record = this.#core.view.get(peerId)?.record.statement;
    const watch = this.#hooks.watch(peerId);
    if (!record || watch.askedMs !== undefined || this.#hooks.expects(peerId)) return;
    if (!this.#links.isUp(peerId)) return;
    watch.askedMs = this.#core.deps.clock.nowMs();
    const turn = { epoch: record.epoch, incarnation: record.incarnation };
    this.#links.send(peerId, { type: 'accused', turn, level: 'suspect' });
  }

  /** It was asked, and has said nothing for as long as a heartbeat may be late. */
  isDumb(peerId: PeerId): boolean {
    const { askedMs } = this.#hooks.watch(peerId);
    return askedMs !== undefined && this.#core.deps.clock.nowMs() - askedMs >= this.#pauseMs;
  }
}
