/** Who may connect: entries, revocations, and admissions by the revoked. */
import { describe, expect, it } from 'vitest';
import { AllowList } from '../../src/membership/allow-list.ts';
import { type Entry, type Fact, type Revocation, signFact } from '../../src/membership/fact.ts';
import { ENTRIES_MAX, REVOCATIONS_MAX } from '../../src/membership/limits.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';

const [root, b, c, d] = ['root', 'b', 'c', 'd'].map((name) => createSimIdentity(name)) as [
  ReturnType<typeof createSimIdentity>,
  ReturnType<typeof createSimIdentity>,
  ReturnType<typeof createSimIdentity>,
  ReturnType<typeof createSimIdentity>,
];
type Peer = typeof root;

const entry = (by: Peer, about: Peer): Fact<Entry> =>
  signFact(by, 'mesh', { kind: 'entry', peerId: about.peerId, name: 'n', admittedAtMs: 1 });
const revocation = (by: Peer, about: Peer, keeps: Peer[] = []): Fact<Revocation> =>
  signFact(by, 'mesh', {
    kind: 'revocation',
    peerId: about.peerId,
    revokedAtMs: 2,
    keeps: keeps.map(({ peerId }) => peerId),
  });
const listOf = (...facts: (Fact<Entry> | Fact<Revocation>)[]): AllowList => {
  const list = new AllowList('mesh', root.peerId);
  list.addAll([entry(root, root), ...facts]);
  return list;
};

it('is full when it has the most entries there may be, and says so', () => {
  const list = listOf();
  // Nobody checks a signature here: that is done where facts are read.
  const like = entry(root, b);
  const of = (i: number): Fact<Entry> => ({
    ...like,
    statement: { ...like.statement, peerId: `peer ${i}` },
  });
  list.addAll(Array.from({ length: ENTRIES_MAX - 2 }, (_, i) => of(i)));
  expect(list.isFull).toBe(false);
  expect([list.add(of(-1)), list.isFull, list.add(of(-2))]).toEqual([true, true, false]);
  // Who is on it already may be named again.
  expect([list.isAllowed('peer -1'), list.isAllowed('peer -2')]).toEqual([true, false]);
});

describe('the allow-list', () => {
  it('allows whom a chain of entries from the founder leads to', () => {
    const list = listOf(entry(b, c), entry(root, b));
    expect([root, b, c, d].map(({ peerId }) => list.isAllowed(peerId))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(list.chainOf(c.peerId).map(({ statement }) => statement.peerId)).toEqual([
      c.peerId,
      b.peerId,
      root.peerId,
    ]);
  });

  it('follows a chain as long as a mesh, whatever comes first', () => {
    const chain = Array.from({ length: 2_000 }, (_, i) => createSimIdentity(`chain ${i}`));
    const facts = chain.map((one, i) => entry(chain[i - 1] ?? root, one));
    // Were each of them looked at for each step, this would take minutes.
    for (const order of [facts, facts.toReversed()]) {
      const list = listOf(...order);
      expect(chain.every(({ peerId }) => list.isAllowed(peerId))).toBe(true);
      expect(list.addAll(facts)).toEqual([]);
    }
  });

  it('does not let anybody admit himself, or be admitted by a stranger', () => {
    const list = listOf(entry(d, d), entry(d, c));
    expect(list.isAllowed(d.peerId)).toBe(false);
    expect(list.isAllowed(c.peerId)).toBe(false);
  });

  it('a revocation wins over entries before and after it', () => {
    const list = listOf(entry(root, b), revocation(root, b));
    expect(list.isAllowed(b.peerId)).toBe(false);
    list.addAll([entry(root, c), entry(c, b)]);
    expect(list.isAllowed(b.peerId)).toBe(false);
    expect(list.list().find(({ peerId }) => peerId === b.peerId)?.revoked).toBe(true);
  });

  it('lets nobody that a revocation made void come back by a revocation of his own', () => {
    const facts = [entry(root, b), entry(b, c), revocation(root, b), revocation(c, b, [c])];
    for (const order of [facts, facts.toReversed()]) {
      const list = listOf(...order);
      expect(list.isAllowed(c.peerId)).toBe(false);
      // A member lets it in again.
      list.addAll([entry(root, c)]);
      expect(list.isAllowed(c.peerId)).toBe(true);
    }
  });

  it('has no room for revocations without end of nobody, and always for one of a member', () => {
    const list = listOf(entry(root, b), entry(root, c));
    const nobody = Array.from({ length: REVOCATIONS_MAX + 5 }, (_, i) =>
      signFact(b, 'mesh', { kind: 'revocation', peerId: `p${i}`, revokedAtMs: 2, keeps: [] }),
    );
    expect(list.addAll(nobody)).toHaveLength(REVOCATIONS_MAX);
    // It was said of one that is admitted only now: there is room for another.
    list.addAll([signFact(c, 'mesh', { kind: 'entry', peerId: 'p0', name: 'n', admittedAtMs: 1 })]);
    expect(list.isAllowed('p0')).toBe(false);
    expect(list.addAll(nobody)).toHaveLength(1);
    expect(list.addAll([revocation(root, b)])).toHaveLength(1);
    expect(list.isAllowed(b.peerId)).toBe(false);
  });

  it('keeps whom all who revoked his admitter had seen', () => {
    const seen = [entry(root, b), entry(root, d), entry(b, c)];
    const list = listOf(...seen, revocation(root, b, [c]), revocation(d, b, [c]));
    expect(list.isAllowed(c.peerId)).toBe(true);
    expect(listOf(...seen, revocation(root, b, [c]), revocation(d, b)).isAllowed(c.peerId)).toBe(
      false,
    );
  });

  it('voids admissions by a revoked peer that the revoker had not seen', () => {
    const list = listOf(entry(root, b), entry(b, c), entry(b, d), revocation(root, b, [c]));
    expect(list.isAllowed(c.peerId)).toBe(true);
    expect(list.isAllowed(d.peerId)).toBe(false);
  });
});
