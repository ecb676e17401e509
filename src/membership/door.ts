/** `/covey/admit/1` at this end: the one protocol that anybody may open, and how many strangers are answered at once. */
import { Allowance } from '../base/allowance.ts';
import { coveyError } from '../base/errors.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import type { Gate } from './gate.ts';
import { type AdmitFrame, decodeAdmit, encodeAdmit } from './hello.ts';
import {
  STRANGER_ALLOWANCE,
  STRANGER_RETRY_MS,
  STRANGER_RETRY_MS_MAX,
  STRANGERS_MAX,
  WAITING_MAX,
} from './limits.ts';
import type { Links } from './links.ts';

export class Door {
  readonly #core: Core;
  readonly #gate: Gate;
  readonly #links: Links;
  #state: 'starting' | 'open' | 'closed' = 'starting';
  #strangers = 0;
  /** How long an admission takes lately. */
  #tookMs = 0;
  /** Who was asked to come again, and until when he may. */
  readonly #waiting = new Map<PeerId, number>();
  readonly #allowance: Allowance;

  constructor(core: Core, gate: Gate, links: Links) {
    this.#core = core;
    this.#gate = gate;
    this.#links = links;
    this.#allowance = new Allowance(STRANGER_ALLOWANCE, core.deps.clock.nowMs());
  }

  open(): void {
    this.#state = 'open';
  }

  close(): void {
    this.#state = 'closed';
  }

  async request(from: PeerId, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#state !== 'open') {
      const busy = { what: 'starting', retry_after_ms: STRANGER_RETRY_MS };
      const code = this.#state === 'closed' ? 'STOPPING' : 'BUSY';
      return encodeAdmit({ type: 'refuse', error: coveyError(code, busy) });
    }
    const isStranger = !this.#core.view.access.isAllowed(from);
    if (!isStranger) return this.#answer(from, bytes);
    const isMuch = !this.#allowance.take(1, this.#core.deps.clock.nowMs());
    if (isMuch || this.#strangers >= STRANGERS_MAX) {
      this.#core.refused.count('admission: BUSY');
      const details = { what: 'newcomers', retry_after_ms: this.#turnMs(from) };
      return encodeAdmit({ type: 'refuse', error: coveyError('BUSY', details) });
    }
    this.#waiting.delete(from);
    this.#strangers += 1;
    const startMs = this.#core.deps.clock.nowMs();
    try {
      return await this.#answer(from, bytes);
    } finally {
      this.#strangers -= 1;
      this.#tookMs += (this.#core.deps.clock.nowMs() - startMs - this.#tookMs) / 4;
    }
  }

  /**
   * When those who were here before have had their turn. Were all told to come back at once, a busy host would have
   * nothing left for those whom it admits.
   */
  #turnMs(from: PeerId): number {
    const nowMs = this.#core.deps.clock.nowMs();
    for (const [peerId, untilMs] of this.#waiting)
      if (untilMs < nowMs) this.#waiting.delete(peerId);
    this.#waiting.delete(from);
    const turnMs = (this.#tookMs * (this.#waiting.size + STRANGERS_MAX)) / STRANGERS_MAX;
    const waitMs = Math.min(STRANGER_RETRY_MS_MAX, Math.max(STRANGER_RETRY_MS, turnMs));
    if (this.#waiting.size < WAITING_MAX) this.#waiting.set(from, nowMs + waitMs);
    return Math.round(waitMs);
  }

  #serve(from: PeerId, frame: AdmitFrame): Promise<AdmitFrame> {
    if (frame.type === 'redeem') return this.#gate.redeem(from, frame.secret, frame.name);
    if (frame.type === 'merge') return this.#gate.merger.serve(from, frame);
    return this.#links.serve(from, frame);
  }

  async #answer(from: PeerId, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    const frame = decodeAdmit(bytes);
    if (!frame.ok) {
      this.#core.refused.count('admission: not readable');
      return undefined;
    }
    const { value } = frame;
    const reply = await this.#serve(from, value);
    if (reply.type === 'refuse') this.#core.refused.count(`admission: ${reply.error.code}`);
    return encodeAdmit(reply);
  }
}
