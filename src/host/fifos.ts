/**
 * Real pipes. Those that Node makes for a child are socket pairs, on which a command's
 * `echo x > /dev/stderr` or `cat /dev/stdin` fails (ENXIO: a socket cannot be opened by name). So
 * each stream is a FIFO here: made in batches by one mkfifo process in a private directory, opened
 * at both ends, and unlinked, after which nothing tells it from a pipe. A FIFO serves one command
 * only; used again, it would carry what an earlier command's leftovers write.
 */
import { execFile } from 'node:child_process';
import { close, constants, open, unlink } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { err, ok, type Result } from '../base/result.ts';
import { textOf } from './directory-lock.ts';

/** Per mkfifo process: its cost, shared by so many, is below that of opening one. */
const BATCH_FIFOS = 64;
/** The next batch is made when so few are left, so that a start does not wait for it. */
const REFILL_FIFOS = 16;
/** Making a batch takes some milliseconds. */
const MKFIFO_MS_MAX = 5_000;
const DIRECTORY_PREFIX = 'covey-pipes-';

/** An open FIFO; whoever takes it destroys the one and closes the other. */
export interface Fifo {
  /** Ends when the last writer is gone. */
  readonly reader: Socket;
  /** Blocking, as commands expect it. */
  readonly writeFd: number;
}

export class Fifos {
  readonly #parent: string | undefined;
  #directory: Promise<string> | undefined;
  /** Made and not yet opened. */
  readonly #paths: string[] = [];
  #made = 0;
  #filling: Promise<Result<void, string>> | undefined;
  #closed = false;

  /**
   * `parent` is where the private directory is made, created when missing. It must be this
   * process' alone: private directories that killed predecessors left in it are removed. Without
   * one, it is the system's directory for temporary files, where nothing is removed.
   */
  constructor(parent: string | undefined) {
    this.#parent = parent;
  }

  async take(): Promise<Result<Fifo, string>> {
    let path = this.#paths.pop();
    while (path === undefined) {
      const filled = await this.#fill();
      if (!filled.ok) return filled;
      path = this.#paths.pop();
    }
    // Not awaited, and if it fails, the next start that finds none left says why.
    if (this.#paths.length < REFILL_FIFOS) void this.#fill();
    return openBoth(path);
  }

  /** A descriptor that reads `bytes` from the beginning: a file that has no name any more. */
  async file(bytes: Uint8Array): Promise<Result<number, string>> {
    let path: string | undefined;
    try {
      path = join(await this.#private(), `in-${++this.#made}`);
      await writeFile(path, bytes, { flag: 'wx', mode: 0o600 });
      return ok(await openFd(path, constants.O_RDONLY));
    } catch (error) {
      return err(textOf(error));
    } finally {
      if (path !== undefined) forget(path);
    }
  }

  /** Removes the private directory; what was taken stays usable. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#filling;
    const directory = await this.#directory?.catch(() => undefined);
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  }

  /** One at a time. */
  #fill(): Promise<Result<void, string>> {
    this.#filling ??= this.#make().finally(() => {
      this.#filling = undefined;
    });
    return this.#filling;
  }

  async #make(): Promise<Result<void, string>> {
    try {
      const directory = await this.#private();
      const names = Array.from({ length: BATCH_FIFOS }, () => `out-${++this.#made}`);
      await mkfifo(directory, names);
      this.#paths.push(...names.map((name) => join(directory, name)));
      return ok(undefined);
    } catch (error) {
      return err(textOf(error));
    }
  }

  #private(): Promise<string> {
    if (this.#closed) return Promise.reject(new Error('the daemon is stopping'));
    this.#directory ??= makePrivate(this.#parent).catch((error: unknown) => {
      // Tried again at the next start: a full disk does not stay full.
      this.#directory = undefined;
      throw error;
    });
    return this.#directory;
  }
}

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
    env: { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' },
    timeout: MKFIFO_MS_MAX,
  };
  return new Promise((resolve, reject) => {
    execFile('mkfifo', ['-m', '600', ...names], options, (error, _stdout, stderr) => {
      if (error === null) resolve();
      // Of a failed mkfifo, its first line; node's message would repeat all names.
      else if (stderr !== '') reject(new Error(stderr.split('\n', 1)[0]));
      else reject(new Error(`mkfifo: ${error.code ?? error.signal}`));
    });
  });
}

async function openBoth(path: string): Promise<Result<Fifo, string>> {
  let readFd: number | undefined;
  let writeFd: number | undefined;
  try {
    // The reader first, which then need not wait for a writer, nor the writer for it. Only the
    // reader may be non-blocking: a command would take EAGAIN for an error.
    readFd = await openFd(path, constants.O_RDONLY | constants.O_NONBLOCK);
    writeFd = await openFd(path, constants.O_WRONLY);
    return ok({ reader: new Socket({ fd: readFd, readable: true, writable: false }), writeFd });
  } catch (error) {
    for (const fd of [readFd, writeFd]) if (fd !== undefined) closeFd(fd);
    return err(textOf(error));
  } finally {
    forget(path);
  }
}

/** Plain numbers: a FileHandle could not be given to a Socket, and closes itself when collected. */
function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, (error, fd) => {
      if (error) reject(error);
      else resolve(fd);
    });
  });
}

export function closeFd(fd: number): void {
  close(fd, (error) => {
    // Closed twice: the second may have hit a descriptor that is somebody else's by now.
    if (error?.code === 'EBADF') throw error;
  });
}

/** Takes the name away, soon. One that resists goes with the directory. */
function forget(path: string): void {
  unlink(path, () => undefined);
}
