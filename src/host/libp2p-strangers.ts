/**
 * Which stranger's link ends where there are as many as may be and another one comes. Anybody can make keys without end,
 * so one host could hold all places by itself, saying nothing, and nobody could join.
 */
import type { Address, LinkInfo } from '../ports/network.ts';
import { parseAddress } from './libp2p-address.ts';

const hostOf = (address: Address): string => parseAddress(address)?.host ?? address;

/**
 * The youngest of the host that has the most, for it has waited least. Undefined: the newcomer's own host has as many, or
 * would have, and so would only take turns. Links that were dialled from here are nobody's attempt to fill the places.
 */
export function givesWayTo(
  newcomer: Address,
  strangers: readonly LinkInfo[],
): LinkInfo | undefined {
  const byHost = new Map<string, LinkInfo[]>();
  for (const info of strangers) {
    if (info.direction !== 'inbound') continue;
    const host = hostOf(info.address);
    const others = byHost.get(host);
    if (others) others.push(info);
    else byHost.set(host, [info]);
  }
  let most: readonly LinkInfo[] = [];
  for (const links of byHost.values()) if (links.length > most.length) most = links;
  const own = byHost.get(hostOf(newcomer))?.length ?? 0;
  return most.length > own + 1 ? most.at(-1) : undefined;
}
