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

/** Only of facts in the same order everybody finds the same; `stands` may reject one. */
export function reachOf(
  start: { readonly meshId: string; readonly root: PeerId },
  facts: readonly Admission[],
  stands: (fact: Admission) => boolean,
): Reach {
  const entries = new Map<PeerId, Fact<Entry>>();
  const roots = new Map([[start.meshId, new Set([start.root])]]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const fact of facts) {
      const { peerId } = fact.statement;
      const ours = roots.get(fact.meshId);
      const isRoot = isFounding(fact);
      if (!ours || !(isRoot ? ours.has(peerId) : entries.has(fact.signed.by))) continue;
      if (!isRoot && !stands(fact)) continue;
      if (isEntry(fact)) {
        if (entries.has(peerId)) continue;
        entries.set(peerId, fact);
      } else {
        const theirs = roots.get(fact.statement.mesh) ?? new Set();
        if (theirs.has(peerId)) continue;
        roots.set(fact.statement.mesh, theirs.add(peerId));
      }
      grew = true;
    }
  }
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
  const entered = new Set<PeerId>();
  const founders = new Set<string>();
  const isFounder = (mesh: string, peerId: PeerId): boolean =>
    known.roots.get(mesh)?.has(peerId) === true || founders.has(`${mesh} ${peerId}`);
  const meshes = new Set(known.roots.keys());
  const led: Admission[] = [];
  let waiting = [...shown];
  for (let before = -1; before !== led.length; ) {
    before = led.length;
    waiting = waiting.filter((fact) => {
      const { signed, meshId, statement } = fact;
      const isIn = known.entries.has(signed.by) || entered.has(signed.by);
      const leads = isFounding(fact)
        ? isFounder(meshId, signed.by)
        : isIn && meshes.has(meshId) && stands(fact);
      if (!leads) return true;
      if (statement.kind === 'entry') entered.add(statement.peerId);
      else {
        meshes.add(statement.mesh);
        founders.add(`${statement.mesh} ${statement.peerId}`);
      }
      led.push(fact);
      return false;
    });
  }
  return led;
}
