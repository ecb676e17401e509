/** Reserved task ids, fetched a block at a time: a submit under one may be repeated through any peer. */
import { BULK_MAX } from '../api/limits.ts';
import { err, ok, type Result } from '../base/result.ts';
import { ID_BLOCK, ID_MARGIN_MS } from './limits.ts';
import type { Link } from './link.ts';
import type { RpcFailure } from './types.ts';

interface Block {
  readonly ids: string[];
  readonly expiresAtMs: number;
}

export class IdPool {
  readonly #link: Link;
  #block: Block = { ids: [], expiresAtMs: 0 };
  #refill: Promise<Result<Block, RpcFailure>> | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  /** `wanted`: how many will be taken now, so that many come in few calls. */
  async take(patienceMs: number, wanted = 1): Promise<Result<string, RpcFailure>> {
    for (;;) {
      const id = this.#next();
      if (id !== undefined) return ok(id);
      // Callers that come together share one refill; whom it leaves without an id starts the next.
      this.#refill ??= this.#fetch(patienceMs, wanted).finally(() => {
        this.#refill = undefined;
      });
      const refilled = await this.#refill;
      if (!refilled.ok) return err(refilled.error);
    }
  }

  #next(): string | undefined {
    if (Date.now() + ID_MARGIN_MS > this.#block.expiresAtMs) return undefined;
    return this.#block.ids.pop();
  }

  async #fetch(patienceMs: number, wanted: number): Promise<Result<Block, RpcFailure>> {
    const n = Math.min(BULK_MAX, Math.max(ID_BLOCK, wanted));
    const reserved = await this.#link.call('ids.reserve', { n }, patienceMs, 'repeatable');
    if (!reserved.ok) return reserved;
    const { ids, expires_at } = reserved.value;
    const expiresAtMs = Date.parse(expires_at);
    // A daemon whose ids live shorter than our margin: take them as fresh, or this loop would never end.
    const usableUntilMs = Math.max(expiresAtMs, Date.now() + ID_MARGIN_MS + 1_000);
    this.#block = { ids: [...ids].reverse(), expiresAtMs: usableUntilMs };
    return ok(this.#block);
  }
}
