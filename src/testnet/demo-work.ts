/** The work of `npm start`: which files, in which batches, by which script, and the same through plain xargs. */
import { lstat, opendir, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';

/** A smaller default would end before a daemon could be killed in the middle of it. */
const DEFAULT_FILES_MIN = 5_000;
/** Enough batches that a third, and a kill, are in the middle; few enough that starting them is not the work. */
const BATCHES_AIM = 400;
/** What a batch of the longest paths still fits into the limits of a command line. */
const FILES_PER_BATCH_MAX = 30;

/** Every regular file below `dir`, sorted; links are not followed. */
export async function listFiles(
  dir: string,
  isDefault: boolean,
): Promise<Result<readonly string[], string>> {
  const files: string[] = [];
  try {
    const root = await realpath(dir);
    if (!(await lstat(root)).isDirectory()) return err(`${dir} is not a directory`);
    for await (const entry of await opendir(root, { recursive: true })) {
      if (entry.isFile()) files.push(join(entry.parentPath, entry.name));
    }
  } catch (thrown) {
    return err(`${dir} cannot be read: ${messageOf(thrown)}`);
  }
  // Arguments of a task are text; such a name would come back as another one.
  const unreadable = files.find((file) => file.includes('\ufffd'));
  if (unreadable !== undefined) return err(`the name of ${unreadable} is not UTF-8`);
  if (files.length === 0) return err(`${dir} holds no regular file`);
  if (isDefault && files.length < DEFAULT_FILES_MIN) {
    return err(
      `${dir} holds ${files.length} files, and the demo needs ${DEFAULT_FILES_MIN}; ` +
        `run 'npm install', or name another directory: npm start -- DIR`,
    );
  }
  return ok(files.sort());
}

/** How many of these files were written, or are gone, since that time: of a difference, the first suspects. */
export async function countChangedSince(
  files: readonly string[],
  sinceMs: number,
): Promise<number> {
  const states = await Promise.all(
    files.map((file) =>
      lstat(file).then(
        (status) => status.mtimeMs >= sinceMs,
        () => true,
      ),
    ),
  );
  return states.filter((changed) => changed).length;
}

export const filesPerTaskOf = (files: number): number =>
  Math.min(FILES_PER_BATCH_MAX, Math.max(1, Math.ceil(files / BATCHES_AIM)));

/** Both runs share this: one record a file, ended by NUL since a name may hold a line feed. */
const HASH_SCRIPT = `for file; do
  sum=$(gzip -9 -n -c -- "$file" | sha256sum) || exit
  printf '%s  %s\\0' "\${sum%% *}" "$file"
done
`;

/**
 * The lock is taken on a descriptor that every process of the batch inherits: it is free only when the last
 * of them has ended, also of a run whose daemon was killed. It is tried once, never waited for: that another
 * run of the task still lives is what shall be seen. The line is one write to a file opened with O_APPEND;
 * its time is the host's uptime in milliseconds, as far as /proc tells: hundredths of a second.
 */
const BATCH_SCRIPT = `dir=$1
shift
exec 9>>"$dir/locks/$COVEY_TASK_ID" || exit
if flock -n 9; then lock=free; else lock=busy; fi
read -r up _ </proc/uptime
echo "$COVEY_TASK_ID $COVEY_ATTEMPT $$ $lock \${up%.*}\${up#*.}0" >>"$dir/starts" || exit
. "$dir/hash.sh"
`;

export interface Workplace {
  readonly dir: string;
  readonly list: string;
  readonly starts: string;
  readonly locks: string;
  /** The commands without their files. */
  readonly plainCommand: readonly string[];
  readonly batchCommand: readonly string[];
}

export function workplaceIn(dir: string): Workplace {
  return {
    dir,
    list: join(dir, 'list'),
    starts: join(dir, 'starts'),
    locks: join(dir, 'locks'),
    plainCommand: ['sh', join(dir, 'hash.sh')],
    batchCommand: ['sh', join(dir, 'batch.sh'), dir],
  };
}

export async function furnish(place: Workplace, files: readonly string[]): Promise<void> {
  await Promise.all([
    writeFile(place.list, files.map((file) => `${file}\0`).join('')),
    writeFile(place.starts, ''),
    writeFile(join(place.dir, 'hash.sh'), HASH_SCRIPT),
    writeFile(join(place.dir, 'batch.sh'), BATCH_SCRIPT),
  ]);
}
