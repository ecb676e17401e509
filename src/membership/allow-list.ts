/**
 * Who may connect: a grow-only set of signed entries, revocations and merges. A PeerId is allowed
 * when entries lead from the founder of the mesh to it, and it was never revoked. Revocation wins
 * over every entry, earlier or later; of those whom a revoked peer admitted, only the ones its
 * revoker knew stay.
 *
 * The founder's entry is signed by the founder itself. Only that one may be: else anybody could
 * admit himself. A merge adds the founder of another mesh, as a second root; it stands or falls with
 * its author like an admission.
 */
import { digestOf } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';
import { rowsOf } from './access-rows.ts';
import type { Entry, Fact, Merge, Revocation } from './fact.ts';
import { CHAIN_MAX, ENTRIES_MAX, HELLO_MERGES_MAX, MERGES_MAX, REVOCATIONS_MAX } from './limits.ts';
import { type Admission, isFounding, leadingOn, leadOn, type Reach, reachOf } from './reach-of.ts';
import type { AccessEntry } from './types.ts';

export type Access = Fact<Entry> | Fact<Revocation> | Fact<Merge>;
/** revoked: by a member. void: admitted by a peer that was revoked, unseen by the one that revoked it. */
export type Bar = 'revoked' | 'void';

export const isAccess = (fact: Fact): fact is Access =>
  fact.statement.kind === 'entry' ||
  fact.statement.kind === 'revocation' ||
  fact.statement.kind === 'merge';

/**
 * A mesh and its founder. Never the mesh alone: of two merges of one author that name two founders one would take the
 * place of the other, and who has a revoked key could give a mesh that is kept a founder of his own.
 */
const foundedBy = ({ mesh, peerId }: Pick<Merge, 'mesh' | 'peerId'>): string => `${mesh} ${peerId}`;

/** One fact is kept for each kind, subject and author. */
export const accessKey = ({ signed, statement }: Access): string =>
  `${statement.kind}/${statement.kind === 'merge' ? foundedBy(statement) : statement.peerId}/${signed.by}`;

const isRevocation = (fact: Access): fact is Fact<Revocation> =>
  fact.statement.kind === 'revocation';
const isMerge = (fact: Access): fact is Fact<Merge> => fact.statement.kind === 'merge';
const isAdmission = (fact: Access): fact is Admission => !isRevocation(fact);

/**
 * Of two statements of one author on one subject the one with the smaller digest stays: any rule,
 * but the same.
 */
const staysBefore = (a: Access, b: Access): boolean =>
  digestOf(a.signed.payload) <= digestOf(b.signed.payload);

export class AllowList {
  readonly meshId: string;
  readonly root: PeerId;
  readonly #facts = new Map<string, Access>();
  #entries = 0;
  #merges = 0;
  /** Revocations of peers that nobody has admitted here: any number could be invented. */
  #unfounded = 0;
  /**
   * Those to whom entries lead, void ones as well: whose statements are kept. It only grows.
   * Keeping only what the granted state would make the list depend on the order of arrival: an
   * entry that came before the revocation which voids its author would stay, and one that came
   * after would not.
   */
  #known: Reach;
  #revocations: ReadonlyMap<PeerId, readonly Fact<Revocation>[]> = new Map();
  /** Those to whom entries lead that no revocation made void; revoked ones included. */
  #granted: Reach;

  constructor(meshId: string, root: PeerId) {
    this.meshId = meshId;
    this.root = root;
    this.#known = { entries: new Map(), roots: new Map([[meshId, new Set([root])]]) };
    this.#granted = this.#known;
  }

  /** What is signed in that mesh may be read: this one's own, or a merge has named it, void or not. */
  knowsMesh(meshId: string): boolean {
    return this.#known.roots.has(meshId);
  }

