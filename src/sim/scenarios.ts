/**
 * Stories of a world, drawn from a seed: peers join, clients submit, wait and cancel through random peers while
 * daemons crash, stop and restart and the network parts; then faults end, and all must come to its end.
 *
 * `calm`: no faults but orderly stops.  `crashes`: one daemon down at a time, no partition.  `cuts`: one host at a time
 * is out of reach for so long that the others give it up, and so short that it gives up nobody.  `wild`: crashes, stops and partitions.  `storm`: every fault of the table.
 */

import { type Random, randomBelow, randomFloat, SeededRandom } from '../base/random.ts';
import { taskOf } from '../tasks/task.ts';
import { check } from './checkers.ts';
import { Clients } from './clients.ts';
import type { Violation } from './evidence.ts';
import { endFaults, FAULT_NAMES, FAULTS } from './faults.ts';
import { type Oddity, REJECTED_MS } from './odd-tasks.ts';
import { between, createWorld, type ScenarioOptions } from './options.ts';
import type { RequestName } from './programs.ts';
import type { Reached } from './sightings.ts';
import { restart } from './trouble.ts';
import type { World } from './world.ts';

export interface ScenarioResult {
  readonly options: ScenarioOptions;
  readonly outcome: 'held' | 'safety' | 'liveness';
  readonly violations: readonly Violation[];
  /** What had not come to its end in time. */
  readonly pending: readonly string[];
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly counts: Readonly<Record<string, number>>;
  /** Tasks by the end they came to: `completed`, `failed(exit)`. */
  readonly finals: Readonly<Record<string, number>>;
  /** Error codes, states and edges that were seen. */
  readonly reached: Reached;
}

/** Bounded virtual time from the end of the faults until everything is final and equal, besides the work itself. */
export const LIVENESS_MS = 180_000;
/** As often as a task may run on the average, its failures and losses included. */
const RUNS_A_TASK = 2;

/** Work that waits takes its time as well: one host with one slot may have minutes of it. */
const livenessMs = ({ tasks, taskMsMax, peers, slots, storyMs }: ScenarioOptions): number =>
  LIVENESS_MS +
  (RUNS_A_TASK * tasks * taskMsMax) / (peers * slots) +
  // What takes most of an hour may have stood still from its beginning on, as on a disk that was struck.
  (storyMs > REJECTED_MS ? REJECTED_MS : 0);

/** A while longer: what was wrongly left would show now. */
const AFTERMATH_MS = 3_000;
/** A report reaches an owner every 2 s, then comes the grace of the kill. */
const STRAY_MS_MAX = 15_000;
const AMBUSH_MS_MAX = 5;
/** The others convict a silent peer after 7 s, and it them, alone as it is, after 14 s. */
const CUT_MS_MIN = 6_000;
const CUT_MS_MAX = 12_500;

/** What is drawn too seldom among the other requests, each in one of so many worlds. */
const LARGE: readonly RequestName[] = ['many_requests', 'many_connections', 'long_line'];
const LARGE_ONE_IN = 30;
/** Some client may cancel one of them, or a fault destroy it. */
const REJECTED_AT_MS = [0, 5_000, 30_000];

/** One deed of the story and its time, from the end of the joining. */
interface Deed {
  readonly atMs: number;
  readonly act: () => void;
}

export class Scenario {
  readonly options: ScenarioOptions;
  readonly world: World;
  readonly #random: Random;
  /** Of its own: what programs do changes nothing of what else is drawn. */
  readonly #programs: Random;
  readonly #clients: Clients;
  readonly #deeds: Deed[] = [];
  /** Counts what happened, for the report: a simulation in which nothing happens proves nothing. */
  readonly #counts: Record<string, number> = {};
  #partitioned = false;
  /** When all had joined and the story began. */
  #startMs = 0;

