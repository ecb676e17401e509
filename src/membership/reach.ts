/**
 * Does a member listen where it says? Only what we reached ourselves can later be evidence by refusing; what we did not
 * reach an operator should know of.
 */
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';
import type { Core } from './core.ts';
import { PROBE_TIMEOUT_MS, RECHECKS_MAX } from './limits.ts';
import type { Links } from './links.ts';
import type { Watch } from './watch.ts';

export interface Unreached {
  readonly peerId: PeerId;
  readonly address: Address;
  readonly result: 'refused' | 'timeout' | 'unreachable';
  /** Another address of the same member was reached. */
  readonly otherReached: boolean;
}

export class Reach {
  readonly #core: Core;
  readonly #links: Links;

  constructor(core: Core, links: Links) {
    this.#core = core;
    this.#links = links;
  }

  /**
   * Once in each boot of an observed one: who does not observe it has no use for what it finds. Of one that is linked, so
   * that an address that does not answer is not simply the one of a dead host.
   */
  lookAt(peerId: PeerId, watch: Watch): void {
    const record = this.#core.view.get(peerId)?.record.statement;
    if (!record || watch.lookedAt === record.addresses) return;
    watch.lookedAt = record.addresses;
    void this.#probe(peerId, watch);
  }

  async #probe(peerId: PeerId, watch: Watch): Promise<void> {
    const record = this.#core.view.get(peerId)?.record.statement;
    if (!record) return;
    for (const address of record.addresses) {
      if (watch.reached.has(address)) continue;
      const result = await this.#core.deps.network.probe(address, PROBE_TIMEOUT_MS);
      const now = this.#core.view.get(peerId)?.record.statement;
      if (now?.epoch !== record.epoch || !this.#links.isUp(peerId)) return;
      watch.unreached.delete(address);
      if (result === 'accepted') watch.reached.add(address);
      else watch.unreached.set(address, result);
    }
  }

  /** What was not reached when its link came up may be reached by now: some are asked once more, all at a time. */
  async recheck(watches: ReadonlyMap<PeerId, Watch>): Promise<Unreached[]> {
    const failed = [...watches].filter(
      ([peerId, watch]) => watch.unreached.size > 0 && this.#links.isUp(peerId),
    );
    const all = failed.flatMap(([, watch]) =>
      [...watch.unreached.keys()].map((at) => [watch, at] as const),
    );
    await Promise.all(all.slice(0, RECHECKS_MAX).map(([watch, at]) => this.#again(watch, at)));
    return failed.flatMap(([peerId, watch]) => {
      const { addresses = [] } = this.#core.view.get(peerId)?.record.statement ?? {};
      const otherReached = addresses.some((address) => watch.reached.has(address));
      return [...watch.unreached]
        .filter(([address]) => addresses.includes(address))
        .map(([address, result]) => ({ peerId, address, result, otherReached }));
    });
  }

  /** For people alone: what refuses by now is no evidence, for it was never reached. */
  async #again(watch: Watch, address: Address): Promise<void> {
    const result = await this.#core.deps.network.probe(address, PROBE_TIMEOUT_MS);
    if (!watch.unreached.has(address)) return;
    if (result === 'accepted') watch.unreached.delete(address);
    else watch.unreached.set(address, result);
  }
}
