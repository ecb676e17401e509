/** Merges of meshes: whatever order facts come in, the view is the union of what members accepted, and of nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Fact, factBytes, readFacts, signFact, toWire } from '../../src/membership/fact.ts';
import { statusOf } from '../../src/membership/member.ts';
import { View } from '../../src/membership/view.ts';
import { createSimIdentity } from '../../src/sim/identity.ts';
import { decodeValue } from '../../src/wire/codec.ts';

const MESHES = ['a', 'b', 'c'] as const;
type MeshId = (typeof MESHES)[number];
type Peer = ReturnType<typeof createSimIdentity>;
/** The founder, one that it admitted, and one that this one admitted. */
const peersOf = (mesh: MeshId): readonly [Peer, Peer, Peer] => [
  createSimIdentity(`${mesh}0`),
  createSimIdentity(`${mesh}1`),
  createSimIdentity(`${mesh}2`),
];
const peers = { a: peersOf('a'), b: peersOf('b'), c: peersOf('c') };
const all = MESHES.flatMap((mesh) => [...peers[mesh]]);
const strangers = [createSimIdentity('s0'), createSimIdentity('s1')];

const entry = (by: Peer, about: Peer, mesh: string): Fact =>
  signFact(by, mesh, { kind: 'entry', peerId: about.peerId, name: 'n', admittedAtMs: 1 });
const record = (peer: Peer, mesh: string, incarnation = 0, left = false): Fact =>
  signFact(peer, mesh, {
    ...{ kind: 'record', peerId: peer.peerId, epoch: 1, incarnation, storeId: `s${peer.peerId}` },
    ...{ bootCount: 1, bootId: 'boot', name: 'n', addresses: [], labels: {}, version: '1' },
    ...{ features: [], execEnabled: true, stopping: false, left },
  });
const merge = (by: Peer, mesh: string, other: string, root: Peer): Fact =>
  signFact(by, mesh, { kind: 'merge', peerId: root.peerId, mesh: other, mergedAtMs: 1 });
const factsOf = (mesh: MeshId): Fact[] => {
  const [root, one, two] = peers[mesh];
  const entries = [entry(root, root, mesh), entry(root, one, mesh), entry(one, two, mesh)];
  return [...entries, record(root, mesh), record(one, mesh), record(two, mesh)];
};
const both = (x: MeshId, y: MeshId, by = 1): Fact[] => [
  merge(peers[x][by] ?? peers[x][0], x, y, peers[y][0]),
  merge(peers[y][by] ?? peers[y][0], y, x, peers[x][0]),
];
const viewOf = (mesh: MeshId): View => new View(mesh, peers[mesh][0].peerId);
const seenBy = (view: View): string[] => [...view.entries()].map(([peerId]) => peerId).sort();
const idsOf = (...meshes: MeshId[]): string[] =>
  meshes.flatMap((mesh) => peers[mesh].map(({ peerId }) => peerId)).sort();

/** As it comes over the wire: facts that may not be read yet are dropped, as a peer does. */
const hear = (view: View, facts: readonly Fact[]): void => {
  const verify: Peer['verify'] = (...args) => strangers[0]?.verify(...args) ?? false;
  const known = view.access.knownMeshes;
  view.apply(readFacts(facts.map(toWire), known, verify, () => undefined));
};
/** Anti-entropy among them until nothing is new. */
const exchange = (views: readonly View[]): void => {
  for (let before = ''; ; ) {
    const now = views.map((view) => view.hash()).join();
    if (now === before) return;
    before = now;
    for (const view of views)
      for (const other of views) if (other !== view) hear(view, other.facts());
  }
};
const verdictArb = fc
  .tuple(fc.nat(8), fc.nat(8), fc.constantFrom(...MESHES))
  .map(([by, about, mesh]) =>
    signFact(all[by] ?? peers.a[0], mesh, {
      ...{ kind: 'verdict', peerId: (all[about] ?? peers.a[0]).peerId },
      ...{ epoch: 1, incarnation: 0, evidence: 'silence' },
    }),
  );
const revocationArb = fc
  .tuple(fc.nat(8), fc.nat(8), fc.subarray([0, 1, 2, 3, 4, 5, 6, 7, 8]), fc.subarray([...MESHES]))
  .map(([by, about, kept, keptMeshes]) => {
    const keepsMeshes = keptMeshes.map((mesh) => `${mesh} ${peers[mesh][0].peerId}`);
    const author = all[by] ?? peers.a[0];
    const mesh = MESHES.find((one) => peers[one].includes(author)) ?? 'a';
    return signFact(author, mesh, {
      ...{ kind: 'revocation', peerId: (all[about] ?? peers.a[0]).peerId, revokedAtMs: 2 },
      ...{ keeps: kept.map((i) => (all[i] ?? peers.a[0]).peerId), keepsMeshes },
    });
  });
