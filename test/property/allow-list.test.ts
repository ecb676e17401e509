/** The allow-list, joined in any order: all peers agree on who may connect. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AllowList } from '../../src/membership/allow-list.ts';
import { type Entry, type Fact, type Revocation, signFact } from '../../src/membership/fact.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

const peers = ['root', 'b', 'c', 'd', 'e'].map((name) => createSimIdentity(name));
const at = (index: number) => peers[index] ?? createSimIdentity('root');
const indexArb = fc.nat(peers.length - 1);
type Access = Fact<Entry> | Fact<Revocation>;

const founder = signFact(at(0), 'mesh', {
  kind: 'entry' as const,
  peerId: at(0).peerId,
  name: 'root',
  admittedAtMs: 0,
});
const entryArb = fc.tuple(indexArb, indexArb, fc.nat(2)).map(
  ([by, about, admittedAtMs]): Access =>
    signFact(at(by), 'mesh', {
      kind: 'entry',
      peerId: at(about).peerId,
      name: 'n',
      admittedAtMs,
    }),
);
const revocationArb = fc.tuple(indexArb, indexArb, fc.subarray([0, 1, 2, 3, 4])).map(
  ([by, about, kept]): Access =>
    signFact(at(by), 'mesh', {
      kind: 'revocation',
      peerId: at(about).peerId,
      revokedAtMs: 1,
      keeps: kept.map((index) => at(index).peerId),
    }),
);
const allowedBy = (list: AllowList) => peers.map(({ peerId }) => list.isAllowed(peerId));

describe('allow-list properties', () => {
  it('a revoked PeerId is never allowed again, whatever entries follow', () => {
    fc.assert(
      fc.property(revocationArb, fc.array(entryArb), (revocation, later) => {
        const list = new AllowList('mesh', at(0).peerId);
        list.addAll([founder, ...later, revocation, ...later]);
        const { peerId } = revocation.statement;
        if (list.isRevoked(peerId)) expect(list.isAllowed(peerId)).toBe(false);
      }),
    );
  });

  it('entries alone give the same list in any order', () => {
    const listArb = fc
      .array(entryArb, { maxLength: 20 })
      .chain((facts) =>
        fc.tuple(fc.constant(facts), fc.shuffledSubarray(facts, { minLength: facts.length })),
      );
    fc.assert(
      fc.property(listArb, ([one, other]) => {
        const [a, b] = [new AllowList('mesh', at(0).peerId), new AllowList('mesh', at(0).peerId)];
        a.addAll([founder, ...one]);
        b.addAll([...other, founder]);
        expect(allowedBy(b)).toEqual(allowedBy(a));
        expect([...b.facts().keys()].sort()).toEqual([...a.facts().keys()].sort());
        expect(b.list()).toEqual(a.list());
      }),
    );
  });

  it('two lists that exchange all they hold end equal, with revocations among it', () => {
    const halves = fc.tuple(
      fc.array(fc.oneof(entryArb, revocationArb), { maxLength: 12 }),
      fc.array(fc.oneof(entryArb, revocationArb), { maxLength: 12 }),
    );
    fc.assert(
      fc.property(halves, ([one, other]) => {
        const [a, b] = [new AllowList('mesh', at(0).peerId), new AllowList('mesh', at(0).peerId)];
        a.addAll([founder, ...one]);
        b.addAll([founder, ...other]);
        for (let round = 0; round < 3; round++) {
          a.addAll([...b.facts().values()]);
          b.addAll([...a.facts().values()]);
        }
        expect(allowedBy(b)).toEqual(allowedBy(a));
      }),
    );
  });
});
