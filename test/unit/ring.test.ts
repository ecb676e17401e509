/** The ring by example: preference lists, distinct hosts and zones, published vectors. */
import { describe, expect, it } from 'vitest';
import { Ring, type RingMember } from '../../src/ring/ring.ts';

const member = (i: number, more: Partial<RingMember> = {}): RingMember => ({
  storeId: String(i).padStart(32, '0'),
  peerId: `peer${i}`,
  host: `host${i}`,
  weight: 1,
  ...more,
});
const members = (n: number): RingMember[] => Array.from({ length: n }, (_, i) => member(i));
const numberOf = (storeId: string | undefined): number => Number(storeId);

/**
 * The share of the whole circle that each member is first on, by keys spread evenly by the hash.
 */
function loads(ring: Ring, keys: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < keys; i++) {
    const [first = ''] = ring.preference(`key ${i}`, 1);
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  return counts;
}

describe('the ring', () => {
  it('names the stores of a key, the most preferred first', () => {
    const ring = new Ring(members(5));
    const home = ring.preference('0123456789ab', 3);
    expect(home).toHaveLength(3);
    expect(new Set(home).size).toBe(3);
    expect(ring.preference('0123456789ab', 2)).toEqual(home.slice(0, 2));
  });

  it('says why each stands where it does', () => {
    const reasons = (list: RingMember[], n: number) =>
      new Ring(list).explain('covey', n).map(({ reason }) => reason);
    expect(reasons(members(3), 3)).toEqual(['first', 'other_zone', 'other_zone']);
    const oneHost = members(3).map((one, i) => ({ ...one, host: i < 2 ? 'same' : 'other' }));
    expect(reasons(oneHost, 3)).toEqual(['first', 'other_zone', 'next']);
    const twoZones = members(4).map((one, i) => ({ ...one, zone: i < 3 ? 'east' : 'west' }));
    expect(reasons(twoZones, 4)).toEqual(['first', 'other_zone', 'other_host', 'other_host']);
    const ring = new Ring(members(5));
    const stores = ring.explain('covey', 5).map((placed) => placed.member.storeId);
    expect(stores).toEqual(ring.preference('covey', 5));
  });

  it('measures the share of each member from its tokens', () => {
    const ring = new Ring([...members(4), member(4, { weight: 2 })]);
    const shares = ring.shares();
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    const keys = 20_000;
    const counted = loads(ring, keys);
    ring.members.forEach(({ storeId }, i) => {
      expect(shares[i]).toBeCloseTo((counted.get(storeId) ?? 0) / keys, 1.5);
    });
    expect(shares[4]).toBeGreaterThan(1.8 * (shares[0] ?? 1));
    expect(new Ring([]).shares()).toEqual([]);
    expect(new Ring([member(0)]).shares()[0]).toBeCloseTo(1, 9);
  });

  it('agrees with the published vectors', () => {
    const ring = new Ring(members(5));
    expect(ring.checksum).toMatchInlineSnapshot(`"96c223feed41e28ca50be1ded20ebd8b"`);
    const vectors = ['', 'a', 'covey', '0123456789ab'].map((key) =>
      ring.preference(key, 5).map(numberOf).join(''),
    );
    expect(vectors).toMatchInlineSnapshot(`
      [
        "21403",
        "01342",
        "42130",
        "02143",
      ]
    `);
  });

  it('gives all there are, and nothing of an empty ring', () => {
    expect(new Ring(members(2)).preference('k', 3)).toHaveLength(2);
    expect(new Ring([]).preference('k', 3)).toEqual([]);
    expect(new Ring(members(2)).preference('k', 0)).toEqual([]);
  });

  it('prefers distinct hosts, and takes the same host only when there is no other', () => {
    const ring = new Ring([0, 1, 2, 3].map((i) => member(i, { host: i < 3 ? 'one' : 'other' })));
    for (let i = 0; i < 100; i++) {
      const home = ring.preference(`k${i}`, 3).map(numberOf);
      expect(home.slice(0, 2)).toContain(3);
      expect(new Set(home).size).toBe(3);
    }
  });

  it('prefers distinct zones among distinct hosts', () => {
    const ring = new Ring([0, 1, 2, 3, 4, 5].map((i) => member(i, { zone: i < 4 ? 'a' : 'b' })));
    for (let i = 0; i < 100; i++) {
      const zones = ring.preference(`k${i}`, 2).map((id) => (numberOf(id) < 4 ? 'a' : 'b'));
      expect(new Set(zones).size).toBe(2);
    }
  });

  it('spreads 100 equal members within 1.10 of the mean', () => {
    const keys = 400_000;
    const counts = [...loads(new Ring(members(100)), keys).values()];
    expect(counts).toHaveLength(100);
    expect((Math.max(...counts) * 100) / keys).toBeLessThanOrEqual(1.1);
  });

  it('gives a member of weight two about twice the keys', () => {
    const ring = new Ring([...members(9), member(9, { weight: 2 })]);
    const share = (loads(ring, 50_000).get(member(9).storeId) ?? 0) / 50_000;
    expect(share).toBeGreaterThan(1.8 / 11);
    expect(share).toBeLessThan(2.2 / 11);
  });
});
