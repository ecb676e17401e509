/** Whether every copy is where it belongs in the end, and whether there are enough. */
import { contentHash, homeOf, type StoreId } from '../records/record.ts';
import { taskOf } from '../tasks/task.ts';
import type { Evidence, Replicated, Violation } from './evidence.ts';
import { PAYLOAD } from './losses.ts';

/** N of the default configuration, which the worlds have. */
const COPIES = 3;

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

/** Every home store has a copy, all copies are the same bytes, and show the same accepted result. */
export function judgeCopies(evidence: Pick<Evidence, 'replicas' | 'stores' | 'lost'>): Violation[] {
  // A store that has just lost all it had holds nothing, and is to hold as much as the others.
  const stores = new Set(evidence.stores);
  return [...evidence.replicas].flatMap(([id, copies]) => [
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
