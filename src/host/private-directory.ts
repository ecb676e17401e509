/** Directories that nobody but this user may enter. */
import { chmod, mkdir, readdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';
import { err, ok, type Result } from '../base/result.ts';
import { textOf } from './directory-lock.ts';

const PRIVATE_MODE = 0o700;
const OTHERS_MASK = 0o077;

/** What a daemon makes in its data directory (docs/operations.md). */
const DAEMON_ENTRIES: ReadonlySet<string> = new Set([
  'identity',
  'store',
  'spool',
  'run',
  'compile-cache',
  'lock',
  'lock.pid',
  'covey.sock',
]);

/** Also stores that were set aside (recover-store.ts). */
const isDaemons = (name: string): boolean =>
  DAEMON_ENTRIES.has(name) || name.startsWith('store.corrupt-');

/**
 * Makes the directory and its missing parents, mode 0700; one that is there keeps its mode. Not Node's recursive
 * mkdir: where a parent exists and yet nothing can be made in it (`/proc`), that tries again for ever.
 */
export async function makePrivateDirectory(path: string): Promise<Result<void, string>> {
  try {
    await make(path);
    return ok(undefined);
  } catch (thrown) {
    return err(textOf(thrown));
  }
}

async function make(path: string): Promise<void> {
  const parent = dirname(path);
  const problem = await tryToMake(path);
  if (problem === undefined) return;
  if (problem.code !== 'ENOENT' || parent === path) throw problem;
  await make(parent);
  const again = await tryToMake(path);
  if (again !== undefined) throw again;
}

/** Undefined when the directory is there, whoever made it. */
async function tryToMake(path: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(path, { mode: PRIVATE_MODE });
    return undefined;
  } catch (thrown) {
    const isThere = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return isThere ? undefined : (thrown as NodeJS.ErrnoException);
  }
}

/**
 * The data directory, made or narrowed to 0700. `shared`: it is open to others and was left so, since it is not ours
 * or holds what is not a daemon's; `--data-dir /tmp` must not lock everybody out of /tmp.
 */
export async function prepareDataDirectory(
  path: string,
): Promise<Result<'private' | 'shared', string>> {
  const made = await makePrivateDirectory(path);
  if (!made.ok) return made;
  try {
    const { mode, uid } = await stat(path);
    if ((mode & OTHERS_MASK) === 0) return ok('private');
    const isOurs = uid === process.getuid?.() && (await readdir(path)).every(isDaemons);
    if (!isOurs) return ok('shared');
    await chmod(path, PRIVATE_MODE);
    return ok('private');
  } catch (thrown) {
    return err(textOf(thrown));
  }
}
