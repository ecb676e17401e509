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
import { CHAIN_MAX } from './limits.ts';
import type { AccessEntry } from './types.ts';

type Access = Fact<Entry> | Fact<Revocation>;

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
    if (!this.#mayState(fact)) return false;
    const key = accessKey(fact);
    const known = this.#facts.get(key);
    if (known && staysBefore(known, fact)) return false;
    this.#facts.set(key, fact);
    if (fact.statement.kind === 'revocation') this.#indexRevocations();
    this.#known = this.#reach(() => true);
    this.#granted = this.#reach((entry) => this.#admissionStands(entry));
    return true;
  }

  /** Adds as many as can be linked to the founder, in whatever order they come. */
  addAll(facts: readonly Access[]): Access[] {
    const added: Access[] = [];
    let waiting = [...facts];
    for (;;) {
      const before = added.length;
      waiting = waiting.filter((fact) => {
        if (!this.add(fact)) return true;
        added.push(fact);
        return false;
      });
      if (added.length === before) return added;
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
    for (const [peerId, { signed, statement }] of this.#granted) {
      const { name, admittedAtMs } = statement;
      const revoked = this.isRevoked(peerId);
      listed.push({ peerId, name, admittedBy: signed.by, admittedAtMs, revoked });
    }
    return listed.sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
  }
}
