/**
 * Descriptors that children must not get. Node opens all its own close-on-exec, but LMDB's data
 * file is not (lmdb-js 3.5: every command would hold the database open for writing), nor is what
 * our parent left open. Node cannot set that flag afterwards and a shell cannot close numbers above
 * 9, so at each spawn such descriptors are replaced by /dev/null. Only mkfifo gets them, for the
 * milliseconds that it runs: `execFile` passes no more than three.
 */
import { type FileHandle, open, readdir, readFile } from 'node:fs/promises';
import { err, ok, type Result } from '../base/result.ts';
import { textOf } from './directory-lock.ts';

/** 0–2 are the command's own, 3 is the gate. */
const FIRST_SHIELDED = 4;
/**
 * An inherited descriptor beyond this number is left alone: every spawn passes a list of this
 * length.
 */
const DESCRIPTOR_MAX = 1_023;
const O_CLOEXEC = 0o2000000;
const FDINFO = '/proc/self/fdinfo';

export class DescriptorShield {
  #null: FileHandle | undefined;
  #extra: Promise<readonly ('ignore' | number)[]> | undefined;
  /** What the last look found, for the guardian, which is started after a look and cannot wait for another. */
  found: readonly ('ignore' | number)[] = [];

  /**
   * What to put into `stdio` from number 4 on. Looked up once, at the first spawn: by then the
   * stores, which are what leaks, are open.
   */
  async extraStdio(): Promise<Result<readonly ('ignore' | number)[], string>> {
    try {
      this.#extra ??= this.#find();
      this.found = await this.#extra;
      return ok(this.found);
    } catch (thrown) {
      // Out of descriptors: looked up at the next spawn instead, which must not go without the shield.
      this.#extra = undefined;
      return err(textOf(thrown));
    }
  }

  async close(): Promise<void> {
    if (this.#extra !== undefined) await this.extraStdio();
    await this.#null?.close();
    this.#null = undefined;
  }

  async #find(): Promise<readonly ('ignore' | number)[]> {
    const leaking = await inheritable();
    if (leaking.length === 0) return [];
    this.#null = await open('/dev/null', 'r+');
    const nullNumber = this.#null.fd;
    const highest = Math.max(...leaking);
    // 'ignore' leaves a number as it is: closed in the child, as it is close-on-exec here.
    return Array.from({ length: highest + 1 - FIRST_SHIELDED }, (_, i) =>
      leaking.includes(i + FIRST_SHIELDED) ? nullNumber : 'ignore',
    );
  }
}

/** What could not be read for want of descriptors must not pass for what is not there. */
const unlessExhausted =
  <T>(value: T) =>
  (thrown: NodeJS.ErrnoException): T => {
    if (thrown.code === 'EMFILE' || thrown.code === 'ENFILE') throw thrown;
    return value;
  };

async function inheritable(): Promise<number[]> {
  // Where there is no /proc, there is nothing to be known; the commands run all the same.
  const names = await readdir(FDINFO).catch(unlessExhausted([]));
  const found: number[] = [];
  for (const name of names) {
    const number = Number(name);
    if (number < FIRST_SHIELDED || number > DESCRIPTOR_MAX) continue;
    // Closed meanwhile: not inherited.
    const info = await readFile(`${FDINFO}/${name}`, 'latin1').catch(unlessExhausted(undefined));
    const flags = info && /^flags:\s*([0-7]+)$/m.exec(info)?.[1];
    if (flags && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) found.push(number);
  }
  return found;
}
