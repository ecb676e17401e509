/**
 * Durable puts a second of the store with so many waiting at once, in the directory of temporary files or another; beside
 * it what the disk itself can do: a synced append, and a plain log that syncs what waits together.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostClock } from '../../src/host/clock.ts';
import { openStore } from '../../src/host/store.ts';
import { CheckedStore } from '../../src/records/checked-store.ts';
import type { Bench } from '../common/bench.ts';
import type { Shape } from '../common/options.ts';
import { rateAtOnce } from '../common/rate.ts';

const SYNC_BYTES = 4_096;

const shape = {
  ms: { kind: 'number', default: 1_000, min: 10, max: 60_000 },
  'at-once': { kind: 'numbers', default: [1, 64, 512], min: 1, max: 10_000 },
  bytes: { kind: 'number', default: 150, min: 1, max: 65_536 },
  /** Where to measure; default: with the other files of this run. */
  dir: { kind: 'text' },
} satisfies Shape;

/** One write and one sync for all that waits: what any log can do at best. */
export class PlainLog {
  readonly #file: FileHandle;
  #waiting: { readonly bytes: Uint8Array; readonly done: () => void }[] = [];
  #writing = false;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  append(bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, done: resolve });
    if (!this.#writing) void this.#write();
    return promise;
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      await this.#file.write(Buffer.concat(group.map(({ bytes }) => bytes)));
      await this.#file.datasync();
      for (const { done } of group) done();
    }
    this.#writing = false;
  }
}

const keyOf = (i: number): string => `r/${String(i).padStart(39, '0')}`;

export const store: Bench<typeof shape> = {
  shape,
  needs: () => ({}),
  measure: async ({ ms, 'at-once': sizes, bytes, dir: elsewhere }, { dir }) => {
    const directory = join(elsewhere ?? dir, 'covey-bench-store');
    const value = new Uint8Array(bytes).fill(7);
    const opened = await openStore({ directory, clock: new HostClock() });
    if (!opened.ok) throw new Error(opened.error.detail);
    const checked = new CheckedStore(opened.value);
    const file = await open(`${directory}.log`, 'w');
    const log = new PlainLog(file);
    const puts: Record<string, number> = {};
    const plain: Record<string, number> = {};
    let i = 0;
    try {
      for (const atOnce of sizes) {
        puts[atOnce] = await rateAtOnce(ms, atOnce, async () => {
          const done = await checked.append([{ put: keyOf(i++), value }]);
          if (!done.ok) throw new Error(done.detail);
        });
        plain[atOnce] = await rateAtOnce(ms, atOnce, () => log.append(value));
      }
      const page = new Uint8Array(SYNC_BYTES);
      const syncs = await rateAtOnce(ms, 1, () => log.append(page));
      return {
        figures: { directory, puts_per_s: puts, plain_log_per_s: plain, syncs_per_s: syncs },
        targets: [],
      };
    } finally {
      await Promise.all([checked.close(), file.close()]);
      await rm(directory, { recursive: true, force: true });
      await rm(`${directory}.log`, { force: true });
    }
  },
};
