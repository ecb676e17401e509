/** The ring: the same for everybody, even, and moved little by a join or a leave. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hash64, sha256Of } from '../../src/base/hash.ts';
import { Ring, type RingMember } from '../../src/ring/ring.ts';
import { tokenCount } from '../../src/ring/tokens.ts';

const memberArb = fc.record({
  storeId: fc.integer({ min: 0, max: 400 }).map((n) => n.toString(16).padStart(32, '0')),
  host: fc.integer({ min: 0, max: 6 }).map((n) => `host${n}`),
  zone: fc.option(
    fc.integer({ min: 0, max: 2 }).map((n) => `zone${n}`),
    { nil: undefined },
  ),
  weight: fc.constantFrom(0.01, 0.02, 0.05),
});
const membersArb = fc
  .uniqueArray(memberArb, { minLength: 1, maxLength: 12, selector: ({ storeId }) => storeId })
  .map((members): RingMember[] =>
    members.map((member) => ({ ...member, peerId: `p${member.storeId}` })),
  );

/** The definition, written down without any cleverness. */
function naivePreference(members: readonly RingMember[], key: string, n: number): string[] {
  const points: { at: bigint; member: RingMember }[] = [];
  for (const member of members) {
    for (let i = 0; i < tokenCount(member.weight); i++) {
      const digest = sha256Of(`token:${member.storeId}:${Math.floor(i / 4)}`);
      const at = new DataView(digest.buffer).getBigUint64(8 * (i % 4));
      points.push({ at, member });
    }
  }
  points.sort((a, b) =>
    a.at < b.at || (a.at === b.at && a.member.storeId < b.member.storeId) ? -1 : 1,
  );
  const hash = hash64(key);
  const turned = [
    ...points.filter(({ at }) => at >= hash),
    ...points.filter(({ at }) => at < hash),
  ];
  const order = [...new Set(turned.map(({ member }) => member))];
  const picked: RingMember[] = [];
  const zoneOf = (member: RingMember) => member.zone ?? `host ${member.host}`;
  const newHost = (member: RingMember) => picked.every(({ host }) => host !== member.host);
  const newZone = (member: RingMember) => picked.every((other) => zoneOf(other) !== zoneOf(member));
  for (const wanted of [
    (member: RingMember) => newHost(member) && newZone(member),
    newHost,
    () => true,
  ]) {
    for (const member of order) {
      if (picked.length < n && !picked.includes(member) && wanted(member)) picked.push(member);
    }
  }
  return picked.map(({ storeId }) => storeId);
}

describe('ring properties', () => {
  it('equals the naive model, for every key, size, host and zone', () => {
    fc.assert(
      fc.property(membersArb, fc.string(), fc.integer({ min: 0, max: 8 }), (members, key, n) => {
        expect(new Ring(members).preference(key, n)).toEqual(naivePreference(members, key, n));
      }),
      { numRuns: 150 },
    );
  });

  it('does not depend on the order of the members', () => {
    const shuffled = membersArb.chain((members) =>
      fc.tuple(fc.constant(members), fc.shuffledSubarray(members, { minLength: members.length })),
    );
    fc.assert(
      fc.property(shuffled, fc.string(), ([members, other], key) => {
        const [a, b] = [new Ring(members), new Ring(other)];
        expect(b.checksum).toBe(a.checksum);
        expect(b.preference(key, 3)).toEqual(a.preference(key, 3));
      }),
      { numRuns: 50 },
    );
  });

  it('moves at most 1.5/n of the keys when one of n joins or leaves', () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => `key ${i}`);
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 24 }), fc.nat(1_000_000), (n, salt) => {
        const members = Array.from({ length: n }, (_, i) => ({
          storeId: `${salt}-${i}`,
          peerId: `p${i}`,
          host: `h${i}`,
          weight: 1,
        }));
        const [whole, without] = [new Ring(members), new Ring(members.slice(0, -1))];
        const moved = keys.filter(
          (key) => whole.preference(key, 1)[0] !== without.preference(key, 1)[0],
        );
        expect(moved.length / keys.length).toBeLessThanOrEqual(1.5 / n);
        expect(moved.length).toBeGreaterThan(0);
        // Nothing moves between two members that stay.
        for (const key of moved) expect(whole.preference(key, 1)[0]).toBe(`${salt}-${n - 1}`);
      }),
      { numRuns: 10 },
    );
  });
});
