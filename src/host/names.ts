/** What DNS says of where peers are, asked anew each time: SRV records, and the `dnsaddr=` texts of libp2p. */
import { Resolver } from 'node:dns/promises';
import type { PeerId } from '../ports/identity.ts';
import type { NameKind, Place } from '../ports/network.ts';
import { formatAddress } from './libp2p-address.ts';

/** The part of Node's resolver that is used here. */
export interface Lookups {
  resolveSrv(
    name: string,
  ): Promise<readonly { name: string; port: number; priority: number; weight: number }[]>;
  resolveTxt(name: string): Promise<readonly (readonly string[])[]>;
}

/** Of one name; a zone with more is no list of where to begin. */
const PLACES_MAX = 16;
const DNSADDR = /^dnsaddr=\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})(?:\/p2p\/([^/]+))?$/;

/** Empty: there is nothing, or no answer in time. Both are tried again, and neither is worth more than that. */
export async function resolvePlaces(
  kind: Exclude<NameKind, 'mdns'>,
  name: string,
  timeoutMs: number,
  lookups: Lookups = new Resolver({ timeout: timeoutMs, tries: 1 }),
): Promise<readonly Place[]> {
  try {
    const places = kind === 'srv' ? await srv(lookups, name) : await dnsaddr(lookups, name);
    return places.slice(0, PLACES_MAX);
  } catch (thrown) {
    if (thrown instanceof Error) return [];
    throw thrown;
  }
}

async function srv(lookups: Lookups, name: string): Promise<Place[]> {
  const found = await lookups.resolveSrv(name);
  return [...found]
    .sort((a, b) => a.priority - b.priority || b.weight - a.weight)
    .map(({ name: host, port }) => ({ address: formatAddress({ host, port }) }));
}

/** Each text is whole in one record, which may come in several strings. */
async function dnsaddr(lookups: Lookups, name: string): Promise<Place[]> {
  const texts = await lookups.resolveTxt(`_dnsaddr.${name}`);
  return texts.flatMap((parts) => placeOf(parts.join('')) ?? []);
}

/** What a `dnsaddr=` text says; undefined: nothing that can be dialled. */
export function placeOf(text: string): Place | undefined {
  const [, , host, port, peerId] = DNSADDR.exec(text) ?? [];
  if (host === undefined || port === undefined) return undefined;
  const address = formatAddress({ host, port: Number(port) });
  return peerId === undefined ? { address } : { address, peerId: peerId as PeerId };
}
