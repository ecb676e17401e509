/** A store as the steps from an old layout read it. */
import type { Store } from '../ports/store.ts';

export type Readable = Pick<Store, 'get' | 'range'>;

/** Entries read at once. */
const PAGE_MAX = 1_000;

/** All of [from, to), page by page. */
export function* entriesOf(store: Readable, from: string, to: string) {
  for (let next = from; ; ) {
    const page = store.range({ from: next, to, limit: PAGE_MAX });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_MAX) return;
    next = `${last.key}\x00`;
  }
}
