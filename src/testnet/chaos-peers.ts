/**
 * The daemons of a chaos run: killed and started again on purpose, started again when they end by themselves (which is
 * held against them), their memory and the detection of their deaths measured.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import type { Destroyed } from './chaos-evidence.ts';
import { uptimeMs } from './chaos-work.ts';
import type { TestNetwork } from './testnet.ts';

const START_TRIES = 5;
const START_AGAIN_MS = 1_000;
const SAMPLE_EVERY_MS = 2_000;
const DETECT_EVERY_MS = 50;
const DETECT_MS_MAX = 20_000;
const MEMBERS_TIMEOUT_MS = 1_000;

export interface Death {
  readonly host: string;
  readonly atMs: number;
}

export class ChaosPeers {
  readonly network: TestNetwork;
  readonly gaveUp: string[] = [];
  readonly destroyed: Destroyed[] = [];
  /** The peer of every store that there was: a wiped one gets another. */
  readonly stores = new Map<string, string>();
  readonly deaths: Death[] = [];
  /** From SIGKILL until every peer that answers lists the daemon dead. */
  readonly detectMs: number[] = [];
  rssBytesMax = 0;
  readonly #say: (text: string) => void;
  /** Peers that shall not run now. */
  readonly #meantDown = new Set<number>();
  readonly #frozen = new Set<number>();
  readonly #turns = new Map<number, Promise<void>>();
  readonly #ended = new AbortController();

  constructor(network: TestNetwork, say: (text: string) => void) {
    this.network = network;
    this.#say = say;
    for (const index of network.indices) {
      this.#noteStore(index);
      this.#watch(index);
    }
    void this.#sample();
  }

  #noteStore(index: number): void {
    const { storeId, name } = this.network.identity(index);
    this.stores.set(storeId, name);
  }

  nameOf(index: number): string {
    return this.network.identity(index).name;
  }

  /** Nothing is started, held against anybody or measured any more. */
  end(): void {
    this.#ended.abort();
  }

  kill(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#meantDown.add(index);
    return this.#inTurn(index, () => this.#kill(index, signal));
  }

  /** Nothing to do where it runs already. */
  start(index: number): Promise<void> {
    this.#meantDown.delete(index);
    return this.#inTurn(index, () => this.#start(index));
  }

  /** One thing at a time with one peer: a kill must not meet a start that nobody waits for. */
  #inTurn(index: number, act: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(index) ?? Promise.resolve()).then(act);
    this.#turns.set(
      index,
      turn.catch(() => undefined), // whoever asked for it hears of it
    );
    return turn;
  }

  async #kill(index: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#noteRss(index);
    // Where all die at once nobody is left to take over: that measures their start.
    const isAlone = this.#meantDown.size < this.network.size;
    if (signal === 'SIGKILL' && isAlone)
      this.deaths.push({ host: this.nameOf(index), atMs: uptimeMs() });
    await this.network.kill(index, signal);
    this.#frozen.delete(index);
  }

  /** Measures how long all others take to list it dead, as far as it stays down so long. */
  async measureDetection(index: number): Promise<void> {
    const name = this.nameOf(index);
    const others = this.network.indices.filter(
      (other) => other !== index && !this.#meantDown.has(other),
    );
    const startedMs = performance.now();
    while (this.#meantDown.has(index) && performance.now() - startedMs < DETECT_MS_MAX) {
      const views = await Promise.all(
        others.map((other) => this.network.members(other, MEMBERS_TIMEOUT_MS)),
      );
      if (!this.#meantDown.has(index)) return;
      const told = views.filter((view) => view !== undefined);
      const isDead = (view: (typeof told)[number]) =>
        view.some((member) => member.name === name && member.status === 'dead');
      if (told.length > 0 && told.every(isDead)) {
        this.detectMs.push(Math.round(performance.now() - startedMs));
        return;
      }
      await delay(DETECT_EVERY_MS);
    }
  }

  async #start(index: number): Promise<void> {
    for (let tries = 1; !this.#ended.signal.aborted; tries++) {
      try {
        // It may have been killed on purpose, or started by somebody else, since.
        if (this.#meantDown.has(index) || (await this.#isUp(index))) return;
        await this.network.restart(index);
        this.#noteStore(index);
        this.#watch(index);
        return;
      } catch (thrown) {
        // The rest is the end of its log, which is kept.
        const why = `peer ${index} does not start: ${messageOf(thrown).split('\n', 1)[0]}`;
        this.#say(why);
        this.gaveUp.push(why);
        if (tries >= START_TRIES) throw thrown;
        await delay(START_AGAIN_MS);
      }
    }
  }

  /** While it is down: everything that it knows of tasks, and who its store is. */
  async wipe(index: number): Promise<void> {
    const { name, storeId } = this.network.identity(index);
    await rm(join(this.network.dataDir(index), 'store'), { recursive: true });
    this.destroyed.push({ peer: name, storeId, atMs: uptimeMs() });
  }

  async freeze(index: number): Promise<void> {
    this.#frozen.add(index);
    await this.network.stop(index);
  }

  async thaw(index: number): Promise<void> {
    if (!this.#frozen.delete(index)) return;
    await this.network.cont(index);
  }

  /** Every daemon at once, as by a power cut of the whole site, and all up again. */
  async restartAll(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await Promise.all(this.network.indices.map((index) => this.kill(index, signal)));
    await Promise.all(this.network.indices.map((index) => this.start(index)));
  }

  #watch(index: number): void {
    void this.network.waitForExit(index).then(async ({ code, signal }) => {
      if (this.#meantDown.has(index) || this.#ended.signal.aborted) return;
      const why = `peer ${index} ended by itself (${signal ?? `exit code ${code}`})`;
      this.#say(why);
      this.gaveUp.push(why);
      await delay(START_AGAIN_MS);
      // What it says in vain it has noted.
      if (!this.#meantDown.has(index)) await this.start(index).catch(() => undefined);
    });
  }

  async #isUp(index: number): Promise<boolean> {
    return (await this.network.status())[index - 1]?.state !== 'dead';
  }

  async #sample(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      for (const index of this.network.indices) await this.#noteRss(index);
      await delay(SAMPLE_EVERY_MS, undefined, { signal: this.#ended.signal }).catch(
        () => undefined,
      );
    }
  }

  /** The kernel keeps the highest of each process. */
  async #noteRss(index: number): Promise<void> {
    try {
      const status = await readFile(`/proc/${this.network.pid(index)}/status`, 'utf8');
      const kib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
      this.rssBytesMax = Math.max(this.rssBytesMax, kib * 1_024);
    } catch {
      return; // it does not run at the moment
    }
  }
}
