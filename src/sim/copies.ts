/** Whether every copy is where it belongs in the end, and whether there are enough. */
import { homeOf, type StoreId } from '../records/record.ts';
import type { Evidence, Replicated, Violation } from './evidence.ts';

/** N of the default configuration, which the worlds have. */
const COPIES = 3;

/** The end of an id names its home, the start its time: in between is what differs. */
export const short = (id: string): string => id.slice(8, 20);

export function missingHomes(
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
export function tooFew(
  id: string,
  copies: readonly Replicated[],
  stores: ReadonlySet<StoreId>,
): Violation[] {
  const kept = copies.filter(({ record, storeId }) => homeOf(record).includes(storeId)).length;
  const wanted = Math.min(COPIES, stores.size);
  if (kept >= wanted) return [];
  return [{ rule: 'missing_copy', detail: `${short(id)} has ${kept} copies of ${wanted}` }];
}

/**
 * Records that the promise does not cover: as many stores as an acknowledgement waited for have lost their copy, or an
 * older one was put in its place. Nothing else is excused.
 */
export function beyondPromise({
  destroyed,
  submits,
}: Pick<Evidence, 'destroyed' | 'submits'>): Set<string> {
  const required = new Map(
    submits.flatMap(({ id, outcome, detail }) =>
      outcome === 'acknowledged' && id !== undefined ? [[id, requiredOf(detail)] as const] : [],
    ),
  );
  const ids = [...destroyed].filter(([id, stores]) => stores.size >= (required.get(id) ?? 1));
  return new Set(ids.map(([id]) => id));
}

const requiredOf = (receipt: string): number =>
  Number((JSON.parse(receipt) as { required?: unknown }).required ?? 1);
