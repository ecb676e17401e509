/** The profile of one daemon from the opening of a window to its end: its time, what it allocates, or its calls. */
import { writeFile } from 'node:fs/promises';
import { Inspector } from '../common/inspector.ts';
import {
  type CpuProfile,
  type FileCalls,
  functionBytes,
  functionCalls,
  functionTimes,
  type HeapProfile,
} from '../common/profile.ts';
import { rounded } from '../common/statistics.ts';
import type { Around } from './measure.ts';

const FUNCTIONS_SHOWN = 60;

interface Kind {
  start(inspector: Inspector): Promise<void>;
  stop(inspector: Inspector): Promise<unknown>;
  /** Of what was written, the most expensive function first. */
  lines(profile: unknown, done: number): string[];
}

const lineOf = (at: string, ...figures: readonly string[]): string =>
  `${figures.map((one) => one.padStart(10)).join(' ')}  ${at}`;

const ms = (value: number): string => `${rounded(value, 0)} ms`;
const kib = (bytes: number): string => `${rounded(bytes / 1_024, 0)} KiB`;

const TIME: Kind = {
  start: (inspector) => inspector.start(),
  stop: (inspector) => inspector.stop(),
  lines: (profile) =>
    functionTimes(profile as CpuProfile).map(({ at, selfMs, inclusiveMs }) =>
      lineOf(at, ms(selfMs), ms(inclusiveMs)),
    ),
};

const MEMORY: Kind = {
  start: (inspector) => inspector.startAllocations(),
  stop: (inspector) => inspector.stopAllocations(),
  lines: (profile) =>
    functionBytes(profile as HeapProfile).map(({ at, selfBytes, inclusiveBytes }) =>
      lineOf(at, kib(selfBytes), kib(inclusiveBytes)),
    ),
};

/** Of each task that was done: these do not depend on what else the host does. */
const CALLS: Kind = {
  start: (inspector) => inspector.startCalls(),
  stop: (inspector) => inspector.stopCalls(),
  lines: (profile, done) =>
    functionCalls(profile as readonly FileCalls[]).map(({ at, calls }) =>
      lineOf(at, `${rounded(calls / Math.max(1, done), 2)} a task`),
    ),
};

const kindOf = (file: string): Kind => {
  if (file.endsWith('.heapprofile')) return MEMORY;
  return file.endsWith('.calls') ? CALLS : TIME;
};

export class ProfileOfWindow implements Around {
  readonly #url: string;
  readonly #file: string;
  readonly #kind: Kind;
  #started: Promise<Inspector> | undefined;
  #profile: Promise<unknown> | undefined;

  constructor(url: string, file: string) {
    this.#url = url;
    this.#file = file;
    this.#kind = kindOf(file);
  }

  readonly open = (): void => {
    this.#started = this.#start();
  };

  readonly close = (): void => {
    this.#profile = this.#stop();
  };

  /** Its functions, the most expensive first; `done` tasks were done meanwhile. */
  async written(done: number): Promise<string[]> {
    const profile = await this.#profile;
    await writeFile(this.#file, JSON.stringify(profile));
    return this.#kind.lines(profile, done).slice(0, FUNCTIONS_SHOWN);
  }

  async #start(): Promise<Inspector> {
    const inspector = await Inspector.open(this.#url);
    await this.#kind.start(inspector);
    return inspector;
  }

  async #stop(): Promise<unknown> {
    const inspector = await this.#started;
    if (inspector === undefined) return undefined;
    const profile = await this.#kind.stop(inspector);
    inspector.close();
    return profile;
  }
}
