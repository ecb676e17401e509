/**
 * A chaos run from its first daemon to its verdict: start; load and faults for the given time; heal everything and
 * restart all at once; wait for quiet; ask every peer about every task; judge.
 */
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE_MS } from '../base/units.ts';
import { SmallDisk } from './chaos-disk.ts';
import type { ChaosEvidence } from './chaos-evidence.ts';
import { FaultDriver } from './chaos-faults.ts';
import { gatherHistories, gatherViews, strays, waitForQuiet } from './chaos-gather.ts';
import { ChaosLoad } from './chaos-load.ts';
import type { ChaosOptions, FaultKind } from './chaos-options.ts';
import { ChaosPeers } from './chaos-peers.ts';
import { WorkerPrograms } from './chaos-programs.ts';
import { type Outcome, outcomeOf } from './chaos-report.ts';
import { furnish, locksDirOf, parseRuns, runsFileOf, uptimeMs } from './chaos-work.ts';
import { logFileOf } from './down.ts';
import { TestNetwork } from './testnet.ts';

const SLOTS = 3;
/** Shorter than most programs, so that a stop interrupts some. */
const CONFIG = { shutdown_timeout: '2s', kill_grace: '1s' };
/** After the last fault until everything is final: backoffs, redials and takeovers several times over. */
const QUIET_MS_MAX = 90_000;
/** Then, until all peers say the same. */
const AGREE_MS_MAX = 30_000;
const PROGRESS_EVERY_MS = 15_000;

