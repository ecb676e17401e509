/** All keys of a prefix, page by page, without it. */
import { prefixEnd, type Store } from '../ports/store.ts';

const PAGE_MAX = 1_000;

export function* keysOf(store: Pick<Store, 'range'>, prefix: string): Generator<string> {
  for (let from = prefix; ; ) {
    const page = store.range({ from, to: prefixEnd(prefix), limit: PAGE_MAX });
    for (const { key } of page) yield key.slice(prefix.length);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_MAX) return;
    from = `${last.key}\x00`;
  }
}
