/**
 * Opening `store/` when what lies there may be no store any more. LMDB maps its file into memory and believes it: a
 * file that is cut off or overwritten ends the whole process with a signal instead of an answer. So its head is
 * read before it is opened, and after a start that ended inside the opening a process of its own tries it first.
 */
import { spawn } from 'node:child_process';
import {
  access,
  constants,
  open,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { err, ok, type Result } from '../base/result.ts';
import { FREE_BYTES_MIN } from '../ports/room.ts';
import { textOf } from './directory-lock.ts';

const DATA_FILE = 'data.mdb';
/**
 * Lies in the directory from before the store is opened until all of it has been read once, or the daemon ends in
 * order. Do not take it away when the store is open: a page that only a later read meets ends every start the same way,
 * seconds after it was ready.
 */
const MARK_FILE = 'opening';
const META_PAGES = 2;
const HEADER_BYTES = 16;
const MAGIC = 0xbeef_c0de;
const META_FLAG = 8;
/** Within a meta page: number, flags, and what LMDB calls mm_magic, md_pad (the size of a page), mm_last_pg. */
const AT = { flags: 18, magic: 24, pageBytes: 48, lastPage: 144 } as const;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** A trial that takes longer reads a large store on a slow disk, and has not fallen over. */
const TRIAL_MS_MAX = 60_000;
/** Of one name; a host that has set aside more needs its operator. */
const ASIDE_MAX = 1_000;

/**
 * What of `identity/` is gone while `store/` is there. Without it this would be another peer, alone in a mesh of its own,
 * and run what is unfinished in the store a second time. Asked before a key is made.
 */
export async function lostIdentity(dataDir: string): Promise<string | undefined> {
  const isThere = (path: string): Promise<boolean> =>
    stat(join(dataDir, path)).then(
      ({ size }) => size > 0,
      (thrown: unknown) =>
        !(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'),
    );
  if (!(await isThere(join('store', DATA_FILE)))) return undefined;
  for (const path of [join('identity', 'key'), join('identity', 'book', DATA_FILE)])
    if (!(await isThere(path))) return path;
  return undefined;
}

/** Why the file cannot be a store; undefined when it may be one, or is not there. */
export async function flawOf(directory: string): Promise<string | undefined> {
  const path = join(directory, DATA_FILE);
  const info = await stat(path).catch(() => undefined);
  // A file without content is what a crash in the very first start leaves; LMDB makes a store of it.
  if (info === undefined || info.size === 0) return undefined;
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(META_PAGES * PAGE_BYTES_MAX);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return flawOfHead(head.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/**
 * LMDB itself wants both meta pages to be in order. Do not compare the size of the file with their last page: a healthy
 * file may be shorter.
 */
export function flawOfHead(head: Buffer): string | undefined {
  if (head.length < AT.lastPage + 8) return 'it is cut off';
  const pageBytes = head.readUInt32LE(AT.pageBytes);
  if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) return 'it is no LMDB file';
  for (let page = 0; page < META_PAGES; page++) {
    const meta = head.subarray(page * pageBytes, (page + 1) * pageBytes);
    if (meta.length < AT.lastPage + HEADER_BYTES) return 'it is cut off';
    const isMeta = (meta.readUInt16LE(AT.flags) & META_FLAG) !== 0;
    if (
      !isMeta ||
      meta.readUInt32LE(AT.magic) !== MAGIC ||
      meta.readUInt32LE(AT.pageBytes) !== pageBytes
    )
      return 'it is no LMDB file';
  }
  return undefined;
}

/** The directory under a name that tells what it is; answers that name. */
export async function setAside(directory: string, what: string): Promise<Result<string, string>> {
  for (let n = 1; n <= ASIDE_MAX; n++) {
    const aside = `${directory}.${what}-${n}`;
    const isTaken = await readdir(aside).then(
      () => true,
      () => false,
    );
    if (isTaken) continue;
    try {
      await rename(directory, aside);
      return ok(aside);
    } catch (thrown) {
      return err(`${directory} cannot be set aside: ${textOf(thrown)}`);
    }
  }
  return err(`${directory} cannot be set aside: ${ASIDE_MAX} are already there`);
}

/** Before the store is opened; `settled` once all of it could be read. */
export async function markOpening(directory: string): Promise<void> {
  // A disk without room must not keep the daemon from starting; then a start that fails is tried again as it is.
  await writeFile(join(directory, MARK_FILE), '', { mode: 0o600 }).catch(() => undefined);
}

export async function settled(directory: string): Promise<void> {
  await rm(join(directory, MARK_FILE), { force: true });
}

/** The last start ended before it had read all of this store: whether that was the store's fault. */
export async function fellOver(directory: string): Promise<boolean> {
  const mark = await stat(join(directory, MARK_FILE)).catch(() => undefined);
  return mark !== undefined && !(await isReadable(directory));
}

/** What LMDB says of a file in which pages are not what they should be: also where all that is kept can be read. */
const DAMAGED = /MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID)/;
/** What it says after such an error, and after a full disk too. */
const IN_DOUBT = /MDB_(BAD_TXN|PANIC|PROBLEM)/;
/** Sentences about this store and not about the peer book, which is an LMDB file too. */
const ABOUT_STORE = /^(cannot open|the boot could not be counted)/;

/** An error of LMDB's at the start: whether the store is to blame. It must not be open here. */
export async function isDamaged(directory: string, detail: string): Promise<boolean> {
  if (DAMAGED.test(detail) && ABOUT_STORE.test(detail)) return true;
  if (!isOfDamage(detail)) return false;
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize >= FREE_BYTES_MIN && !(await isReadable(directory));
}

/** Runs what may meet a damaged page; an error of LMDB's is an answer, everything else is thrown on. */
export async function orDamage<T, E>(
  run: () => Promise<Result<T, E>>,
): Promise<Result<T, E | { readonly code: 'failed'; readonly detail: string }>> {
  try {
    return await run();
  } catch (thrown) {
    const detail = `store/ cannot be read: ${textOf(thrown)}`;
    if (isOfDamage(detail)) return err({ code: 'failed', detail });
    throw thrown;
  }
}

/** Why this user cannot use what lies there; undefined: he can, or nothing lies there. */
export async function forbidden(directory: string): Promise<string | undefined> {
  const { R_OK, W_OK, X_OK } = constants;
  for (const [path, mode] of [
    [directory, R_OK | W_OK | X_OK],
    [join(directory, DATA_FILE), R_OK | W_OK],
  ] as const) {
    const code = await access(path, mode).then(
      () => '',
      (thrown: unknown) => (thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''),
    );
    if (code === '' || code === 'ENOENT') continue;
    const info = await stat(path).catch(() => undefined);
    const rights =
      info === undefined
        ? ''
        : `: its owner is user ${info.uid}, its mode ${(info.mode & 0o7777).toString(8)}`;
    return `${path} cannot be read and written by user ${process.getuid?.()} (${code})${rights}`;
  }
  return undefined;
}

/** What the other process ends with where the store is to blame; by itself a program ends with 1 for any other reason. */
export const TRIED_IN_VAIN = 10;

/** Whether it is LMDB that says so of what it read. */
export const isOfDamage = (detail: string): boolean =>
  DAMAGED.test(detail) || IN_DOUBT.test(detail);

/**
 * Reads all of it in another process, whose death by a signal says no. A disk that fails, a lock that is taken, too few
 * descriptors: then nothing was learnt, and the store stays. What was set aside for such a reason on all hosts at once, as
 * their common storage fails, would be all that there is.
 */
function isReadable(directory: string): Promise<boolean> {
  const program = join(import.meta.dirname, `try-store${import.meta.filename.slice(-3)}`);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [program, directory], { stdio: 'ignore' });
    const timer = setTimeout(() => child.kill('SIGKILL'), TRIAL_MS_MAX);
    timer.unref();
    child.on('error', () => resolve(true));
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      // A trial that takes too long, or whatever ends processes for want of memory.
      const isStopped = signal === 'SIGKILL';
      resolve(isStopped || (code !== null && code !== TRIED_IN_VAIN));
    });
  });
}
