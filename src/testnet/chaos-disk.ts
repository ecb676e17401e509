/**
 * A disk that can be filled: a small tmpfs under the run's own directory, on which one peer has its data. Needs root;
 * whoever has it not is told so in the verdict.
 */
import { execFile } from 'node:child_process';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';

const run = promisify(execFile);

/** Much more than the records of a run take, and quickly filled. */
const SIZE_BYTES = 96 * 1_024 * 1_024;
/** The last bytes are taken in small pieces, so that not even a page is left. */
const PIECES_BYTES = [1_024 * 1_024, 4_096];
const UNMOUNT_TRIES = 20;
const UNMOUNT_AGAIN_MS = 250;

export class SmallDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async mount(directory: string): Promise<Result<SmallDisk, string>> {
    if (process.getuid?.() !== 0) return err('needs root');
    await mkdir(directory, { mode: 0o700 });
    try {
      const options = `size=${SIZE_BYTES},mode=0700`;
      await run('mount', ['-t', 'tmpfs', '-o', options, 'covey-chaos', directory]);
      return ok(new SmallDisk(directory));
    } catch (thrown) {
      return err(`tmpfs cannot be mounted: ${messageOf(thrown).trim()}`);
    }
  }

  get #filler(): string {
    return join(this.directory, 'filler');
  }

  /** Until the disk has no byte left for anybody. */
  async fill(): Promise<void> {
    const file = await open(this.#filler, 'a', 0o600);
    try {
      for (const bytes of PIECES_BYTES) {
        const piece = Buffer.alloc(bytes);
        while (await wasWritten(file.write(piece)));
      }
    } finally {
      await file.close();
    }
  }

  free(): Promise<void> {
    return rm(this.#filler, { force: true });
  }

  /** When no process uses it any more; also after a mount that went wrong half-way. */
  async unmount(): Promise<void> {
    for (let tries = 1; await isMounted(this.directory); tries++) {
      try {
        // Lazily at last: a mount that is gone from sight is freed with its last user.
        await run('umount', tries < UNMOUNT_TRIES ? [this.directory] : ['-l', this.directory]);
      } catch (thrown) {
        if (tries >= UNMOUNT_TRIES) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, UNMOUNT_AGAIN_MS));
      }
    }
  }
}

async function wasWritten(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
    if (code === 'ENOSPC') return false;
    throw thrown;
  }
}

async function isMounted(directory: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  return mounts.split('\n').some((line) => line.split(' ')[1] === directory);
}
