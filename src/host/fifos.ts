/**
 * Real pipes. Those that Node makes for a child are socket pairs, on which a command's
 * `echo x > /dev/stderr` or `cat /dev/stdin` fails (ENXIO: a socket cannot be opened by name). So
 * output goes through FIFOs: made in batches by one mkfifo process in a private directory, opened
 * at both ends, and unlinked, after which nothing tells them from pipes. A FIFO serves one command
 * only; used again, it would carry what an earlier command's leftovers write.
 * Input is an unlinked file, not a FIFO: opening a FIFO for reading waits for a writer, and there
 * is none any more when the command opens /dev/stdin.
 */
import { execFile } from 'node:child_process';
import { constants, write } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { err, ok, type Result } from '../base/result.ts';
import { textOf } from './directory-lock.ts';
import { closeFd, closePair, openPairs, PAIR_BATCH, type Pair, PairPool } from './pair-pool.ts';

/**
 * Names per mkfifo process, whose cost is that of starting a command; the first, on which a start
 * waits, makes one batch only.
 */
const MKFIFO_NAMES = 4 * PAIR_BATCH;
/** It takes some milliseconds. */
const MKFIFO_MS_MAX = 5_000;
/** Few commands have input; files are quickly made. */
const FILE_BATCH = PAIR_BATCH / 2;
const DIRECTORY_PREFIX = 'covey-pipes-';

const { O_RDONLY, O_WRONLY, O_NONBLOCK, O_CREAT, O_EXCL } = constants;

export class Fifos {
  readonly #parent: string | undefined;
  #directory: Promise<string> | undefined;
  readonly #fifos = new PairPool(() => this.#inDirectory(() => this.#openFifos()));
  readonly #files = new PairPool(() => this.#inDirectory(() => this.#openFiles()));
  /** FIFOs that are made and not yet opened. */
  readonly #paths: string[] = [];
  #named = 0;
  #closed = false;

  /**
   * `parent` is where the private directory is made, created when missing. It must be this
   * process' alone: private directories that killed predecessors left in it are removed. Without
   * one, it is the system's directory for temporary files, where nothing is removed.
   */
  constructor(parent: string | undefined) {
    this.#parent = parent;
  }

  /** The read end does not block and ends with the last writer; the write end blocks. */
  take(): Promise<Result<Pair, string>> {
    return this.#fifos.take();
  }

  /** A descriptor that reads `bytes` from the beginning. */
  async file(bytes: Uint8Array): Promise<Result<number, string>> {
    const pair = await this.#files.take();
    if (!pair.ok) return pair;
    try {
      await writeAll(pair.value.writeFd, bytes);
    } catch (error) {
      closePair(pair.value);
      return err(textOf(error));
    }
    closeFd(pair.value.writeFd);
    return ok(pair.value.readFd);
  }

  /** Removes the private directory; what was taken stays usable. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#fifos.close();
    await this.#files.close();
    const directory = await this.#directory?.catch(() => undefined);
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  }

  /** A directory that somebody cleaned away is made anew, after this one failure. */
  async #inDirectory(openPairsThere: () => Promise<Pair[]>): Promise<Pair[]> {
    try {
      return await openPairsThere();
    } catch (error) {
      const directory = await this.#directory?.catch(() => undefined);
      if (directory !== undefined && !(await isThere(directory))) {
        this.#directory = undefined;
        this.#paths.length = 0;
      }
      throw error;
    }
  }

  async #openFifos(): Promise<Pair[]> {
    if (this.#paths.length === 0) {
      const directory = await this.#private();
      const names = this.#names('out', this.#named === 0 ? PAIR_BATCH : MKFIFO_NAMES);
      await mkfifo(directory, names);
      this.#paths.push(...names.map((name) => join(directory, name)));
    }
    // The reader first: then it need not wait for a writer, nor the writer for it. Only the reader
    // may be non-blocking: a command would take EAGAIN for an error.
    return openPairs(
      this.#paths.splice(0, PAIR_BATCH),
      { end: 'read', flags: O_RDONLY | O_NONBLOCK },
      { end: 'write', flags: O_WRONLY },
    );
  }

  async #openFiles(): Promise<Pair[]> {
    const directory = await this.#private();
    // The command can only read: what it wrote into its input would be seen by its children.
    return openPairs(
      this.#names('in', FILE_BATCH).map((name) => join(directory, name)),
      { end: 'write', flags: O_WRONLY | O_CREAT | O_EXCL },
      { end: 'read', flags: O_RDONLY },
    );
  }

  #names(prefix: string, count: number): string[] {
    return Array.from({ length: count }, () => `${prefix}-${++this.#named}`);
  }

  #private(): Promise<string> {
    if (this.#closed) return Promise.reject(new Error('the daemon is stopping'));
    this.#directory ??= makePrivate(this.#parent).catch((error: unknown) => {
      // Tried again later: a full disk does not stay full.
      this.#directory = undefined;
      throw error;
    });
    return this.#directory;
  }
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function makePrivate(parent: string | undefined): Promise<string> {
  if (parent === undefined) return mkdtemp(join(tmpdir(), DIRECTORY_PREFIX));
  await mkdir(parent, { recursive: true, mode: 0o700 });
  for (const name of await readdir(parent)) {
    if (!name.startsWith(DIRECTORY_PREFIX)) continue;
    await rm(join(parent, name), { recursive: true, force: true });
  }
  // mkdtemp makes it with mode 0700.
  return mkdtemp(join(parent, DIRECTORY_PREFIX));
}

function mkfifo(directory: string, names: readonly string[]): Promise<void> {
  const options = {
    cwd: directory,
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' },
    timeout: MKFIFO_MS_MAX,
  };
  return new Promise((resolve, reject) => {
    execFile('mkfifo', ['-m', '600', ...names], options, (error, _stdout, stderr) => {
      if (error === null) resolve();
      // The first line of what mkfifo says; Node's message would repeat all the names.
      else if (stderr !== '') reject(new Error(stderr.split('\n', 1)[0]));
      else reject(new Error(`mkfifo: ${error.code ?? error.signal}`));
    });
  });
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, written, bytes.length - written, null, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }
}
