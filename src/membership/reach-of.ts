/** Whom entries and merges lead to, from the founder on: pure. */
import type { PeerId } from '../ports/identity.ts';
import type { Entry, Fact, Merge } from './fact.ts';

/** Whom entries lead to, and the founders by mesh. */
export interface Reach {
  readonly entries: ReadonlyMap<PeerId, Fact<Entry>>;
  readonly roots: ReadonlyMap<string, ReadonlySet<PeerId>>;
}
export type Admission = Fact<Entry> | Fact<Merge>;

export const isEntry = (fact: Fact): fact is Fact<Entry> => fact.statement.kind === 'entry';

/** A founder's own entry: it needs nobody's word but that its mesh is accepted. */
export const isFounding = ({ signed, statement }: Fact): boolean =>
  statement.kind === 'entry' && signed.by === statement.peerId;

/**
 * Only of facts in the same order everybody finds the same; `stands` may reject one. The nearest word counts, so chains are
 * short. Each fact is looked at once: who was invited by whom is a chain as long as the mesh, where each host invites the next.
 */
export function reachOf(
  start: { readonly meshId: string; readonly root: PeerId },
  facts: readonly Admission[],
  stands: (fact: Admission) => boolean,
): Reach {
  const entries = new Map<PeerId, Fact<Entry>>();
  const roots = new Map([[start.meshId, new Set([start.root])]]);
  leadOn({ entries: new Map(), roots }, facts, (fact) => {
    if (!isFounding(fact) && !stands(fact)) return false;
    const { peerId } = fact.statement;
    if (isEntry(fact)) {
      if (entries.has(peerId)) return false;
      entries.set(peerId, fact);
      return true;
    }
    const theirs = roots.get(fact.statement.mesh) ?? new Set();
    roots.set(fact.statement.mesh, theirs.add(peerId));
    return true;
  });
  return { entries, roots };
}

/**
 * Of admissions that somebody shows from outside those that lead on from `known`, by nobody whose word is void. What only
 * a barred peer says would else fill the list of everybody with its inventions, for good.
 */
export function leadingOn(
  known: Reach,
  shown: readonly Admission[],
  stands: (fact: Admission) => boolean,
): Admission[] {
  const led: Admission[] = [];
  leadOn(known, shown, (fact) => {
    const leads = isFounding(fact) || stands(fact);
    if (leads) led.push(fact);
    return leads;
  });
  return led;
}

/**
 * Gives each fact to `take` as soon as its author is in and its mesh is known, in whatever order they come; those that
 * nothing leads to are left out. What is taken leads on.
 */
export function leadOn<F extends Fact>(
  known: Reach,
  facts: readonly F[],
  take: (fact: F) => boolean,
): void {
  const met = new Set<string>();
  const waiting = new Map<string, F[]>();
  /** What has to be known before; undefined: it is. */
  const lackOf = (fact: F): string | undefined => {
    const { signed, meshId } = fact;
    const isMesh = known.roots.has(meshId) || met.has(`mesh ${meshId}`);
    if (!isMesh) return `mesh ${meshId}`;
    const isFounded = isFounding(fact);
    const author = isFounded ? `founder ${meshId} ${signed.by}` : `peer ${signed.by}`;
    const isKnown = isFounded
      ? known.roots.get(meshId)?.has(signed.by)
      : known.entries.has(signed.by);
    return isKnown || met.has(author) ? undefined : author;
  };
  const queue = [...facts];
  // It grows meanwhile, by those that waited for what was met.
  for (const fact of queue) {
    const lack = lackOf(fact);
    if (lack !== undefined) {
      const others = waiting.get(lack);
      if (others) others.push(fact);
      else waiting.set(lack, [fact]);
      continue;
    }
    if (!take(fact)) continue;
    for (const name of namesIn(fact)) {
      met.add(name);
      for (const one of waiting.get(name) ?? []) queue.push(one);
      waiting.delete(name);
    }
  }
}

/** Whom, or which mesh, a fact makes known. */
function namesIn({ statement }: Fact): string[] {
  if (statement.kind === 'entry') return [`peer ${statement.peerId}`];
  if (statement.kind !== 'merge') return [];
  return [`mesh ${statement.mesh}`, `founder ${statement.mesh} ${statement.peerId}`];
}
