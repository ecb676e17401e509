/**
 * A process that reads all of a store, and dies if the store is such that LMDB does. Its exit code says whether what it
 * read was in order (recover-store.ts); one that could not read at all says nothing about the store.
 */
import process from 'node:process';
import type { Store } from '../ports/store.ts';
import { HostClock } from './clock.ts';
import { textOf } from './directory-lock.ts';
import { isOfDamage, TRIED_IN_VAIN } from './recover-store.ts';
import { openStore } from './store.ts';

const PAGE_MAX = 1_000;

/** Why what was read is not in order, or could not be read. */
function flawIn(store: Store): string | undefined {
  for (let from = ' '; ; ) {
    const page = store.range({ from, to: '\x7f', limit: PAGE_MAX });
    // A page of which the order is broken is passed by a walk, and not by a search.
    for (const { key } of page)
      if (store.get(key) === undefined) return `MDB_CORRUPTED: ${key} is not where it belongs`;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_MAX) return undefined;
    from = `${last.key}\x00`;
  }
}

async function tried(directory: string): Promise<string | undefined> {
  const opened = await openStore({ directory, clock: new HostClock() });
  if (!opened.ok) return opened.error.detail;
  const flaw = flawIn(opened.value);
  await opened.value.close();
  return flaw;
}

const [, , directory = ''] = process.argv;
const flaw = await tried(directory).catch(textOf);
if (flaw === undefined) process.exit(0);
process.exit(isOfDamage(flaw) ? TRIED_IN_VAIN : 1);
