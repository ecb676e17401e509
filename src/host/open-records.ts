/** Opening `store/` at the start of the daemon: one that is no store any more is set aside, and a new one begun. */
import { join } from 'node:path';
import { err, type Result } from '../base/result.ts';
import type { Logger } from '../base/telemetry.ts';
import type { Store } from '../ports/store.ts';
import type { HostClock } from './clock.ts';
import { makePrivateDirectory } from './private-directory.ts';
import { fellOver, flawOf, forbidden, isDamaged, markOpening, setAside } from './recover-store.ts';
import { openStore } from './store.ts';

/** Opens `store/`; one that is no store any more is set aside first, and a new one begun. */
export async function openRecords(
  { dataDir, log }: { readonly dataDir: string; readonly log: Logger },
  clock: HostClock,
): Promise<Result<Store, string>> {
  const directory = join(dataDir, 'store');
  const why = await forbidden(directory);
  if (why !== undefined) return err(why);
  const flaw =
    (await flawOf(directory)) ?? ((await fellOver(directory)) ? 'reading it ends the process' : '');
  if (flaw !== '') {
    const aside = await beginAnew(directory, flaw, log);
    if (!aside.ok) return aside;
  }
  await markOpening(directory);
  let store = await openStore({ directory, clock });
  if (!store.ok && store.error.code === 'failed') {
    const { detail } = store.error;
    if (!(await isDamaged(directory, detail))) return err(detail);
    const aside = await beginAnew(directory, detail, log);
    if (!aside.ok) return aside;
    await markOpening(directory);
    store = await openStore({ directory, clock });
  }
  return store.ok ? store : err(store.error.detail);
}

export async function beginAnew(
  directory: string,
  why: string,
  log: Logger,
): Promise<Result<void, string>> {
  const aside = await setAside(directory, 'corrupt');
  if (!aside.ok) return aside;
  const fields = { why, kept_as: aside.value };
  log.log(
    'error',
    'the store is corrupt: it was set aside, and this peer begins an empty one',
    fields,
  );
  const made = await makePrivateDirectory(directory);
  return made.ok ? made : err(`${directory} cannot be made: ${made.error}`);
}