  get knownMeshes(): ReadonlySet<string> {
    return new Set(this.#known.roots.keys());
  }

  /** That mesh and this one are one. */
  hasMesh(meshId: string): boolean {
    return this.#granted.roots.has(meshId);
  }

  /** As it is shown: the same at all members, whichever mesh they come from. */
  get shownMesh(): string {
    return [...this.#granted.roots.keys()].sort()[0] ?? this.meshId;
  }

  /**
   * True when it changed the list. Facts by unknown authors are kept out: they come again by
   * anti-entropy.
   */
  add(fact: Access): boolean {
    return this.addAll([fact]).length > 0;
  }

  #put(fact: Access): boolean {
    const key = accessKey(fact);
    const known = this.#facts.get(key);
    if (known && staysBefore(known, fact)) return false;
    if (!known && fact.statement.kind === 'entry') {
      if (this.isFull) return false;
      this.#entries += 1;
    }
    if (!known && fact.statement.kind === 'merge') {
      if (this.#merges >= MERGES_MAX) return false;
      this.#merges += 1;
    }
    // Of those who are known there are no more than entries: never refuse one, or who floods could not be revoked.
    if (!known && isRevocation(fact) && !this.isKnown(fact.statement.peerId)) {
      if (this.#unfounded >= REVOCATIONS_MAX) return false;
      this.#unfounded += 1;
    }
    this.#facts.set(key, fact);
    return true;
  }

  #follow(): void {
    this.#indexRevocations();
    const admissions = this.#sorted().filter(isAdmission);
    this.#known = reachOf(this, admissions, () => true);
    this.#granted = reachOf(this, admissions, (fact) => this.#admissionStands(fact));
    this.#unfounded = 0;
    for (const [peerId, by] of this.#revocations)
      if (!this.isKnown(peerId)) this.#unfounded += by.length;
  }

  /** Adds as many as can be linked to the founder, in whatever order they come. */
  addAll(facts: readonly Access[]): Access[] {
    const added: Access[] = [];
    // Admissions first: how many revocations there may be depends on whether their subjects are known.
    for (const part of [facts.filter(isAdmission), facts.filter(isRevocation)]) {
      const before = added.length;
      leadOn<Access>(this.#known, part, (fact) => {
        const isNew = this.#put(fact);
        if (isNew) added.push(fact);
        return isNew;
      });
      // Once for all of them: for each fact it would hold the loop for seconds when a large mesh is learned.
      if (added.length > before) this.#follow();
    }
    return added;
  }

  #admissionStands({ signed, statement }: Admission): boolean {
    const revocations = this.#revocationsOf(signed.by);
    // Each of them: a void peer that revoked its admitter once more would else vouch for itself.
    return revocations.every(({ statement: { keeps, keepsMeshes } }) =>
      statement.kind === 'merge'
        ? keepsMeshes?.includes(foundedBy(statement))
        : keeps.includes(statement.peerId),
    );
  }

  #revocationsOf(peerId: PeerId): readonly Fact<Revocation>[] {
    return this.#revocations.get(peerId) ?? [];
  }

