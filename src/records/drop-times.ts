/** The final records of one store in the order in which they may be dropped: keys `d/MS/ID`, without values. */
import { prefixEnd, type Store } from '../ports/store.ts';

/** 15 digits hold the milliseconds of the next 31,000 years; without the padding 10 would sort before 9. */
const padMs = (ms: number): string => String(Math.max(0, Math.floor(ms))).padStart(15, '0');
export const dropKey = (dropAtMs: number, id: string): string => `d/${padMs(dropAtMs)}/${id}`;
const idOf = (key: string): string => key.slice(key.lastIndexOf('/') + 1);

export class DropTimes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Ids of those whose time has passed, the earliest first. */
  passed(nowWallMs: number, limit: number): string[] {
    const to = `d/${padMs(nowWallMs)}/`;
    return this.#store.range({ from: 'd/', to, limit }).map(({ key }) => idOf(key));
  }

  /** Ids of those whose time lies behind `fromMs` and not behind `toMs`. */
  between(fromMs: number, toMs: number, limit: number): string[] {
    const [from, to] = [`d/${padMs(fromMs + 1)}/`, `d/${padMs(toMs + 1)}/`];
    return this.#store.range({ from, to, limit }).map(({ key }) => idOf(key));
  }

  /** All, the earliest first, from behind the mark of the last one that was looked at; '' from the first on. */
  from(mark: string, limit: number): { readonly mark: string; readonly id: string }[] {
    const from = mark === '' ? 'd/' : `${mark}\x00`;
    return this.#store
      .range({ from, to: prefixEnd('d/'), limit })
      .map(({ key }) => ({ mark: key, id: idOf(key) }));
  }
}
