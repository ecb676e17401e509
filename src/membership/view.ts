/**
 * The view: all facts this peer has accepted, as joins. It knows no time and no network; what a
 * batch of facts changed is returned, for others to persist, announce and act on.
 */
import { digestOf, sha256Of, toHex } from '../base/hash.ts';
import type { PeerId } from '../ports/identity.ts';
import { type Access, AllowList, accessKey, isAccess } from './allow-list.ts';
import { type Fact, isKind, type Removal, type SelfRecord, type Verdict } from './fact.ts';
import { MEMBERS_MAX, REMOVALS_MAX } from './limits.ts';
import { compareTurns, contentKey, joinMember, type MemberFacts } from './member.ts';

export interface MemberChange {
  readonly peerId: PeerId;
  readonly before: MemberFacts | undefined;
  readonly after: MemberFacts;
}

export interface ViewChange {
  readonly members: readonly MemberChange[];
  readonly access: readonly Access[];
  readonly removals: readonly Fact<Removal>[];
}

const DIGEST_CHARS = 16;
const keyOf = (fact: Fact): string =>
  isAccess(fact)
    ? accessKey(fact)
    : isKind(fact, 'removal')
      ? `removal/${fact.statement.storeId}`
      : `${fact.statement.kind}/${fact.statement.peerId}`;
export const factKey = keyOf;

export class View {
  readonly meshId: string;
  readonly access: AllowList;
  readonly #members = new Map<PeerId, MemberFacts>();
  /** By store, for good: a store that was removed once never has its part in old homes again. */
  readonly #removals = new Map<string, Fact<Removal>>();
  /** Fact key to the digest of its payload and author; with `#sum`, the hash of the whole. */
  readonly #digests = new Map<string, string>();
  readonly #facts = new Map<string, Fact>();
  /** Exclusive or of all (key, digest): order-free, and updated in constant time. */
  readonly #sum = new Uint8Array(16);

  constructor(meshId: string, root: PeerId) {
    this.meshId = meshId;
    this.access = new AllowList(meshId, root);
  }

  get(peerId: PeerId): MemberFacts | undefined {
    return this.#members.get(peerId);
  }

  entries(): IterableIterator<[PeerId, MemberFacts]> {
    return this.#members.entries();
  }

  get size(): number {
    return this.#members.size;
  }

  /**
   * Joins the facts in. Records of strangers and of meshes that no member accepted are left out, and so are verdicts on a turn that the
   * member itself never signed here: a forged one could put a member to death for all its future.
   *
   * The record of one that was revoked is kept, or else its store would be unknown to whoever hears
   * of the revocation first, and views would depend on the order of arrival. What it said of others
   * is void, whenever it came; its revoker has said again what it knew of it.
   */
  apply(facts: readonly Fact[]): ViewChange {
    const access = this.access.addAll(facts.filter((fact) => isAccess(fact)));
    for (const fact of access) this.#index(fact);
    const changes = new Map<PeerId, MemberChange>();
    if (access.length > 0 && this.access.revocationCount > 0) this.#applyAccess(changes);
    const ours = facts.filter(({ meshId }) => this.access.knowsMesh(meshId));
    for (const fact of ours) if (isKind(fact, 'record')) this.#applyRecord(fact, changes);
    for (const fact of ours) if (isKind(fact, 'verdict')) this.#applyVerdict(fact, changes);
    const removals = ours.filter((fact) => isKind(fact, 'removal') && this.#addRemoval(fact));
    for (const fact of removals) this.#applyRemoval(fact as Fact<Removal>, changes);
    return { members: [...changes.values()], access, removals: removals as Fact<Removal>[] };
  }

  /** Who is barred has changed, perhaps. */
  #applyAccess(changes: Map<PeerId, MemberChange>): void {
    for (const [storeId, fact] of this.#removals) {
      if (this.access.isAllowed(fact.signed.by)) continue;
      this.#removals.delete(storeId);
      this.#unindex(fact);
    }
    for (const [peerId, before] of this.#members) {
      const { verdict } = before;
      const stands = verdict === undefined || this.access.isAllowed(verdict.signed.by);
      if (!stands) this.#unindex(verdict);
      const joined = stands ? before : { ...before, verdict: undefined };
      this.#put(peerId, before, joined, changes);
    }
  }