const mergeArb = fc
  .tuple(fc.constantFrom(...MESHES), fc.constantFrom(...MESHES), fc.nat(2))
  .map(([x, y, by]) => merge(peers[x][by] ?? peers[x][0], x, y, peers[y][0]));

describe('a merge', () => {
  it('makes each side see the members of both, whatever comes first', () => {
    const facts = [...factsOf('a'), ...factsOf('b'), ...both('a', 'b')];
    const orders = fc.shuffledSubarray(facts, { minLength: facts.length });
    fc.assert(
      fc.property(orders, orders, fc.nat({ max: 6 }), (one, other, batch) => {
        const [a, b] = [viewOf('a'), viewOf('b')];
        hear(a, one);
        for (let at = 0; at < other.length; at += batch + 1)
          hear(b, other.slice(at, at + batch + 1));
        // What came too early comes again.
        for (let round = 0; round < 3; round++) hear(b, other);
        hear(a, one);
        expect(seenBy(a)).toEqual(idsOf('a', 'b'));
        expect(seenBy(b)).toEqual(idsOf('a', 'b'));
        expect(b.hash()).toBe(a.hash());
        expect([a, b].map(({ access }) => access.shownMesh)).toEqual(['a', 'a']);
      }),
      { numRuns: 30 },
    );
  });

  it('of several meshes is one view for all, with verdicts, revocations and void merges among it', () => {
    const more = fc.array(fc.oneof(verdictArb, revocationArb, mergeArb), { maxLength: 8 });
    fc.assert(
      fc.property(more, more, (one, other) => {
        const views = MESHES.map((mesh) => viewOf(mesh));
        views.forEach((view, i) => {
          hear(view, factsOf(MESHES[i] ?? 'a'));
          hear(view, [...both('a', 'b'), ...both('b', 'c', 2)]);
          hear(view, i === 0 ? one : other);
        });
        exchange(views);
        const [a, b, c] = views as [View, View, View];
        // Those that still count one another as members see the same, down to the last fact.
        for (const [x, y] of [
          [a, b],
          [b, c],
          [a, c],
        ] as const) {
          expect([...x.access.facts().keys()].sort()).toEqual([...y.access.facts().keys()].sort());
          if (x.access.shownMesh !== y.access.shownMesh) continue;
          const allowed = (view: View) => all.map(({ peerId }) => view.access.isAllowed(peerId));
          if (allowed(x).join() !== allowed(y).join()) continue;
          expect(x.hash()).toBe(y.hash());
          for (const [peerId, facts] of x.entries())
            expect(statusOf(facts).status).toBe(statusOf(y.get(peerId) ?? facts).status);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('is idempotent, commutative and associative: A+B+C is one view in whichever order they merge', () => {
    const steps = [both('a', 'b'), both('b', 'c', 2), both('a', 'c', 0)];
    fc.assert(
      fc.property(fc.shuffledSubarray(steps, { minLength: 2 }), (order) => {
        const views = MESHES.map((mesh) => viewOf(mesh));
        for (const [i, view] of views.entries()) hear(view, factsOf(MESHES[i] ?? 'a'));
        for (const facts of [...order, ...order]) {
          for (const view of views) hear(view, facts);
          exchange(views);
        }
        const hashes = new Set(views.map((view) => view.hash()));
        expect(hashes.size).toBe(1);
        for (const view of views) {
          expect(seenBy(view)).toEqual(idsOf('a', 'b', 'c'));
          expect(view.access.shownMesh).toBe('a');
        }
      }),
      { numRuns: 6 },
    );
  });
});

describe('nobody else is let in by it', () => {
  const [s0] = strangers as [Peer, Peer];
  const theirs = [entry(s0, s0, 'x'), record(s0, 'x')];
  /** These facts, and a revocation by one that knew them. */
  const listedBy = (by: Peer, about: Peer, facts: readonly Fact[]): Fact[] => {
    const view = viewOf('a');
    hear(view, facts);
    const keepsMeshes = view.access.acceptedBy(about.peerId);
    const keeps = view.access.admittedBy(about.peerId).map(({ statement }) => statement.peerId);
    const { peerId } = about;
    const revocation = { kind: 'revocation', peerId, revokedAtMs: 2, keeps, keepsMeshes } as const;
    return [...facts, signFact(by, 'a', revocation)];
  };

  it('not by a merge that a stranger, or a founder of somewhere else, has signed', () => {
    const view = viewOf('a');
    hear(view, factsOf('a'));
    const hash = view.hash();
    hear(view, [merge(s0, 'a', 'x', s0), ...theirs]);
    hear(view, [merge(s0, 'x', 'a', peers.a[0]), ...theirs]);
    hear(view, [merge(peers.a[1], 'x', 'x', s0), ...theirs]);
    expect(view.hash()).toBe(hash);
    expect(view.access.knowsMesh('x')).toBe(false);
  });

  it('not by one of a member that was revoked and had not been heard before', () => {
    const [a0, a1] = peers.a;
    const accepts = merge(a1, 'a', 'x', s0);
    const revokes = (keepsMeshes: string[]) =>
      signFact(a0, 'a', {
        ...{ kind: 'revocation', peerId: a1.peerId, revokedAtMs: 2, keeps: [], keepsMeshes },
      });
    for (const order of [
      [accepts, ...theirs, revokes([])],
      [revokes([]), accepts, ...theirs],
    ]) {
      const view = viewOf('a');
      hear(view, [...factsOf('a'), ...order]);
      expect(view.access.isAllowed(s0.peerId)).toBe(false);
      expect(view.access.hasMesh('x')).toBe(false);
      expect(view.access.barOf(s0.peerId)?.kind).toBe('void');
      // Another revoker had heard of it: that helps nobody, or the void would vouch for themselves.
      hear(view, [
        signFact(peers.a[2], 'a', {
          ...{ kind: 'revocation', peerId: a1.peerId, revokedAtMs: 3 },
          ...{ keeps: [peers.a[2].peerId], keepsMeshes: [`x ${s0.peerId}`] },
        }),
      ]);
      expect(view.access.isAllowed(s0.peerId)).toBe(false);
    }
  });

  it('not by another founder of a mesh whose merge was kept, whatever the revoked peer signs later', () => {
    const [a0, a1] = peers.a;
    const [, evil] = strangers as [Peer, Peer];
    const kept = listedBy(a0, a1, [...factsOf('a'), merge(a1, 'a', 'x', s0), ...theirs]);
    for (let mergedAtMs = 2; mergedAtMs < 12; mergedAtMs++) {
      const later = signFact(a1, 'a', {
        ...{ kind: 'merge', peerId: evil.peerId, mesh: 'x', mergedAtMs },
      });
      for (const order of [
        [...kept, later, entry(evil, evil, 'x')],
        [later, entry(evil, evil, 'x'), ...kept],
      ]) {
        const view = viewOf('a');
        for (let round = 0; round < 2; round++) hear(view, [...factsOf('a'), ...order]);
        expect(view.access.isAllowed(evil.peerId)).toBe(false);
        expect(view.access.isAllowed(s0.peerId)).toBe(true);
        expect(view.access.hasMesh('x')).toBe(true);
      }
    }
  });

  it('not by what is said in a third mesh, also by one that is a member here', () => {
    const view = viewOf('a');
    const [a0, a1] = peers.a;
    hear(view, [...factsOf('a'), ...factsOf('b'), ...both('a', 'b')]);
    const hash = view.hash();
    const elsewhere = [
      record(a1, 'x', 9, true),
      entry(a1, s0, 'x'),
      entry(a0, a0, 'x'),
      signFact(a0, 'x', {
        ...{ kind: 'verdict', peerId: a1.peerId, epoch: 1, incarnation: 0, evidence: 'crash' },
      }),
      signFact(a0, 'x', { kind: 'revocation', peerId: a1.peerId, revokedAtMs: 1, keeps: [] }),
      signFact(a0, 'x', {
        ...{ kind: 'removal', peerId: a1.peerId, storeId: `s${a1.peerId}`, removedAtMs: 1 },
      }),
    ] as Fact[];
    hear(view, elsewhere);
    // A stranger's merge in the same breath does not open it either.
    hear(view, [merge(s0, 'a', 'x', a0), ...elsewhere]);
    view.apply(elsewhere);
    expect(view.hash()).toBe(hash);
    expect(statusOf(view.get(a1.peerId) ?? fail()).status).toBe('alive');
  });

  it('what names one mesh after another is not unpacked again and again, in whatever order it comes', () => {
    const author = strangers[0] as Peer;
    const facts = Array.from({ length: 30 }, (_, i) => merge(author, `m${i}`, `m${i + 1}`, author));
    let unpacked = 0;
    const values = facts.toReversed().map((fact) => {
      const [by, payload, signature] = toWire(fact) as [string, Uint8Array, Uint8Array];
      const value = [by, payload, signature];
      const get = () => {
        unpacked += 1;
        return payload;
      };
      return Object.defineProperty(value, 1, { get });
    });
    const verify: Peer['verify'] = (...args) => author.verify(...args);
    expect(readFacts(values, new Set(['m0']), verify, () => undefined)).toHaveLength(30);
    expect(unpacked).toBeLessThanOrEqual(60);
  });

  it('a fact travels as its bytes: what is read is what was signed', () => {
    for (const fact of both('a', 'b')) {
      const decoded = decodeValue(factBytes(fact));
      if (!decoded.ok) throw new Error(decoded.error);
      const verify: Peer['verify'] = (...args) => s0.verify(...args);
      expect(readFacts([decoded.value], new Set(['a', 'b']), verify, fail)).toEqual([fact]);
    }
  });
});

const fail = (): never => {
  throw new Error('it should be there');
};