  constructor(options: ScenarioOptions, world: World = createWorld(options)) {
    this.options = options;
    this.world = world;
    this.#random = new SeededRandom(`story ${options.seed}`);
    this.#programs = new SeededRandom(`times of programs ${options.seed}`);
    this.#clients = new Clients({
      world,
      options,
      random: this.#random,
      later: (delayMs, act) => this.#later(delayMs, act),
      count: (what) => this.#count(what),
    });
  }

  run(): Promise<ScenarioResult> {
    return this.world.run(() => this.#tell());
  }

  async #tell(): Promise<ScenarioResult> {
    const { world, options } = this;
    await world.joinAll();
    this.#plan();
    this.#startMs = world.clock.nowMs();
    let deed = this.#nextDeed();
    while (deed !== undefined) {
      await world.runFor(Math.max(0, this.#startMs + deed.atMs - world.clock.nowMs()));
      deed.act();
      deed = this.#nextDeed();
    }
    await this.#recover();
    const isOver = await world.runUntil(() => world.pending().length === 0, livenessMs(options));
    const pending = isOver ? [] : world.pending();
    await world.runFor(AFTERMATH_MS);
    const { mode } = options;
    const strict = mode === 'calm' || mode === 'crashes';
    const rules = { strict, cutsOnly: mode === 'cuts', strayMsMax: STRAY_MS_MAX };
    const violations = check(world.evidence(), rules);
    // What is not over in time shows as many broken rules: then only those count that time cannot heal.
    const safety = isOver ? violations : violations.filter(({ rule }) => !HEALED_BY_TIME.has(rule));
    return {
      options,
      outcome: safety.length > 0 ? 'safety' : isOver ? 'held' : 'liveness',
      violations: safety,
      pending,
      hash: world.trace.digest(),
      events: world.trace.count,
      virtualMs: world.clock.nowMs(),
      counts: this.#tally(),
      finals: this.#finals(),
      reached: world.sightings.reached(),
    };
  }

  /** The earliest deed that is left; deeds may plan further ones. */
  #nextDeed(): Deed | undefined {
    let first = 0;
    this.#deeds.forEach((deed, i) => {
      if (deed.atMs < (this.#deeds[first]?.atMs ?? Number.POSITIVE_INFINITY)) first = i;
    });
    return this.#deeds.splice(first, 1)[0];
  }

  #plan(): void {
    const { tasks, faults, storyMs, mode, requests } = this.options;
    const at = () => randomBelow(this.#random, storyMs);
    const burst = randomBelow(this.#random, 3) === 0;
    for (let i = 0; i < tasks; i++) {
      this.#deeds.push({
        atMs: burst ? randomBelow(this.#random, 500) : at(),
        act: () => this.#clients.submit(),
      });
    }
    for (let i = 0; i < tasks / 3; i++) {
      this.#deeds.push({ atMs: at(), act: () => this.#clients.wait() });
    }
    for (let i = 0; i < tasks / 6; i++) {
      this.#deeds.push({ atMs: at(), act: () => this.#clients.cancel() });
    }
    if (mode === 'storm' && storyMs > REJECTED_MS)
      for (const atMs of REJECTED_AT_MS)
        this.#deeds.push({ atMs, act: () => this.#clients.submitRejected() });
    const large = new SeededRandom(`large ${this.options.seed}`);
    const name = LARGE[randomBelow(large, LARGE_ONE_IN)];
    if (requests > 0 && name !== undefined)
      this.#deeds.push({ atMs: randomBelow(large, storyMs), act: () => this.#clients.ask(name) });
    for (let i = 0; i < requests; i++)
      this.#deeds.push({
        atMs: randomBelow(this.#programs, storyMs),
        act: () => this.#clients.ask(),
      });
    for (let i = 0; i < faults; i++) {
      this.#deeds.push({
        atMs: at(),
        act: () => {
          if (mode === 'storm') this.#strike();
          else if (mode === 'wild') this.#wildFault();
          else this.#fault();
        },
      });
    }
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  #later(delayMs: number, act: () => void): void {
    const atMs = this.world.clock.nowMs() - this.#startMs + delayMs;
    this.#deeds.push({ atMs, act });
  }

  // ---- faults ---------------------------------------------------------------------------------------------

  /** One daemon at a time; the next only when all see all again. */
  #fault(): void {
    const { world } = this;
    if (!world.isWhole()) {
      this.#later(2_000, () => {
        if (world.isWhole()) this.#fault();
      });
      return;
    }
    const i = randomBelow(this.#random, world.hosts.length);
    if (this.options.mode === 'cuts') this.#cut(i);
    else if (this.options.chosen.includes('crash_in_write')) this.#crashInWrite(i);
    else if (this.options.mode === 'calm' || randomBelow(this.#random, 3) === 0)
      this.#stop(i, 500 + this.#pauseMs());
    else if (randomBelow(this.#random, 2) === 0) this.#ambush();
    else this.#crash(i, this.#pauseMs());
  }

  /** Kills it while its next write is on its way to its disk, or from there to the others. */
  #crashInWrite(i: number): void {
    const { world, options } = this;
    const { disk } = world.host(i);
    disk.onSync = () => {
      disk.onSync = undefined;
      const waitMs = randomFloat(this.#random) * (options.diskMsMax + options.delayMsMax);
      world.clock.after(waitMs, () => {
        if (world.isWhole() && !world.isOver) this.#crash(i, this.#pauseMs());
      });
    };
  }

  #cut(i: number): void {
    if (this.#partitioned) return;
    this.#count('cuts');
    this.world.cut(i);
    this.#partitioned = true;
    this.#later(between(this.#random, CUT_MS_MIN, CUT_MS_MAX), () => this.#heal());
  }

  /** How long a daemon stays away: often a moment, sometimes long enough to be convicted of silence. */
  #pauseMs(): number {
    return Math.floor(10 ** (1 + 3.3 * randomFloat(this.#random)));
  }

  #crash(i: number, pauseMs: number): void {
    this.#count('crashes');
    this.world.crash(i);
    this.#later(pauseMs, () => this.#restart(i));
  }

  /** Kills the next daemon that shows a change of a task, within a few milliseconds: the sharpest moment. */
  #ambush(): void {
    const { world } = this;
    const waitMs = randomFloat(this.#random) * AMBUSH_MS_MAX;
    const onFinal = randomBelow(this.#random, 2) === 0;
    world.onTold = ({ host, final }) => {
      if (onFinal && final === undefined) return;
      world.onTold = undefined;
      world.clock.after(waitMs, () => {
        const i = world.hosts.findIndex(({ name }) => name === host);
        if (world.hosts[i]?.state !== 'up') return;
        if (this.options.mode !== 'wild' && !world.isWhole()) return;
        this.#crash(i, this.#pauseMs());
      });
    };
  }

  #stop(i: number, pauseMs: number): void {
    this.#count('stops');
    void this.world.stop(i);
    this.#later(pauseMs, () => this.#restart(i));
  }

  #restart(i: number): void {
    restart({ world: this.world, later: (delayMs, act) => this.#later(delayMs, act) }, i);
  }

  #wildFault(): void {
    const { world } = this;
    const what = randomBelow(this.#random, 7);
    const i = randomBelow(this.#random, world.hosts.length);
    const { state } = world.host(i);
    if (what <= 1) this.#part();
    else if (what === 6) this.#ambush();
    else if (what === 2 && state === 'up') this.#stop(i, this.#pauseMs());
    else if (state !== 'down') this.#crash(i, this.#pauseMs());
  }

  /** Any of the faults that were chosen; the next one if it finds nothing to strike. */
  #strike(): void {
    const names = FAULT_NAMES.filter((name) => this.options.chosen.includes(name));
    const first = randomBelow(this.#random, Math.max(1, names.length));
    for (let i = 0; i < names.length; i++) {
      const name = names[(first + i) % names.length];
      if (name === undefined) return;
      const trouble = {
        world: this.world,
        random: this.#random,
        later: (delayMs: number, act: () => void) => this.#later(delayMs, act),
        submit: (what: Oddity, at?: number) => this.#clients.submitOdd(what, at),
        ttlMs: this.options.ttlMs,
        ask: (what: RequestName, at?: number) => this.#clients.ask(what, at),
        provoke: (what: Oddity, at?: number) => {
          if (this.options.requests > 0) this.#clients.submitOdd(what, at);
        },
      };
      if (!FAULTS[name].strike(trouble)) continue;
      this.#count(name);
      this.world.note(`fault ${name}`);
      return;
    }
  }

  #part(): void {
    const { world } = this;
    const sides: number[][] = [[], []];
    world.hosts.forEach((_, i) => {
      sides[randomBelow(this.#random, 2)]?.push(i);
    });
    this.#count('partitions');
    world.partition(sides);
    this.#partitioned = true;
    this.#later(this.#pauseMs() * 2, () => this.#heal());
  }

  #heal(): void {
    if (!this.#partitioned) return;
    this.#partitioned = false;
    this.world.heal();
  }

  /** Faults end: what is away comes back. */
  async #recover(): Promise<void> {
    const { world } = this;
    world.isOver = true;
    this.#heal();
    endFaults(world);
    const stopsMs = this.options.shutdownMs + this.options.killGraceMs + 30_000;
    await world.runUntil(() => world.hosts.every(({ state }) => state !== 'stopping'), stopsMs);
    for (const i of world.hosts.keys()) this.#restart(i);
  }

  #finals(): Record<string, number> {
    const finals: Record<string, number> = {};
    for (const [copy] of this.world.replicas().values()) {
      const final = copy === undefined ? undefined : taskOf(copy.record).final;
      if (final === undefined) continue;
      const name = final.state === 'failed' ? `failed(${final.reason})` : final.state;
      finals[name] = (finals[name] ?? 0) + 1;
    }
    return finals;
  }

  #tally(): Record<string, number> {
    const { submits, runs, told, waits } = this.world;
    const conflicts = new Set(told.filter((item) => item.conflicts > 0).map(({ id }) => id));
    return {
      ...this.#counts,
      submits: submits.length,
      acknowledged: this.#clients.acknowledged().length,
      runs: runs.length,
      tasksRunTwice: runs.length - new Set(runs.map(({ taskId }) => taskId)).size,
      waits: waits.length,
      conflicts: conflicts.size,
      ...this.#clients.reads.versions.toJson(),
    };
  }
}

/** Rules about the end state: in a world that is not over yet they say no more than `pending`. */
const HEALED_BY_TIME = new Set([
  'unfinished',
  'diverged',
  'missing_copy',
  'two_results',
  'stray',
  'views',
]);

export const runScenario = (options: ScenarioOptions): Promise<ScenarioResult> =>
  new Scenario(options).run();