  #indexRevocations(): void {
    const index = new Map<PeerId, Fact<Revocation>[]>();
    for (const fact of this.#facts.values()) {
      if (!isRevocation(fact)) continue;
      const { peerId } = fact.statement;
      const others = index.get(peerId);
      if (others) others.push(fact);
      else index.set(peerId, [fact]);
    }
    this.#revocations = index;
  }

  #sorted(): Access[] {
    return [...this.#facts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, fact]) => fact);
  }

  /** Another entry would be dropped, without a word to whom it is about. */
  get isFull(): boolean {
    return this.#entries >= ENTRIES_MAX;
  }

  isAllowed(peerId: PeerId): boolean {
    return this.#granted.entries.has(peerId) && !this.isRevoked(peerId);
  }

  isRevoked(peerId: PeerId): boolean {
    return this.#revocationsOf(peerId).length > 0;
  }

  /** As the one that admitted it wrote. */
  nameOf(peerId: PeerId): string | undefined {
    return (this.#granted.entries.get(peerId) ?? this.#known.entries.get(peerId))?.statement.name;
  }

  /** Entries lead to it, or led to it before a revocation. Such a peer stays known for good. */
  isKnown(peerId: PeerId): boolean {
    return this.#known.entries.has(peerId);
  }

  /** Peers that were revoked. */
  get revocationCount(): number {
    return this.#revocations.size;
  }

  /** Why one that is known is not allowed: revoked itself, or admitted by one that was. */
  barOf(peerId: PeerId): { readonly kind: Bar; readonly by: Fact<Revocation> } | undefined {
    if (this.isAllowed(peerId)) return undefined;
    const [own] = this.#inOrder(peerId);
    if (own) return { kind: 'revoked', by: own };
    for (const at of this.#admitters(peerId)) {
      const [by] = this.#inOrder(at);
      if (by) return { kind: 'void', by };
    }
    return undefined;
  }

  /** Those by whose word it is here, the nearest first: a founder of another mesh by that of those who accepted it. */
  *#admitters(peerId: PeerId): Generator<PeerId> {
    const queue = [peerId];
    const seen = new Set(queue);
    for (const at of queue) {
      const entry = this.#known.entries.get(at);
      const isRoot = entry?.signed.by === at;
      const merges = isRoot
        ? this.#merged().filter(({ statement }) => statement.peerId === at)
        : [];
      for (const { signed } of isRoot ? merges : entry ? [entry] : []) {
        if (seen.has(signed.by)) continue;
        seen.add(signed.by);
        queue.push(signed.by);
        yield signed.by;
      }
    }
  }

  /** It is that one, or in by its word. */
  isBy(peerId: PeerId, other: PeerId): boolean {
    return peerId === other || [...this.#admitters(peerId)].includes(other);
  }

  /** Asked at each hello: never sort the whole list for the few of them. */
  #merged(): Fact<Merge>[] {
    if (this.#merges === 0) return [];
    const merges = [...this.#facts.values()].filter((fact) => isMerge(fact));
    return merges.sort((a, b) => (accessKey(a) < accessKey(b) ? -1 : 1));
  }

  /** Of several that are all as good everybody names the same. */
  #inOrder(peerId: PeerId): Fact<Revocation>[] {
    return [...this.#revocationsOf(peerId)].sort((a, b) => (a.signed.by < b.signed.by ? -1 : 1));
  }

  /** An admission by one that was revoked, and its revoker had not seen it. */
  isVoid(fact: Access): boolean {
    return !isFounding(fact) && !isRevocation(fact) && !this.#admissionStands(fact);
  }

  /** Of what somebody shows who wants to come in, that by which it may: no revocation, and nothing said by the barred. */
  leadingOn(shown: readonly Access[]): Access[] {
    const stands = (fact: Admission): boolean => this.#admissionStands(fact);
    return leadingOn(this.#granted, shown.filter(isAdmission), stands);
  }

  /** What proves to one that is barred that it is: the revocation, and what leads to its author. */
  proofOf(peerId: PeerId): Access[] {
    const bar = this.barOf(peerId);
    if (!bar) return [];
    const proof: Access[] = [];
    const authors = new Set<PeerId>();
    for (let next = bar.by.signed.by; proof.length < CHAIN_MAX && !authors.has(next); ) {
      const entry = this.#known.entries.get(next);
      if (!entry) break;
      authors.add(next);
      proof.push(entry);
      next = entry.signed.by;
    }
    const mesh = this.#known.entries.get(peerId)?.meshId ?? this.meshId;
    const merges = this.#known.roots.size > 1 ? this.mergesFor(mesh) : [];
    return [...merges, ...proof.reverse(), bar.by];
  }

  /** Whom this peer has admitted and who are in by that. */
  admittedBy(author: PeerId): Fact<Entry>[] {
    const facts = [...this.#granted.entries.values()];
    return facts.filter(({ signed, statement }) => {
      return signed.by === author && statement.peerId !== author;
    });
  }

  /** The meshes that this peer has accepted and that are in by that, each with its founder. */
  acceptedBy(author: PeerId): string[] {
    const { roots } = this.#granted;
    return this.#merged()
      .filter(({ signed, statement: { mesh, peerId } }) => {
        return signed.by === author && roots.get(mesh)?.has(peerId) === true;
      })
      .map(({ statement }) => foundedBy(statement));
  }

  /** This member has accepted that mesh. */
  hasAccepted(author: PeerId, mesh: string): boolean {
    const founders = [...(this.#known.roots.get(mesh) ?? [])];
    return founders.some((peerId) =>
      this.#facts.has(`merge/${foundedBy({ mesh, peerId })}/${author}`),
    );
  }

  get mergeCount(): number {
    return this.#merges;
  }

  /**
   * What shows a member that all these meshes are one, whatever it has missed: the merges that stand, those signed in its
   * own mesh first, with the entries of their authors.
   */
  mergesFor(meshId: string): Access[] {
    const isTheirs = (fact: Fact): number => (fact.meshId === meshId ? 0 : 1);
    const shown = new Set<Access>();
    for (const fact of this.#merged().sort((a, b) => isTheirs(a) - isTheirs(b))) {
      const chain = this.chainOf(fact.signed.by);
      if (chain.length === 0 || !this.#admissionStands(fact)) continue;
      const more = [fact, ...chain].filter((one) => !shown.has(one));
      if (shown.size + more.length <= HELLO_MERGES_MAX) for (const one of more) shown.add(one);
    }
    return [...shown];
  }

  /** PeerIds that were revoked. */
  revoked(): PeerId[] {
    return [...this.#revocations.keys()].sort();
  }

  /** Who of the allowed would not be, were these revoked as well: they and whom they had admitted. */
  cutBy(revoked: readonly PeerId[]): PeerId[] {
    // Whoever is revoked here already has its admissions judged by that.
    const out = new Set(revoked.filter((peerId) => !this.isRevoked(peerId)));
    const stands = (fact: Admission): boolean =>
      !out.has(fact.signed.by) && this.#admissionStands(fact);
    const { entries } = reachOf(this, this.#sorted().filter(isAdmission), stands);
    return [...this.#granted.entries.keys()].filter(
      (peerId) => this.isAllowed(peerId) && (out.has(peerId) || !entries.has(peerId)),
    );
  }

  /**
   * The entry by which this PeerId is allowed, then its author's, up to the founder's: what a
   * newcomer shows.
   */
  chainOf(peerId: PeerId): Fact<Entry>[] {
    const chain: Fact<Entry>[] = [];
    for (let next: PeerId | undefined = peerId; next !== undefined && chain.length < CHAIN_MAX; ) {
      const fact = this.#granted.entries.get(next);
      if (!fact) break;
      chain.push(fact);
      next = fact.signed.by === next ? undefined : fact.signed.by;
    }
    return chain;
  }

  /** By the clock of whoever admitted it; 0 of one that is not allowed. */
  admittedAtMs(peerId: PeerId): number {
    return this.#granted.entries.get(peerId)?.statement.admittedAtMs ?? 0;
  }

  /** Whose entry let this PeerId in; undefined: nobody's, or its own, the founder's. */
  admitterOf(peerId: PeerId): PeerId | undefined {
    const by = this.#granted.entries.get(peerId)?.signed.by;
    return by === peerId ? undefined : by;
  }

  facts(): ReadonlyMap<string, Access> {
    return this.#facts;
  }

  list(): AccessEntry[] {
    // Granted last: the void entry of one that somebody else has admitted as well is not what counts.
    return rowsOf(new Map([...this.#known.entries, ...this.#granted.entries]), this);
  }
}
