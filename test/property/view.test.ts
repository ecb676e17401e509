/** The view under revocations: whatever was heard first, peers that exchange what they hold come to the same. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Fact, type Statement, signFact } from '../../src/membership/fact.ts';
import { statusOf } from '../../src/membership/member.ts';
import { View } from '../../src/membership/view.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

const peers = ['root', 'b', 'c', 'd', 'e'].map((name) => createSimIdentity(`view ${name}`));
const at = (index: number) => peers[index] ?? createSimIdentity('view root');
const indexArb = fc.nat(peers.length - 1);
const root = at(0).peerId;

const sign = (by: number, statement: Statement): Fact => signFact(at(by), 'mesh', statement);
const entry = (by: number, about: number): Fact =>
  sign(by, { kind: 'entry', peerId: at(about).peerId, name: 'n', admittedAtMs: 0 });
const record = (by: number, epoch: number): Fact => {
  const identity = { storeId: `store${by}-${epoch % 2}`, bootCount: epoch, bootId: `${by}` };
  const shown = { name: 'n', addresses: [], labels: {}, version: '1', features: [] };
  const state = { execEnabled: true, stopping: false, left: false };
  const turn = { epoch, incarnation: 0 };
  return sign(by, {
    kind: 'record',
    peerId: at(by).peerId,
    ...identity,
    ...shown,
    ...state,
    ...turn,
  });
};

const factArb: fc.Arbitrary<Fact> = fc.oneof(
  fc.tuple(indexArb, indexArb).map(([by, about]) => entry(by, about)),
  fc.tuple(indexArb, fc.nat(3)).map(([by, epoch]) => record(by, epoch)),
  fc.tuple(indexArb, indexArb, fc.subarray([1, 2, 3, 4])).map(([by, about, kept]) =>
    sign(by, {
      kind: 'revocation',
      peerId: at(about).peerId,
      revokedAtMs: 1,
      keeps: kept.map((index) => at(index).peerId),
    }),
  ),
  fc.tuple(indexArb, indexArb, fc.nat(3), fc.boolean()).map(([by, about, epoch, isCrash]) => {
    const evidence = isCrash ? 'crash' : 'silence';
    return sign(by, { kind: 'verdict', peerId: at(about).peerId, epoch, incarnation: 0, evidence });
  }),
  fc.tuple(indexArb, indexArb, fc.nat(1)).map(([by, about, which]) =>
    sign(by, {
      kind: 'removal',
      peerId: at(about).peerId,
      storeId: `store${about}-${which}`,
      removedAtMs: 1,
    }),
  ),
);

/** What anti-entropy does, in both directions. */
function exchange(a: View, b: View): void {
  const { send, want } = a.compare(b.digest());
  b.apply(send);
  a.apply(want.map((key) => b.fact(key)).filter((fact) => fact !== undefined));
}

const statuses = (view: View) =>
  peers.map(({ peerId }) => {
    const facts = view.get(peerId);
    return facts && statusOf(facts).status;
  });

describe('views with revocations', () => {
  it('become equal by exchange, and show nobody alive who is not allowed', () => {
    const some = fc.array(factArb, { maxLength: 14 });
    const founded = [
      entry(0, 0),
      entry(0, 1),
      entry(0, 2),
      record(0, 1),
      record(1, 1),
      record(2, 1),
    ];
    fc.assert(
      fc.property(some, some, (one, other) => {
        const [a, b] = [new View('mesh', root), new View('mesh', root)];
        for (const view of [a, b]) view.apply(founded);
        // One at a time, as news comes.
        for (const fact of one) a.apply([fact]);
        b.apply(other);
        for (let round = 0; round < 6 && a.hash() !== b.hash(); round++) {
          exchange(a, b);
          exchange(b, a);
        }
        expect(b.hash()).toBe(a.hash());
        expect(statuses(b)).toEqual(statuses(a));
        for (const [peerId, facts] of a.entries())
          if (!a.access.isAllowed(peerId)) expect(statusOf(facts).status).toBe('removed');
      }),
      { numRuns: 300 },
    );
  });
});
