/** The addresses of this host that others may reach, for a daemon that listens on all of them. */
import { isIPv6 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

/** As many as a member may advertise (`advertise` of the configuration). */
const ADDRESSES_MAX = 8;
/**
 * Networks inside this host, of containers and virtual machines. Most hosts have the same ones: another host that
 * dials them finds itself. So they come last, and the first address, by which hosts are told apart, is a real one.
 */
const INNER = /^(docker|br-|veth|virbr|vmnet|cni|flannel|cali|lxc|lxd|podman|tap|tun)/;
/** Link-local: without a zone nobody can dial them. */
const LINK_LOCAL = /^(169\.254\.|fe[89ab])/i;

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** Sorted, so that a restart advertises the same. An IPv6 wildcard listens on IPv6 alone. */
export function reachableHosts(
  wildcard: string,
  interfaces: Interfaces = networkInterfaces(),
): string[] {
  const family = isIPv6(wildcard) ? 'IPv6' : 'IPv4';
  const found = Object.entries(interfaces).flatMap(([name, infos = []]) =>
    infos
      .filter((info) => !info.internal && info.family === family && !LINK_LOCAL.test(info.address))
      .map(({ address }) => ({ address, rank: INNER.test(name) ? 1 : 0 })),
  );
  found.sort((a, b) => a.rank - b.rank || (a.address < b.address ? -1 : 1));
  return [...new Set(found.map(({ address }) => address))].slice(0, ADDRESSES_MAX);
}
