/** A process that reads all of a store and exits 0; it dies if the store is such that LMDB does (recover-store.ts). */
import process from 'node:process';
import { HostClock } from './clock.ts';
import { openStore } from './store.ts';

const PAGE_MAX = 1_000;
const [, , directory = ''] = process.argv;
const opened = await openStore({ directory, clock: new HostClock() });
if (!opened.ok) process.exit(1);
for (let from = ' '; ; ) {
  const page = opened.value.range({ from, to: '\x7f', limit: PAGE_MAX });
  // A page of which the order is broken is passed by a walk, and not by a search.
  for (const { key } of page) if (opened.value.get(key) === undefined) process.exit(1);
  const last = page.at(-1);
  if (last === undefined || page.length < PAGE_MAX) break;
  from = `${last.key}\x00`;
}
await opened.value.close();
process.exit(0);
