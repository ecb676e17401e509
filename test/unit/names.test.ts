/** What is read from DNS, with a resolver that answers as told. */
import { describe, expect, it } from 'vitest';
import { configSchema } from '../../src/api/config.ts';
import { type Lookups, resolvePlaces } from '../../src/host/names.ts';

const answers = (lookups: Partial<Lookups>): Lookups => ({
  resolveSrv: () => Promise.reject(new Error('queryA ENOTFOUND')),
  resolveTxt: () => Promise.reject(new Error('queryA ENOTFOUND')),
  ...lookups,
});

describe('places in DNS', () => {
  it('are SRV records by priority, then by weight', async () => {
    const record = (name: string, priority: number, weight: number) => ({
      ...{ name, priority, weight, port: 26_839 },
    });
    const lookups = answers({
      resolveSrv: async () => [record('c', 2, 9), record('b', 1, 1), record('a', 1, 5)],
    });
    const places = await resolvePlaces('srv', '_covey._tcp.example.org', 1_000, lookups);
    expect(places.map(({ address }) => address)).toEqual(['a:26839', 'b:26839', 'c:26839']);
  });

  it('are dnsaddr texts, with a PeerId or without; others are passed over', async () => {
    const asked: string[] = [];
    const lookups = answers({
      resolveTxt: async (name) => {
        asked.push(name);
        return [
          ['dnsaddr=/ip4/192.0.2.1/tcp/26839', '/p2p/12D3KooWx'],
          ['dnsaddr=/dns4/b.example.org/tcp/1'],
          ['dnsaddr=/ip6/2001:db8::1/tcp/2'],
          ['dnsaddr=/ip4/192.0.2.1/udp/4001/quic'],
          ['v=spf1 -all'],
        ];
      },
    });
    expect(await resolvePlaces('dnsaddr', 'example.org', 1_000, lookups)).toEqual([
      { address: '192.0.2.1:26839', peerId: '12D3KooWx' },
      { address: 'b.example.org:1' },
      { address: '[2001:db8::1]:2' },
    ]);
    expect(asked).toEqual(['_dnsaddr.example.org']);
  });

  it('are none when there is no answer, and sixteen at most', async () => {
    expect(await resolvePlaces('srv', 'x', 1_000, answers({}))).toEqual([]);
    const many = Array.from({ length: 40 }, () => ['dnsaddr=/ip4/192.0.2.1/tcp/1']);
    const lookups = answers({ resolveTxt: async () => many });
    expect(await resolvePlaces('dnsaddr', 'x', 1_000, lookups)).toHaveLength(16);
  });
});

describe('the key `peers`', () => {
  it('takes addresses and names of either kind, and nothing else', () => {
    const peers = [
      'a.example.org:1',
      '[::1]:2',
      'srv:_covey._tcp.example.org',
      'dnsaddr:x.org',
      'mdns',
    ];
    expect(configSchema.parse({ peers }).peers).toEqual(peers);
    for (const wrong of ['a', 'srv:', 'txt:x', 'srv:a b'])
      expect(configSchema.safeParse({ peers: [wrong] }).success).toBe(false);
  });
});
