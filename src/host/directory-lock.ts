/**
 * One live process per directory.
 *
 * The lock is the kernel's own file lock, taken by SQLite (node:sqlite) on an empty database file:
 * Node offers no flock of its own, and the kernel lets go of it when the process dies, however it
 * dies. A pid file or a socket left behind needs a check and a removal, and two daemons that start
 * together can both pass the check. Nothing else may open the lock file: closing any descriptor of
 * it would drop the lock.
 */
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { err, ok, type Result } from '../base/result.ts';

export interface DirectoryLock {
  release(): void;
}

export interface OpenError {
  /** in_use: a live process has it. failed: no access, no space, not ours. */
  readonly code: 'in_use' | 'failed';
  readonly detail: string;
}

const TAKE_LOCK = 'PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE';
/** SQLITE_BUSY. */
const BUSY_CODE = 5;

/** Creates the directory with mode 0700 and takes it for this process. */
export async function lockDataDirectory(
  directory: string,
): Promise<Result<DirectoryLock, OpenError>> {
  const pidPath = join(directory, 'lock.pid');
  let database: DatabaseSync | undefined;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    // SQLite makes the file at the first statement; all of it within this turn.
    const umask = process.umask(0o077);
    try {
      database = new DatabaseSync(join(directory, 'lock'));
      database.exec(TAKE_LOCK);
    } finally {
      process.umask(umask);
    }
  } catch (error) {
    database?.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === BUSY_CODE) {
      const pid = await readFile(pidPath, 'utf8').catch(() => '');
      const by = /^\d+$/.test(pid) ? ` (pid ${pid})` : '';
      return err({ code: 'in_use', detail: `${directory} is in use by a running process${by}` });
    }
    return err({ code: 'failed', detail: `cannot use ${directory}: ${textOf(error)}` });
  }
  const held = database;
  // For the sentence above only; a full disk must not keep the daemon from starting.
  await writeFile(pidPath, String(process.pid), { mode: 0o600 }).catch(() => undefined);
  let released = false;
  return ok({
    release: () => {
      if (!released) held.close();
      released = true;
    },
  });
}

/** Makes the entries of a directory, and its own entry, survive a power failure. */
export async function syncDirectory(directory: string): Promise<void> {
  for (const path of [directory, dirname(directory)]) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

export const textOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
