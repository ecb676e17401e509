/** `host:port` outside, multiaddrs inside: this file is the only place where one becomes the other. */
import { isIPv4, isIPv6 } from 'node:net';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { PeerId } from '../ports/identity.ts';
import type { Address } from '../ports/network.ts';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `name:1`, `127.0.0.1:1`, `[::1]:1`; undefined for anything else. */
export function parseAddress(address: Address): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  if (!match) return undefined;
  const [, bracketed, plain] = match;
  const port = Number(match[3]);
  const host = bracketed ?? plain ?? '';
  if (port > 65_535 || (bracketed !== undefined && !isIPv6(host))) return undefined;
  return /^[\w.:%-]+$/.test(host) ? { host, port } : undefined;
}

export const formatAddress = ({ host, port }: HostPort): Address =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** `peerId`, when given, makes libp2p refuse any other identity at that address. */
export function toMultiaddr({ host, port }: HostPort, peerId?: PeerId): Multiaddr {
  const protocol = isIPv4(host) ? 'ip4' : isIPv6(host) ? 'ip6' : 'dns';
  return multiaddr(
    `/${protocol}/${host}/tcp/${port}${peerId === undefined ? '' : `/p2p/${peerId}`}`,
  );
}

/** The network part of a multiaddr; `?:0` for one without (none comes from TCP). */
export function toAddress(addr: Multiaddr): Address {
  let host = '?';
  let port = 0;
  for (const { name, value } of addr.getComponents()) {
    if (name === 'tcp') port = Number(value);
    else if (/^(ip4|ip6|dns|dns4|dns6)$/.test(name)) host = value ?? host;
  }
  return formatAddress({ host, port });
}