export class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #dir: string;
  readonly #say: (text: string) => void;
  readonly #programs: WorkerPrograms;
  readonly #notRun: Partial<Record<FaultKind, string>> = {};
  #network: TestNetwork | undefined;
  #peers: ChaosPeers | undefined;
  #load: ChaosLoad | undefined;
  #disk: SmallDisk | undefined;
  readonly #aborted = new AbortController();

  constructor(options: ChaosOptions, dir: string, say: (text: string) => void) {
    this.#options = options;
    this.#dir = dir;
    this.#say = say;
    this.#programs = new WorkerPrograms(dir);
  }

  /** Ends what this process itself keeps going; the rest is for `cleanUp`. */
  abort(): void {
    this.#aborted.abort();
    this.#peers?.end();
    this.#programs.killNow();
  }

  async run(): Promise<Outcome> {
    const startedMs = performance.now();
    const { peers, load, network } = await this.#start();
    const driver = await this.#story(peers, load);
    this.#say('healing: every daemon is restarted, then all must become quiet');
    const healedMs = performance.now();
    await this.#heal(peers, driver);
    const pending = await waitForQuiet(network, load.submits, QUIET_MS_MAX, this.#say);
    const quietMs = performance.now() - healedMs;
    await load.end();
    const leftRunning = await strays(this.#dir);
    const views = await gatherViews(network, load.submits, AGREE_MS_MAX);
    const runs = parseRuns(await readFile(runsFileOf(this.#dir), 'utf8'));
    const wallAtBootMs = Date.now() - uptimeMs();
    const evidence: ChaosEvidence = {
      ...{ submits: load.submits, told: load.told, runs, views, leftRunning },
      ...(await gatherHistories(network, runs, { stores: peers.stores, wallAtBootMs })),
      ...{ strikes: driver.strikes, stores: peers.stores, wallAtBootMs },
      ...{ destroyed: peers.destroyed, gaveUp: peers.gaveUp },
    };
    peers.end();
    const outcome = outcomeOf(this.#options, evidence, pending, {
      ...{ faults: driver.counts, skipped: driver.skipped, notRun: this.#notRun },
      ...{ deaths: peers.deaths, detectMs: peers.detectMs, rssBytesMax: peers.rssBytesMax },
      ...{ quietMs, durationMs: performance.now() - startedMs, errors: load.refusals },
    });
    await this.#write(outcome, evidence, peers);
    return outcome;
  }

  async #start(): Promise<{ peers: ChaosPeers; load: ChaosLoad; network: TestNetwork }> {
    const { seed, peers: size } = this.#options;
    await mkdir(locksDirOf(this.#dir));
    await furnish(this.#dir);
    const dataDirs = await this.#prepareDisk(size);
    // Made here, so that what the network leaves is removed file by file, and logs can be kept.
    await mkdir(this.#netDir);
    this.#throwIfAborted();
    const network = await TestNetwork.up({
      ...{ peers: size, dir: this.#netDir, slots: SLOTS, config: CONFIG, dataDirs },
      onSignals: false,
    });
    this.#network = network;
    this.#throwIfAborted();
    const peers = new ChaosPeers(network, this.#say);
    this.#peers = peers;
    for (const index of network.indices) await this.#startProgram(index);
    const load = new ChaosLoad(network, this.#dir, seed);
    this.#load = load;
    this.#say(`${size} daemons see each other alive, each with a worker program beside it`);
    return { peers, load, network };
  }

  get #netDir(): string {
    return join(this.#dir, 'net');
  }

  async #prepareDisk(size: number): Promise<Readonly<Record<number, string>>> {
    if (!this.#options.faults.includes('disk')) return {};
    const mounted = await SmallDisk.mount(join(this.#dir, 'disk'));
    if (!mounted.ok) {
      this.#notRun.disk = mounted.error;
      this.#say(`disk: not run: ${mounted.error}`);
      return {};
    }
    this.#disk = mounted.value;
    return { [size]: join(mounted.value.directory, `peer${size}`) };
  }

  #startProgram(index: number): Promise<void> {
    const network = this.#network;
    if (network === undefined) throw new Error('there is no network yet');
    return this.#programs.start(index, network.socket(index), network.identity(index).name);
  }

  /** Load and faults, until time is up and no fault lasts any more. */
  async #story(peers: ChaosPeers, load: ChaosLoad): Promise<FaultDriver> {
    const { faults, seed, minutes, peers: index } = this.#options;
    const kinds = faults.filter((kind) => this.#notRun[kind] === undefined);
    const disk = this.#disk === undefined ? undefined : { index, disk: this.#disk };
    const driver = new FaultDriver(
      {
        ...{ peers, disk, say: this.#say },
        killWorker: (at) => this.#programs.kill(at),
        startWorker: (at) => this.#startProgram(at),
      },
      kinds,
      seed,
    );
    const over = new AbortController();
    this.#aborted.signal.addEventListener('abort', () => over.abort());
    const timer = setTimeout(() => over.abort(), minutes * MINUTE_MS);
    const progress = setInterval(() => this.#tellProgress(load), PROGRESS_EVERY_MS);
    await Promise.all([load.run(over.signal), driver.run(over.signal)]);
    clearTimeout(timer);
    clearInterval(progress);
    this.#throwIfAborted();
    for (const kind of kinds)
      if (driver.counts[kind] === undefined) this.#notRun[kind] = 'no draw of it could strike';
    return driver;
  }

  #tellProgress({ submits, underWay, told }: ChaosLoad): void {
    const sure = submits.filter(({ outcome }) => outcome === 'acknowledged').length;
    this.#say(
      `${submits.length} tasks, ${sure} acknowledged, ${underWay} under way, ${told.length} finals told`,
    );
  }

  /** Every daemon dies at once: what was acknowledged lies on disks. */
  async #heal(peers: ChaosPeers, driver: FaultDriver): Promise<void> {
    peers.network.heal();
    await this.#disk?.free();
    for (const index of peers.network.indices) await peers.thaw(index);
    await driver.restartAll(this.#options.faults.includes('kill') ? 'SIGKILL' : 'SIGTERM');
    this.#throwIfAborted();
  }

  #throwIfAborted(): void {
    if (this.#aborted.signal.aborted) throw new Error('interrupted');
  }

  async #write(outcome: Outcome, evidence: ChaosEvidence, peers: ChaosPeers): Promise<void> {
    const { report, violations, pending } = outcome;
    const about = [...violations.map(({ detail }) => detail), ...pending].join('\n');
    const named = evidence.submits.filter(({ id }) => about.includes(id.slice(8, 20)));
    const stories = named.map((submit) => ({
      submit,
      views: [...evidence.views].map(([peer, views]) => [peer, views.get(submit.id)]),
      runs: evidence.runs.filter(({ taskId }) => taskId === submit.id),
      told: evidence.told.filter(({ id }) => id === submit.id),
      history: evidence.histories.get(submit.id),
      home: evidence.homes.get(submit.id),
    }));
    const { destroyed, gaveUp, strikes, wallAtBootMs } = evidence;
    const stores = [...evidence.stores];
    const seen = { destroyed, gaveUp, strikes, stores, wallAtBootMs, deaths: peers.deaths };
    const text = { report, violations, pending, ...seen, stories };
    await writeFile(join(this.#dir, 'verdict.json'), `${JSON.stringify(text, null, 1)}\n`);
  }

  /** Ends every process, unmounts, removes; what `keep` keeps stays in the run's directory. */
  async cleanUp(keep: boolean): Promise<void> {
    this.abort();
    await this.#programs.end();
    if (keep) await this.#keepLogs();
    await this.#network?.down({ graceMs: 0 });
    await this.#load?.end();
    await this.#disk?.unmount();
    const force = { recursive: true, force: true, maxRetries: 5 } as const;
    if (!keep) return await rm(this.#dir, force);
    for (const name of ['net', 'disk', 'locks', 'task.sh', 'compile-cache'])
      await rm(join(this.#dir, name), force);
  }

  async #keepLogs(): Promise<void> {
    const logs = join(this.#dir, 'logs');
    await mkdir(logs, { recursive: true });
    for (let index = 1; index <= this.#options.peers; index++) {
      const copy = join(logs, `peer${index}.log`);
      // A network that did not come up may have no logs.
      await copyFile(logFileOf(this.#netDir, index), copy).catch(() => delay(0));
    }
  }
}
