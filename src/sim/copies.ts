/** Whether every copy is where it belongs in the end, and whether there are enough. */
import { contentHash, factHash, homeOf, type StoreId } from '../records/record.ts';
import { taskOf } from '../tasks/task.ts';
import type { Evidence, Replicated, Violation } from './evidence.ts';
import { dotName, PAYLOAD } from './losses.ts';

/** N of the default configuration, which the worlds have. */
const COPIES = 3;

/** A store drops what is over within so long before or after another one. */
const SWEEP_MS = 5_000;

/** The end of an id names its home, the start its time: in between is what differs. */
export const short = (id: string): string => id.slice(8, 20);

function missingHomes(
  id: string,
  copies: readonly Replicated[],
  stores: ReadonlySet<StoreId>,
): Violation[] {
  const holders = new Set(copies.map(({ storeId }) => storeId));
  const home = new Set(copies.flatMap(({ record }) => homeOf(record)));
  return [...home]
    .filter((store) => stores.has(store) && !holders.has(store))
    .map((store) => ({
      rule: 'missing_copy',
      detail: `home store ${store.slice(0, 8)} has no copy of ${short(id)}`,
    }));
}

/** As many copies in the home as the mesh can have, whatever became of the stores that had them. */
function tooFew(
  id: string,
  copies: readonly Replicated[],
  stores: ReadonlySet<StoreId>,
): Violation[] {
  const kept = copies.filter(({ record, storeId }) => homeOf(record).includes(storeId)).length;
  const wanted = Math.min(COPIES, stores.size);
  if (kept >= wanted) return [];
  return [{ rule: 'missing_copy', detail: `${short(id)} has ${kept} copies of ${wanted}` }];
}

/** What is being forgotten goes from one store after the other, from one with a fast clock long before. */
export function isKept(
  { dropped, endWallMs }: Pick<Evidence, 'dropped' | 'endWallMs'>,
  id: string,
  copies: readonly Replicated[],
): boolean {
  const dropAt = ({ record }: Replicated): number =>
    taskOf(record).dropAt ?? Number.POSITIVE_INFINITY;
  return !dropped.has(id) && copies.every((copy) => dropAt(copy) > endWallMs + SWEEP_MS);
}

const keptOf = (
  evidence: Pick<Evidence, 'replicas' | 'dropped' | 'endWallMs'>,
): [string, readonly Replicated[]][] =>
  [...evidence.replicas].filter(([id, copies]) => isKept(evidence, id, copies));

/** Every home store has a copy, all copies are the same bytes, and show the same accepted result. */
export function judgeCopies(
  evidence: Pick<Evidence, 'replicas' | 'stores' | 'lost' | 'dropped' | 'endWallMs'>,
): Violation[] {
  // A store that has just lost all it had holds nothing, and is to hold as much as the others.
  const stores = new Set(evidence.stores);
  return keptOf(evidence).flatMap(([id, copies]) => [
    // Half a task is no copy: one whose payload is on no disk any more stays where it is.
    ...(evidence.lost.get(id)?.has(PAYLOAD) === true
      ? []
      : [...missingHomes(id, copies, stores), ...tooFew(id, copies, stores)]),
    ...differing(id, copies),
  ]);
}

function differing(id: string, copies: readonly Replicated[]): Violation[] {
  const violations: Violation[] = [];
  if (new Set(copies.map(({ record }) => contentHash(record))).size > 1)
    violations.push({ rule: 'diverged', detail: `the copies of ${short(id)} are not equal` });
  const accepted = new Set(
    copies.map(({ record }) => {
      const { final } = taskOf(record);
      return `${final?.state} ${final?.run_id} ${final?.digest}`;
    }),
  );
  if (accepted.size > 1) {
    const detail = `${short(id)} has several accepted results: ${[...accepted].join(', ')}`;
    violations.push({ rule: 'two_results', detail });
  }
  return violations;
}

/** What a later version wrote is in every copy, unharmed, though nobody here knows what it says. */
export function judgeLaterFacts(
  evidence: Pick<Evidence, 'replicas' | 'laterFacts' | 'lost' | 'dropped' | 'endWallMs'>,
): Violation[] {
  const kept = new Map(keptOf(evidence));
  return evidence.laterFacts.flatMap(({ id, store, seq, hash }) => {
    if (evidence.lost.get(id)?.has(dotName({ store, seq })) === true) return [];
    return (kept.get(id) ?? []).flatMap(({ host, record }) => {
      const fact = record.facts.find((item) => item.store === store && item.seq === seq);
      if (fact !== undefined && factHash(fact) === hash) return [];
      const what = fact === undefined ? 'lacks' : 'has altered';
      const detail = `${host} ${what} a fact of ${short(id)} that a later version wrote`;
      return [{ rule: 'later_fact_lost', detail }];
    });
  });
}
