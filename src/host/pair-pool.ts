/**
 * Open files without a name, as pairs of descriptors: one reads what the other writes. A pool opens
 * them in batches: most of the cost of opening one is the way to libuv's threads and back, which a
 * batch shares.
 */
import { closeSync, open, unlink } from 'node:fs';
import { err, ok, type Result } from '../base/result.ts';
import { textOf } from './directory-lock.ts';

/**
 * Plain numbers: a FileHandle cannot be given to a socket or a child, and closes itself when it is
 * collected.
 */
export interface Pair {
  readonly readFd: number;
  readonly writeFd: number;
}

/** So many at a time; 94 descriptors at most lie ready. */
export const PAIR_BATCH = 32;
/** The next batch is opened when fewer are left, so that a start does not wait for it. */
const REFILL_PAIRS = 16;

export class PairPool {
  readonly #open: () => Promise<Pair[]>;
  readonly #ready: Pair[] = [];
  #filling: Promise<Result<void, string>> | undefined;
  #closed = false;

  /** `open` answers some new pairs, PAIR_BATCH at most, or throws what the operator should read. */
  constructor(open: () => Promise<Pair[]>) {
    this.#open = open;
  }

  async take(): Promise<Result<Pair, string>> {
    let pair = this.#ready.pop();
    while (pair === undefined) {
      const filled = await this.#fill();
      if (!filled.ok) return filled;
      pair = this.#ready.pop();
    }
    // Not awaited: if it fails, the next start that finds none left says why.
    if (this.#ready.length < REFILL_PAIRS) void this.#fill();
    return ok(pair);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#filling;
    for (const pair of this.#ready.splice(0)) closePair(pair);
  }

  /** One batch at a time. Never rejects. */
  #fill(): Promise<Result<void, string>> {
    if (this.#closed) return Promise.resolve(err('the daemon is stopping'));
    this.#filling ??= this.#add().finally(() => {
      this.#filling = undefined;
    });
    return this.#filling;
  }

  async #add(): Promise<Result<void, string>> {
    try {
      this.#ready.push(...(await this.#open()));
      return ok(undefined);
    } catch (error) {
      return err(textOf(error));
    }
  }
}

export interface End {
  readonly flags: number;
  readonly end: 'read' | 'write';
}

/** Opens `first` of all paths, then `second`, and takes the names away. All or none. */
export async function openPairs(
  paths: readonly string[],
  first: End,
  second: End,
): Promise<Pair[]> {
  const opened: number[] = [];
  try {
    const firsts = await openAll(paths, first.flags, opened);
    const seconds = await openAll(paths, second.flags, opened);
    const [reads, writes] = first.end === 'read' ? [firsts, seconds] : [seconds, firsts];
    return reads.flatMap((readFd, i) => {
      const writeFd = writes[i];
      return writeFd === undefined ? [] : [{ readFd, writeFd }];
    });
  } catch (error) {
    for (const fd of opened) closeFd(fd);
    throw error;
  } finally {
    // A name that resists goes with the directory.
    for (const path of paths) unlink(path, () => undefined);
  }
}

/** Waits for all, also when one fails, so that `opened` is complete then. */
async function openAll(
  paths: readonly string[],
  flags: number,
  opened: number[],
): Promise<number[]> {
  const results = await Promise.allSettled(paths.map((path) => openFd(path, flags)));
  for (const result of results) if (result.status === 'fulfilled') opened.push(result.value);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, 0o600, (error, fd) => {
      if (error) reject(error);
      else resolve(fd);
    });
  });
}

/**
 * At once, and the one synchronous call: it waits for nothing, as none of these has anything to
 * write back (libuv closes its own pipes in the same way). By way of libuv's threads, it would cost
 * more than opening, and the end of a command's output would wait in their queue.
 */
export function closeFd(fd: number): void {
  closeSync(fd);
}

export function closePair(pair: Pair): void {
  closeFd(pair.readFd);
  closeFd(pair.writeFd);
}
