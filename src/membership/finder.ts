/**
 * Where to look when nobody is linked: the places that the configuration names (`peers`). A peer that was away while all
 * members moved knows only addresses that nobody has any more; one link is enough to learn the others. Nobody is
 * admitted by this: whoever answers there has to be on the allow-list, and has to let this peer in.
 */
import type { PeerId } from '../ports/identity.ts';
import type { NameKind, Place } from '../ports/network.ts';
import type { Core } from './core.ts';
import { DIAL_TIMEOUT_MS, RESOLVE_TIMEOUT_MS } from './limits.ts';
import type { Links } from './links.ts';
import { isGone } from './member.ts';

/** Members on the local network: who has it among its places also answers there. */
export const MDNS = 'mdns';

export class Finder {
  readonly #core: Core;
  readonly #links: Links;
  #looking = false;

  constructor(core: Core, links: Links) {
    this.#core = core;
    this.#links = links;
  }

  /** Once through all places, until somebody answers; nothing while there is a link, or nobody to look for. */
  async look(): Promise<void> {
    const hints = this.#core.deps.config.peers ?? [];
    if (hints.length === 0 || this.#looking || !this.#isLost()) return;
    this.#looking = true;
    for (const hint of hints) {
      for (const place of await this.#placesOf(hint)) {
        if (!this.#isLost() || (await this.#found(place))) break;
      }
    }
    this.#looking = false;
  }

  #isLost(): boolean {
    if (this.#links.upPeers().length > 0) return false;
    for (const [peerId, facts] of this.#core.view.entries())
      if (peerId !== this.#core.peerId && !isGone(facts)) return true;
    return false;
  }

  async #placesOf(hint: string): Promise<readonly Place[]> {
    if (hint === MDNS) return this.#core.deps.network.resolve('mdns', '', RESOLVE_TIMEOUT_MS);
    const [, kind, name] = /^(srv|dnsaddr):(.+)$/.exec(hint) ?? [];
    if (kind === undefined || name === undefined) return [{ address: hint }];
    // Asked at each look: a name is used because what it stands for changes.
    return this.#core.deps.network.resolve(kind as NameKind, name, RESOLVE_TIMEOUT_MS);
  }

  async #found({ address, peerId }: Place): Promise<boolean> {
    const { network, log } = this.#core.deps;
    const isAllowed = (other: PeerId) => this.#core.view.access.isAllowed(other);
    if (peerId !== undefined && !isAllowed(peerId)) return false;
    const dialled = await network.dial(peerId, address, DIAL_TIMEOUT_MS);
    if (!dialled.ok) return false;
    if (!isAllowed(dialled.peerId)) {
      // A member that came after we had left is shown our entry, and shows its own; a stranger lets nobody in.
      log.log('debug', 'somebody unknown is where members were looked for', { at: address });
    }
    await this.#links.greet(dialled.peerId);
    return this.#links.isUp(dialled.peerId);
  }
}
