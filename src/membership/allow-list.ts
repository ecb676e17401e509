/**
 * Who may connect: a grow-only set of signed entries and revocations. A PeerId is allowed when
 * entries lead from the founder of the mesh to it, and it was never revoked. Revocation wins over
 * every entry, earlier or later; of those whom a revoked peer admitted, only the ones its revoker
 * knew stay.
 *
 * The founder's entry is signed by the founder itself. Only that one may be: else anybody could
 * admit himself.
 */
import { digestOf } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Entry, Fact, Revocation } from './fact.ts';
import { CHAIN_MAX, ENTRIES_MAX } from './limits.ts';
import type { AccessEntry } from './types.ts';

type Access = Fact<Entry> | Fact<Revocation>;
/** revoked: by a member. void: admitted by a peer that was revoked, unseen by the one that revoked it. */
export type Bar = 'revoked' | 'void';

/** One fact is kept for each kind, subject and author. */
export const accessKey = ({ signed, statement }: Access): string =>
  `${statement.kind}/${statement.peerId}/${signed.by}`;

/**
 * Of two statements of one author on one subject the one with the smaller digest stays: any rule,
 * but the same.
 */
const staysBefore = (a: Access, b: Access): boolean =>
  digestOf(a.signed.payload) <= digestOf(b.signed.payload);

export class AllowList {
  readonly root: PeerId;
  readonly #facts = new Map<string, Access>();
  #entries = 0;
  /**
   * Those to whom entries lead, void ones as well: whose statements are kept. It only grows.
   * Keeping only what the granted state would make the list depend on the order of arrival: an
   * entry that came before the revocation which voids its author would stay, and one that came
   * after would not.
   */
  #known: ReadonlyMap<PeerId, Fact<Entry>> = new Map();
  #revocations: ReadonlyMap<PeerId, readonly Fact<Revocation>[]> = new Map();
  /** Those to whom entries lead that no revocation made void; revoked ones included. */
  #granted: ReadonlyMap<PeerId, Fact<Entry>> = new Map();

  constructor(root: PeerId) {
    this.root = root;
  }

  /**
   * True when it changed the list. Facts by unknown authors are kept out: they come again by
   * anti-entropy.
   */
  add(fact: Access): boolean {
    if (!this.#put(fact)) return false;
    this.#follow();
    return true;
  }

  #put(fact: Access): boolean {
    if (!this.#mayState(fact)) return false;
    const key = accessKey(fact);
    const known = this.#facts.get(key);
    if (known && staysBefore(known, fact)) return false;
    if (!known && fact.statement.kind === 'entry') {
      if (this.#entries >= ENTRIES_MAX) return false;
      this.#entries += 1;
    }
    this.#facts.set(key, fact);
    return true;
  }

  #follow(): void {
    this.#indexRevocations();
    this.#known = this.#reach(() => true);
    this.#granted = this.#reach((entry) => this.#admissionStands(entry));
  }

  /** Adds as many as can be linked to the founder, in whatever order they come. */
  addAll(facts: readonly Access[]): Access[] {
    const added: Access[] = [];
    let waiting = [...facts];
    for (;;) {
      const before = added.length;
      waiting = waiting.filter((fact) => {
        if (!this.#put(fact)) return true;
        added.push(fact);
        return false;
      });
      if (added.length === before) return added;
      // Once for all of them: for each fact it would hold the loop for seconds when a large mesh is learned.
      this.#follow();
    }
  }

  #mayState({ signed, statement }: Access): boolean {
    if (statement.kind === 'entry' && statement.peerId === signed.by)
      return signed.by === this.root;
    return this.#known.has(signed.by);
  }

  /** Follows entries from the founder; `stands` may reject one. */
  #reach(stands: (fact: Fact<Entry>) => boolean): Map<PeerId, Fact<Entry>> {
    const entries = this.#sorted().filter((fact) => fact.statement.kind === 'entry');
    const reached = new Map<PeerId, Fact<Entry>>();
    for (let grew = true; grew; ) {
      grew = false;
      for (const fact of entries as Fact<Entry>[]) {
        const { peerId } = fact.statement;
        const isRoot = fact.signed.by === peerId;
        if (reached.has(peerId) || !(isRoot || reached.has(fact.signed.by))) continue;
        if (!isRoot && !stands(fact)) continue;
        reached.set(peerId, fact);
        grew = true;
      }
    }
    return reached;
  }

