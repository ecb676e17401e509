/** The profile of one daemon from the opening of a window to its end: its time, or what it allocates. */
import { writeFile } from 'node:fs/promises';
import { Inspector } from '../common/inspector.ts';
import {
  type CpuProfile,
  functionBytes,
  functionTimes,
  type HeapProfile,
} from '../common/profile.ts';
import { rounded } from '../common/statistics.ts';
import type { Around } from './measure.ts';

const FUNCTIONS_SHOWN = 40;

export class ProfileOfWindow implements Around {
  readonly #url: string;
  readonly #file: string;
  readonly #ofMemory: boolean;
  #started: Promise<Inspector> | undefined;
  #profile: Promise<unknown> | undefined;

  constructor(url: string, file: string) {
    this.#url = url;
    this.#file = file;
    this.#ofMemory = file.endsWith('.heapprofile');
  }

  readonly open = (): void => {
    this.#started = this.#start();
  };

  readonly close = (): void => {
    this.#profile = this.#stop();
  };

  /** Its functions, the most expensive first. */
  async written(): Promise<string[]> {
    const profile = await this.#profile;
    await writeFile(this.#file, JSON.stringify(profile));
    const lines = this.#ofMemory
      ? functionBytes(profile as HeapProfile).map(({ at, selfBytes, inclusiveBytes }) =>
          lineOf(at, `${selfBytes >> 10} KiB`, `${inclusiveBytes >> 10} KiB`),
        )
      : functionTimes(profile as CpuProfile).map(({ at, selfMs, inclusiveMs }) =>
          lineOf(at, `${rounded(selfMs, 0)} ms`, `${rounded(inclusiveMs, 0)} ms`),
        );
    return lines.slice(0, FUNCTIONS_SHOWN);
  }

  async #start(): Promise<Inspector> {
    const inspector = await Inspector.open(this.#url);
    await (this.#ofMemory ? inspector.startAllocations() : inspector.start());
    return inspector;
  }

  async #stop(): Promise<unknown> {
    const inspector = await this.#started;
    const profile = await (this.#ofMemory ? inspector?.stopAllocations() : inspector?.stop());
    inspector?.close();
    return profile;
  }
}

const lineOf = (at: string, self: string, inclusive: string): string =>
  `${self.padStart(10)} ${inclusive.padStart(10)} with calls  ${at}`;
