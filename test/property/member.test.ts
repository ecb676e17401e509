/** The member rule: news of one member in any order leads to one state. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Fact,
  type Removal,
  type SelfRecord,
  signFact,
  type Verdict,
} from '../../src/membership/fact.ts';
import { joinMember, type MemberFacts, statusOf, supersedes } from '../../src/membership/member.ts';
import { View } from '../../src/membership/view.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

const MESH = 'mesh';
const peers = ['a', 'b', 'c'].map((name) => createSimIdentity(name));
const [root] = peers as [(typeof peers)[number]];
const entries = peers.map((peer) =>
  signFact(root, MESH, { kind: 'entry', peerId: peer.peerId, name: 'x', admittedAtMs: 1 }),
);

const turnArb = fc.record({ epoch: fc.nat(3), incarnation: fc.nat(3) });
const subjectArb = fc.nat(peers.length - 1);

const recordArb: fc.Arbitrary<Fact<SelfRecord>> = fc
  .tuple(subjectArb, turnArb, fc.boolean(), fc.constantFrom('n1', 'n2'))
  .map(([index, turn, left, name]) => {
    const identity = peers[index] ?? root;
    return signFact(identity, MESH, {
      kind: 'record',
      peerId: identity.peerId,
      ...turn,
      storeId: `store${index}`,
      bootCount: turn.epoch,
      bootId: `boot${turn.epoch}`,
      name,
      addresses: [],
      labels: {},
      version: '1',
      features: [],
      execEnabled: true,
      stopping: false,
      left,
    });
  });
const verdictArb: fc.Arbitrary<Fact<Verdict>> = fc
  .tuple(subjectArb, subjectArb, turnArb, fc.constantFrom('crash' as const, 'silence' as const))
  .map(([by, about, turn, evidence]) =>
    signFact(peers[by] ?? root, MESH, {
      kind: 'verdict',
      peerId: (peers[about] ?? root).peerId,
      ...turn,
      evidence,
    }),
  );
const removalArb: fc.Arbitrary<Fact<Removal>> = fc
  .tuple(subjectArb, subjectArb, fc.nat(2))
  .map(([by, about, removedAtMs]) =>
    signFact(peers[by] ?? root, MESH, {
      kind: 'removal',
      peerId: (peers[about] ?? root).peerId,
      storeId: `store${about}`,
      removedAtMs,
    }),
  );
const stateArb: fc.Arbitrary<MemberFacts> = fc.record({
  record: recordArb,
  verdict: fc.option(verdictArb, { nil: undefined }),
});

describe('the member rule', () => {
  it('orders facts totally: of two that differ exactly one supersedes the other', () => {
    fc.assert(
      fc.property(recordArb, recordArb, (a, b) => {
        const same = Buffer.compare(a.signed.payload, b.signed.payload) === 0;
        expect(Number(supersedes(a, b)) + Number(supersedes(b, a))).toBe(same ? 0 : 1);
      }),
    );
    fc.assert(
      fc.property(verdictArb, verdictArb, (a, b) => {
        const same =
          a.signed.by === b.signed.by && Buffer.compare(a.signed.payload, b.signed.payload) === 0;
        expect(Number(supersedes(a, b)) + Number(supersedes(b, a))).toBe(same ? 0 : 1);
      }),
    );
  });

  it('is a join: idempotent, commutative, associative', () => {
    fc.assert(
      fc.property(stateArb, stateArb, stateArb, (a, b, c) => {
        expect(joinMember(a, a)).toEqual(a);
        expect(joinMember(a, b)).toEqual(joinMember(b, a));
        expect(joinMember(joinMember(a, b), c)).toEqual(joinMember(a, joinMember(b, c)));
      }),
    );
  });

  it('a later start is alive, whatever was said of an earlier one', () => {
    fc.assert(
      fc.property(stateArb, fc.array(verdictArb), ({ record }, verdicts) => {
        const above = { ...record.statement, epoch: 4, left: false };
        const later = { ...record, statement: above };
        let state: MemberFacts = { record: later, verdict: undefined };
        for (const verdict of verdicts) state = joinMember(state, { record, verdict });
        expect(statusOf(state).status).toBe('alive');
      }),
    );
  });

  it('gives one view for one set of facts, in any order and any batches', () => {
    const facts = fc.array(fc.oneof(recordArb, verdictArb, removalArb), { maxLength: 30 });
    const shuffled = facts.chain((list) =>
      fc.tuple(
        fc.constant(list),
        fc.shuffledSubarray(list, { minLength: list.length }),
        fc.integer({ min: 1, max: 7 }),
      ),
    );
    fc.assert(
      fc.property(shuffled, ([one, other, batch]) => {
        const [a, b] = [new View(MESH, root.peerId), new View(MESH, root.peerId)];
        a.apply(entries);
        a.apply(one);
        b.apply(entries);
        for (let at = 0; at < other.length; at += batch) b.apply(other.slice(at, at + batch));
        // Anti-entropy brings again what came too early: a verdict before the record that it is
        // about.
        for (let round = 0; round < 3; round++) {
          a.apply([...one, ...b.facts()]);
          b.apply([...other, ...a.facts()]);
        }
        expect(b.hash()).toBe(a.hash());
        for (const [peerId, state] of a.entries()) {
          expect(statusOf(state)).toEqual(statusOf(b.get(peerId) ?? state));
        }
        expect(a.compare(b.digest())).toEqual({ send: [], want: [] });
      }),
    );
  });

  it('what was removed stays removed, whatever is said of it; another store of the same host does not', () => {
    fc.assert(
      fc.property(removalArb, fc.array(fc.oneof(recordArb, verdictArb)), (removal, facts) => {
        const { peerId, storeId } = removal.statement;
        const view = new View(MESH, root.peerId);
        view.apply([...entries, removal, ...facts]);
        const known = view.get(peerId);
        if (known !== undefined) expect(statusOf(known).status).toBe('removed');
        const identity = peers.find((peer) => peer.peerId === peerId) ?? root;
        const anew = facts
          .filter((fact): fact is Fact<SelfRecord> => fact.statement.kind === 'record')
          .find((fact) => fact.statement.peerId === peerId)?.statement;
        if (anew === undefined) return;
        const reminted = { ...anew, epoch: 9, storeId: `${storeId} anew`, left: false };
        view.apply([signFact(identity, MESH, reminted)]);
        expect(statusOf(view.get(peerId) ?? fail()).status).toBe('alive');
        expect(view.removalOf(storeId)?.statement.storeId).toBe(storeId);
      }),
    );
  });
});

const fail = (): never => {
  throw new Error('the member is gone from the view');
};