  #admissionStands({ signed, statement }: Fact<Entry>): boolean {
    const revocations = this.#revocationsOf(signed.by);
    if (revocations.length === 0) return true;
    return revocations.some((fact) => fact.statement.keeps.includes(statement.peerId));
  }

  #revocationsOf(peerId: PeerId): readonly Fact<Revocation>[] {
    return this.#revocations.get(peerId) ?? [];
  }

  #indexRevocations(): void {
    const index = new Map<PeerId, Fact<Revocation>[]>();
    for (const fact of this.#facts.values()) {
      if (fact.statement.kind !== 'revocation') continue;
      const { peerId } = fact.statement;
      index.set(peerId, [...(index.get(peerId) ?? []), fact as Fact<Revocation>]);
    }
    this.#revocations = index;
  }

  #sorted(): Access[] {
    return [...this.#facts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, fact]) => fact);
  }

  isAllowed(peerId: PeerId): boolean {
    return this.#granted.has(peerId) && !this.isRevoked(peerId);
  }

  isRevoked(peerId: PeerId): boolean {
    return this.#revocationsOf(peerId).length > 0;
  }

  /** As the one that admitted it wrote. */
  nameOf(peerId: PeerId): string | undefined {
    return (this.#granted.get(peerId) ?? this.#known.get(peerId))?.statement.name;
  }

  /** Entries lead to it, or led to it before a revocation. Such a peer stays known for good. */
  isKnown(peerId: PeerId): boolean {
    return this.#known.has(peerId);
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
    const seen = new Set<PeerId>();
    for (let at = this.#known.get(peerId); at && !seen.has(at.signed.by); ) {
      seen.add(at.signed.by);
      const [by] = this.#inOrder(at.signed.by);
      if (by) return { kind: 'void', by };
      at = this.#known.get(at.signed.by);
    }
    return undefined;
  }

  /** Of several that are all as good everybody names the same. */
  #inOrder(peerId: PeerId): Fact<Revocation>[] {
    return [...this.#revocationsOf(peerId)].sort((a, b) => (a.signed.by < b.signed.by ? -1 : 1));
  }

  /** An admission by one that was revoked, and its revoker had not seen it. */
  isVoid(fact: Fact<Entry>): boolean {
    return fact.signed.by !== fact.statement.peerId && !this.#admissionStands(fact);
  }

  /** What proves to one that is barred that it is: the revocation, and entries that lead to its author. */
  proofOf(peerId: PeerId): Access[] {
    const bar = this.barOf(peerId);
    if (!bar) return [];
    const proof: Access[] = [];
    const authors = new Set<PeerId>();
    for (let next = bar.by.signed.by; proof.length < CHAIN_MAX && !authors.has(next); ) {
      const entry = this.#known.get(next);
      if (!entry) break;
      authors.add(next);
      proof.push(entry);
      next = entry.signed.by;
    }
    return [...proof.reverse(), bar.by];
  }

  /** Whom this peer has admitted and who are in by that. */
  admittedBy(author: PeerId): Fact<Entry>[] {
    const facts = [...this.#granted.values()];
    return facts.filter(({ signed, statement }) => {
      return signed.by === author && statement.peerId !== author;
    });
  }

  /**
   * The entry by which this PeerId is allowed, then its author's, up to the founder's: what a
   * newcomer shows.
   */
  chainOf(peerId: PeerId): Fact<Entry>[] {
    const chain: Fact<Entry>[] = [];
    for (let next: PeerId | undefined = peerId; next !== undefined && chain.length < CHAIN_MAX; ) {
      const fact = this.#granted.get(next);
      if (!fact) break;
      chain.push(fact);
      next = fact.signed.by === next ? undefined : fact.signed.by;
    }
    return chain;
  }

  /** By the clock of whoever admitted it; 0 of one that is not allowed. */
  admittedAtMs(peerId: PeerId): number {
    return this.#granted.get(peerId)?.statement.admittedAtMs ?? 0;
  }

  /** Whose entry let this PeerId in; undefined: nobody's, or its own, the founder's. */
  admitterOf(peerId: PeerId): PeerId | undefined {
    const by = this.#granted.get(peerId)?.signed.by;
    return by === peerId ? undefined : by;
  }

  facts(): ReadonlyMap<string, Access> {
    return this.#facts;
  }

  list(): AccessEntry[] {
    const listed: AccessEntry[] = [];
    // Granted first: the void entry of one that somebody else has admitted as well is not what counts.
    for (const [peerId, { signed, statement }] of new Map([...this.#known, ...this.#granted])) {
      const { name, admittedAtMs } = statement;
      const bar = this.barOf(peerId);
      const revoked = this.isRevoked(peerId);
      const listedOne = { peerId, name, admittedBy: signed.by, admittedAtMs, revoked };
      const barred = bar && {
        barredBy: bar.by.signed.by,
        barredAtMs: bar.by.statement.revokedAtMs,
      };
      listed.push({ ...listedOne, isVoid: bar?.kind === 'void', ...barred });
    }
    return listed.sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
  }
}
