/** What a daemon that listens on all addresses tells others. */
import type { NetworkInterfaceInfo } from 'node:os';
import { expect, test } from 'vitest';
import { isWildcard } from '../../src/base/wildcard.ts';
import { reachableHosts } from '../../src/host/interfaces.ts';

function info(address: string, internal = false): NetworkInterfaceInfo {
  const common = { address, internal, netmask: '', mac: '', cidr: null };
  return address.includes(':')
    ? { ...common, family: 'IPv6', scopeid: 0 }
    : { ...common, family: 'IPv4' };
}

const HOST = {
  lo: [info('127.0.0.1', true), info('::1', true)],
  docker0: [info('172.17.0.1')],
  wlan0: [info('192.168.1.7'), info('fe80::1'), info('fd00::7')],
  eth0: [info('10.0.0.5'), info('2001:db8::5'), info('169.254.3.4')],
  'br-4711': [info('10.0.0.1')],
  gone: undefined,
};

test('the addresses of its interfaces, sorted, those inside the host last', () => {
  expect(reachableHosts('0.0.0.0', HOST)).toEqual([
    '10.0.0.5',
    '192.168.1.7',
    '10.0.0.1',
    '172.17.0.1',
  ]);
  expect(reachableHosts('::', HOST)).toEqual(['2001:db8::5', 'fd00::7']);
});

test('none on a host that has only itself; never more than members may advertise', () => {
  expect(reachableHosts('0.0.0.0', { lo: HOST.lo })).toEqual([]);
  expect(reachableHosts('::', {})).toEqual([]);
  const many = { eth0: Array.from({ length: 40 }, (_, at) => info(`10.0.1.${at}`)) };
  expect(reachableHosts('0.0.0.0', many)).toHaveLength(8);
  expect(reachableHosts('0.0.0.0', { a: [info('10.0.0.5')], b: [info('10.0.0.5')] })).toEqual([
    '10.0.0.5',
  ]);
});

test('a wildcard in every spelling, and what is none', () => {
  for (const host of ['0.0.0.0', '::', '[::]', '::0', '0:0:0:0:0:0:0:0']) {
    expect(isWildcard(host), host).toBe(true);
  }
  for (const host of ['127.0.0.1', '::1', '10.0.0.0', 'host', '0.0.0.0.example', 'fd00::']) {
    expect(isWildcard(host), host).toBe(false);
  }
});
