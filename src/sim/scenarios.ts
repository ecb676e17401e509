/**
 * Stories of a world, drawn from a seed: peers join, clients submit, wait and cancel through random peers while
 * daemons crash, stop and restart and the network parts; then faults end, and all must come to its end.
 *
 * `calm`: no faults but orderly stops.  `crashes`: one daemon down at a time, no partition.  `cuts`: one host at a time
 * is out of reach for so long that the others give it up, and so short that it gives up nobody.  `wild`: anything.
 */

import type { SubmitInput } from '../api/task.ts';
import { type Random, randomBelow, randomFloat, SeededRandom } from '../base/random.ts';
import { check } from './checkers.ts';
import { argvOf } from './commands.ts';
import type { Submitted, Violation } from './evidence.ts';
import { between, createWorld, pick, type ScenarioOptions } from './options.ts';
import { WORKER_TYPE } from './sim-worker.ts';
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
}

/** Bounded virtual time from the end of the faults until everything is final and equal. */
export const LIVENESS_MS = 180_000;
/** A while longer: what was wrongly left would show now. */
const AFTERMATH_MS = 3_000;
/** A report reaches an owner every 2 s, then comes the grace of the kill. */
const STRAY_MS_MAX = 15_000;
const RETRY_AFTER_MS = 6_000;
const AMBUSH_MS_MAX = 5;
/** The others convict a silent peer after 7 s, and it them, alone as it is, after 14 s. */
const CUT_MS_MIN = 6_000;
const CUT_MS_MAX = 12_500;

/** One deed of the story and its time, from the end of the joining. */
interface Deed {
  readonly atMs: number;
  readonly act: () => void;
}

export class Scenario {
  readonly options: ScenarioOptions;
  readonly world: World;
  readonly #random: Random;
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
    const isOver = await world.runUntil(() => world.pending().length === 0, LIVENESS_MS);
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
    const { tasks, faults, storyMs, mode } = this.options;
    const at = () => randomBelow(this.#random, storyMs);
    const burst = randomBelow(this.#random, 3) === 0;
    for (let i = 0; i < tasks; i++) {
      this.#deeds.push({
        atMs: burst ? randomBelow(this.#random, 500) : at(),
        act: () => this.#submit(),
      });
    }
    for (let i = 0; i < tasks / 3; i++) {
      this.#deeds.push({ atMs: at(), act: () => this.#wait() });
    }
    for (let i = 0; i < tasks / 6; i++) {
      this.#deeds.push({ atMs: at(), act: () => this.#cancel() });
    }
    for (let i = 0; i < faults; i++) {
      this.#deeds.push({
        atMs: at(),
        act: () => (mode === 'wild' ? this.#wildFault() : this.#fault()),
      });
    }
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  /** Hosts whose daemon runs, by number. */
  #up(): number[] {
    return this.world.hosts.flatMap((host, i) => (host.state === 'up' ? [i] : []));
  }

  #later(delayMs: number, act: () => void): void {
    const atMs = this.world.clock.nowMs() - this.#startMs + delayMs;
    this.#deeds.push({ atMs, act });
  }

  // ---- clients --------------------------------------------------------------------------------------------

  #drawTask(): { input: SubmitInput; about: Pick<Submitted, 'kind' | 'attempts' | 'failures'> } {
    const random = this.#random;
    const durationMs = randomBelow(random, this.options.taskMsMax);
    const attempts = randomBelow(random, 3) === 0 ? between(random, 2, 3) : 1;
    const failures = randomBelow(random, 5) === 0 ? between(random, 1, 3) : 0;
    const isDelayed = randomBelow(random, 6) === 0;
    const isBackedOff = randomBelow(random, 2) === 0;
    const common: SubmitInput = {
      attempts,
      priority: randomBelow(random, 3),
      ...(isDelayed ? { delay_ms: randomBelow(random, 8_000) } : {}),
      ...(isBackedOff
        ? { backoff: { type: 'exponential', delay_ms: 1 + randomBelow(random, 800) } }
        : {}),
    };
    if (this.options.workers > 0 && randomBelow(random, 4) === 0) {
      return {
        input: { ...common, type: WORKER_TYPE, payload: { ms: durationMs, failures } },
        about: { kind: 'worker', attempts, failures },
      };
    }
    const argv = argvOf({ durationMs, failures, isDeaf: randomBelow(random, 10) === 0 });
    return {
      input: { ...common, exec: { argv, cwd: '/work' } },
      about: { kind: 'exec', attempts, failures },
    };
  }

  #submit(): void {
    const { world } = this;
    const i = pick(this.#random, this.#up());
    const { input, about } = this.#drawTask();
    const isReserved = randomBelow(this.#random, 3) === 0;
    if (i === undefined) return;
    const id = isReserved ? world.peer(i).tasks.submitter.reserve(1).ids[0] : undefined;
    const request = id === undefined ? input : { ...input, id };
    const submitted = world.submit(i, request, about);
    if (id !== undefined) this.#retry(request, submitted);
    if (randomBelow(this.#random, 4) === 0) this.#later(100, () => this.#waitFor(submitted));
  }

  /** A client that reserved its id and hears nothing asks another peer, as often as it takes. */
  #retry(request: SubmitInput, submitted: Submitted): void {
    this.#later(RETRY_AFTER_MS, () => {
      if (submitted.outcome === 'acknowledged') return;
      const i = pick(this.#random, this.#up());
      if (i === undefined) return;
      this.#count('retried');
      this.world.submitAgain(i, request, submitted);
    });
  }

  #acknowledged(): Submitted[] {
    return this.world.submits.filter((item) => item.outcome === 'acknowledged');
  }

  #wait(): void {
    const submitted = pick(this.#random, this.#acknowledged());
    if (submitted !== undefined) this.#waitFor(submitted);
  }

  #waitFor({ id }: Submitted): void {
    const i = pick(this.#random, this.#up());
    if (i !== undefined && id !== undefined) this.world.wait(i, id);
  }

  #cancel(): void {
    const submitted = pick(this.#random, this.#acknowledged());
    const i = pick(this.#random, this.#up());
    if (submitted !== undefined && i !== undefined) this.world.cancel(i, submitted);
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
    else if (this.options.mode === 'calm' || randomBelow(this.#random, 3) === 0)
      this.#stop(i, 500 + this.#pauseMs());
    else if (randomBelow(this.#random, 2) === 0) this.#ambush();
    else this.#crash(i, this.#pauseMs());
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

  /** Starts it if it is down; a daemon that is still stopping is looked at again. */
  #restart(i: number): void {
    const { state } = this.world.host(i);
    if (state === 'down') void this.world.restart(i);
    else if (state === 'stopping') this.#later(500, () => this.#restart(i));
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
    world.onTold = undefined;
    this.#heal();
    const stopsMs = this.options.shutdownMs + this.options.killGraceMs + 30_000;
    await world.runUntil(() => world.hosts.every(({ state }) => state !== 'stopping'), stopsMs);
    world.hosts.forEach((host, i) => {
      if (host.state === 'down') void world.restart(i);
    });
  }

  #tally(): Record<string, number> {
    const { submits, runs, told, waits } = this.world;
    const conflicts = new Set(told.filter((item) => item.conflicts > 0).map(({ id }) => id));
    return {
      ...this.#counts,
      submits: submits.length,
      acknowledged: this.#acknowledged().length,
      runs: runs.length,
      tasksRunTwice: runs.length - new Set(runs.map(({ taskId }) => taskId)).size,
      waits: waits.length,
      conflicts: conflicts.size,
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