  /** What a member has said of others and counts: void once it is revoked. */
  saidBy(author: PeerId): (Fact<Verdict> | Fact<Removal>)[] {
    const removals = [...this.#removals.values()].filter(({ signed }) => signed.by === author);
    const verdicts = [...this.#members.values()].flatMap(({ verdict }) =>
      verdict?.signed.by === author ? [verdict] : [],
    );
    return [...verdicts, ...removals];
  }

  /** Of two about one store the one with the smaller content stays: any rule, but the same. */
  #addRemoval(fact: Fact<Removal>): boolean {
    const { storeId } = fact.statement;
    const known = this.#removals.get(storeId);
    if (!this.access.isAllowed(fact.signed.by)) return false;
    if (known && contentKey(known) <= contentKey(fact)) return false;
    if (!known && this.#removals.size >= REMOVALS_MAX) return false;
    this.#removals.set(storeId, fact);
    this.#index(fact);
    return true;
  }

  #applyRemoval(fact: Fact<Removal>, changes: Map<PeerId, MemberChange>): void {
    for (const [peerId, before] of this.#members)
      if (before.record.statement.storeId === fact.statement.storeId)
        this.#put(peerId, before, before, changes);
  }

  /** Why this store is none of the mesh any more. */
  removalOf(storeId: string): Fact<Removal> | undefined {
    return this.#removals.get(storeId);
  }

  get removalCount(): number {
    return this.#removals.size;
  }

  #applyRecord(fact: Fact<SelfRecord>, changes: Map<PeerId, MemberChange>): void {
    const { peerId } = fact.statement;
    if (!this.access.isKnown(peerId)) return;
    const before = this.#members.get(peerId);
    if (!before && this.#members.size >= MEMBERS_MAX) return;
    const incoming = { record: fact, verdict: undefined };
    this.#put(peerId, before, before ? joinMember(before, incoming) : incoming, changes);
  }

  #applyVerdict(fact: Fact<Verdict>, changes: Map<PeerId, MemberChange>): void {
    const { peerId } = fact.statement;
    const before = this.#members.get(peerId);
    if (!before || !this.access.isAllowed(fact.signed.by)) return;
    if (compareTurns(fact.statement, before.record.statement) > 0) return;
    this.#put(peerId, before, joinMember(before, { ...before, verdict: fact }), changes);
  }

  #put(
    peerId: PeerId,
    before: MemberFacts | undefined,
    joined: MemberFacts,
    changes: Map<PeerId, MemberChange>,
  ): void {
    const removal = this.#removals.get(joined.record.statement.storeId);
    const barred = this.access.barOf(peerId);
    const bar = barred && { kind: barred.kind, by: barred.by.signed.by };
    const after = { ...joined, removal, bar };
    const isSame = before?.record === after.record && before.verdict === after.verdict;
    if (isSame && before.removal === removal && before.bar?.kind === bar?.kind) return;
    this.#members.set(peerId, after);
    this.#index(after.record);
    if (after.verdict) this.#index(after.verdict);
    const earlier = changes.get(peerId);
    changes.set(peerId, { peerId, before: earlier ? earlier.before : before, after });
  }

  #index(fact: Fact): void {
    const key = keyOf(fact);
    const digest = digestOf(fact.signed.payload).slice(0, DIGEST_CHARS);
    const known = this.#digests.get(key);
    const line = digest + digestOf(fact.signed.by).slice(0, DIGEST_CHARS);
    if (known === line) return;
    if (known !== undefined) this.#toggle(key, known);
    this.#toggle(key, line);
    this.#digests.set(key, line);
    this.#facts.set(key, fact);
  }

  #unindex(fact: Fact): void {
    const key = keyOf(fact);
    const known = this.#digests.get(key);
    if (known !== undefined) this.#toggle(key, known);
    this.#digests.delete(key);
    this.#facts.delete(key);
  }

  #toggle(key: string, line: string): void {
    const hash = sha256Of(`${key}\n${line}`);
    for (let i = 0; i < this.#sum.length; i++) this.#sum[i] = (this.#sum[i] ?? 0) ^ (hash[i] ?? 0);
  }

  hash(): string {
    return toHex(this.#sum);
  }

  /** What this peer holds, to compare: key to digest. */
  digest(): ReadonlyMap<string, string> {
    return this.#digests;
  }

  /**
   * Facts that the other lacks or has otherwise, and keys of which the other has something that we
   * lack.
   */
  compare(theirs: ReadonlyMap<string, string>): { send: Fact[]; want: string[] } {
    const send: Fact[] = [];
    for (const [key, line] of this.#digests) {
      const fact = this.#facts.get(key);
      if (fact && theirs.get(key) !== line) send.push(fact);
    }
    const want = [...theirs].filter(([key, line]) => this.#digests.get(key) !== line);
    return { send, want: want.map(([key]) => key) };
  }

  fact(key: string): Fact | undefined {
    return this.#facts.get(key);
  }

  facts(): Fact[] {
    return [...this.#facts.values()];
  }
}
