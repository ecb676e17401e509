/** The clients of a story: they submit, wait, cancel and read through random peers, and ask again when nobody answers. */
import type { SubmitInput } from '../api/task.ts';
import { toHex } from '../base/hash.ts';
import { type Random, randomBelow, SeededRandom } from '../base/random.ts';
import { encodeTaskId } from '../base/task-id.ts';
import { argvOf } from './commands.ts';
import type { Submitted } from './evidence.ts';
import { ODD_TASKS, ODDITIES, type Oddity, type OddTask, rejectedTask } from './odd-tasks.ts';
import { between, pick, type ScenarioOptions } from './options.ts';
import { drawRequest, REQUESTS, type RequestName } from './programs.ts';
import { Reads } from './reads.ts';
import { WORKER_TYPE } from './sim-worker.ts';
import { SocketClient } from './socket-client.ts';
import type { World } from './world.ts';

const RETRY_AFTER_MS = 6_000;
/** Of so many tasks one is of a kind of its own. */
const ODD_ONE_IN = 6;
/** So few that tasks of one key often meet. */
const DEDUPE_KEYS = 3;
/** A silent peer is convicted after 7 s, or 14. */
const LONG_MS = 15_000;
/** A command that nobody sees the end of. */
const ENDLESS_MS = 3_600_000;
const CANCEL_AGAIN_MS = 3_000;
/** So long after its acknowledgement a cancel has ended what runs, partitions included. */
const CANCEL_GONE_MS = 60_000;
const ENDLESS_MS_MAX = 12_000;
/** Within so long after its receipt a hasty client changes its mind: while the first attempt is being placed. */
const HASTE_MS_MAX = 400;
const LOOK_MS = 20;
/** The latest are the ones that are not over yet. */
const REPEATED_MAX = 4;
/** What is read again at a daemon that has just come back. */
const REREAD_MAX = 12;
/** A client reads a task, or lists all, within so long after a submit. */
const READ_AFTER_MS_MAX = 10_000;

export interface ClientDeps {
  readonly world: World;
  readonly options: ScenarioOptions;
  readonly random: Random;
  /** Does something so much later in the story. */
  readonly later: (delayMs: number, act: () => void) => void;
  readonly count: (what: string) => void;
}

export class Clients {
  readonly #deps: ClientDeps;
  readonly reads: Reads;
  /** Of keys and reads: without them a story would be the same. */
  readonly #extra: Random;
  /** Of what only some worlds have, so that all others stay as they were. */
  readonly #rare: Random;
  #endless = 0;
  /** What may be asked once more, by its own id. */
  readonly #reserved: { readonly request: SubmitInput; readonly submitted: Submitted }[] = [];
  readonly #programs: Random;

  constructor(deps: ClientDeps) {
    this.#deps = deps;
    this.reads = new Reads(deps.world);
    this.#extra = new SeededRandom(`reads ${deps.options.seed}`);
    this.#rare = new SeededRandom(`rare ${deps.options.seed}`);
    this.#endless = deps.options.endless;
    this.#programs = new SeededRandom(`programs ${deps.options.seed}`);
    // Clients whose daemon was away are the first to come back.
    deps.world.onUp = (i) => {
      if (!deps.world.isOver && randomBelow(this.#extra, 2) === 0) this.submit(i);
      if (!deps.world.isOver && randomBelow(this.#rare, 100) < deps.options.repeats)
        this.#repeat(i);
    };
  }

  /** Hosts whose daemon runs and answers, by number. */
  #up(): number[] {
    return this.#deps.world.hosts.flatMap((host, i) =>
      host.state === 'up' && !host.isFrozen && this.#deps.world.isMember(i) ? [i] : [],
    );
  }

  #drawTask(): OddTask {
    const isOdd = this.#deps.options.requests > 0 && randomBelow(this.#programs, ODD_ONE_IN) === 0;
    return isOdd ? this.#drawOdd() : this.#drawUsual();
  }

  #drawOdd(what: Oddity = pick(this.#programs, ODDITIES) ?? 'quorum'): OddTask {
    this.#deps.count(what);
    return ODD_TASKS[what](this.#programs);
  }

  #drawUsual(): OddTask {
    const { random, options } = this.#deps;
    // Now and then one that outlasts a conviction: what is given up while it runs.
    const moreMs = randomBelow(this.#extra, 12) === 0 ? LONG_MS : 0;
    const durationMs = randomBelow(random, options.taskMsMax) + moreMs;
    const attempts = randomBelow(random, 3) === 0 ? between(random, 2, 3) : 1;
    const failures = randomBelow(random, 5) === 0 ? between(random, 1, 3) : 0;
    const isDelayed = randomBelow(random, 6) === 0;
    const isBackedOff = randomBelow(random, 2) === 0;
    const keyed =
      randomBelow(this.#extra, 8) === 0
        ? { key: `key ${randomBelow(this.#extra, DEDUPE_KEYS)}` }
        : {};
    const common: SubmitInput = {
      attempts,
      ...('key' in keyed ? { dedupe_key: keyed.key } : {}),
      priority: randomBelow(random, 3),
      ...(isDelayed ? { delay_ms: randomBelow(random, 8_000) } : {}),
      ...(isBackedOff
        ? { backoff: { type: 'exponential', delay_ms: 1 + randomBelow(random, 800) } }
        : {}),
    };
    if (options.workers > 0 && randomBelow(random, 4) === 0) {
      return {
        input: { ...common, type: WORKER_TYPE, payload: { ms: durationMs, failures } },
        about: { kind: 'worker', attempts, failures, ...keyed },
      };
    }
    const argv = argvOf({ durationMs, failures, isDeaf: randomBelow(random, 10) === 0 });
    return {
      input: { ...common, exec: { argv, cwd: '/work' } },
      about: { kind: 'exec', attempts, failures, ...keyed },
    };
  }

  /** A task of a given kind. False: no daemon runs that could take it. */
  submitOdd(what: Oddity, at?: number): boolean {
    const up = this.#up();
    const i = at === undefined ? pick(this.#programs, up) : up.find((other) => other === at);
    if (i === undefined) return false;
    const { input, about } = this.#drawOdd(what);
    this.#deps.world.submit(i, input, about);
    return true;
  }

  /** One that takes most of an hour to fail. */
  submitRejected(): void {
    const i = pick(this.#programs, this.#up());
    if (i === undefined) return;
    const { input, about } = rejectedTask();
    this.#deps.world.submit(i, input, about);
  }

  submit(at?: number): void {
    const { world, random, later } = this.#deps;
    const i = at ?? pick(random, this.#up());
    if (i !== undefined && this.#endless > 0) {
      this.#endless -= 1;
      this.#submitEndless(i);
    }
    const { input, about } = this.#drawTask();
    const isReserved = randomBelow(random, 3) === 0;
    later(randomBelow(this.#extra, READ_AFTER_MS_MAX), () => this.#readSome());
    if (i === undefined) return;
    const id = isReserved ? world.peer(i).tasks.submitter.reserve(1).ids[0] : undefined;
    const request = id === undefined ? input : { ...input, id };
    const submitted = world.submit(i, request, about);
    if (id !== undefined) {
      this.#reserved.push({ request, submitted });
      this.#retry(request, submitted);
    }
    if (randomBelow(random, 4) === 0) later(100, () => this.#waitFor(submitted));
    const { hasty } = this.#deps.options;
    if (hasty > 0 && randomBelow(this.#rare, 100) < hasty) this.#cancelSoon(submitted);
  }

  /** As soon as it is acknowledged, or a moment later. */
  #cancelSoon(submitted: Submitted): void {
    const { world } = this.#deps;
    const waitMs = randomBelow(this.#rare, HASTE_MS_MAX);
    const look = (): void => {
      const i = pick(this.#rare, this.#up());
      if (submitted.outcome === 'open') world.clock.after(LOOK_MS, look);
      else if (submitted.outcome === 'acknowledged' && i !== undefined)
        world.clock.after(waitMs, () => {
          if (this.#up().includes(i)) world.cancel(i, submitted);
        });
    };
    look();
  }

  /**
   * Only its cancel ends it, so its client does not leave off before that is acknowledged, and begins again when the
   * command goes on all the same: with the disks of all who acknowledged it the cancel is gone as well.
   */
  #submitEndless(i: number): void {
    const { world } = this.#deps;
    const id = world.peer(i).tasks.submitter.reserve(1).ids[0];
    if (id === undefined) return;
    const argv = argvOf({ durationMs: ENDLESS_MS, failures: 0, isDeaf: false });
    const request = { id, exec: { argv, cwd: '/work' }, attempts: 1 };
    const submitted = world.submit(i, request, { kind: 'exec', attempts: 1, failures: 0 });
    const cancel = (): void => {
      const { canceledMs } = submitted;
      const isOld = canceledMs !== undefined && world.clock.nowMs() - canceledMs > CANCEL_GONE_MS;
      const goesOn = world.runs.some(
        ({ taskId, endedMs }) => taskId === id && endedMs === undefined,
      );
      const at = pick(this.#rare, this.#up());
      if (at !== undefined && (canceledMs === undefined || (isOld && goesOn)))
        world.cancel(at, submitted);
      world.clock.after(CANCEL_AGAIN_MS, cancel);
    };
    world.clock.after(1_000 + randomBelow(this.#rare, ENDLESS_MS_MAX), cancel);
  }

  /** A client that reserved its id and hears nothing asks another peer, as often as it takes. */
  #retry(request: SubmitInput, submitted: Submitted): void {
    const { world, random, later, count } = this.#deps;
    later(RETRY_AFTER_MS, () => {
      const isKnown = submitted.outcome === 'acknowledged' || submitted.outcome === 'existing';
      // Some never hear the answer.
      const { repeats } = this.#deps.options;
      if (isKnown && (repeats === 0 || randomBelow(this.#rare, 100) >= repeats)) return;
      const i = pick(random, this.#up());
      if (i === undefined) return;
      count('retried');
      world.submitAgain(i, request, submitted);
    });
  }

  /** A client that forgot with a crash of its own what it was told. */
  #repeat(i: number): void {
    const again = pick(this.#rare, this.#reserved.slice(-REPEATED_MAX));
    if (again !== undefined) this.#deps.world.submitAgain(i, again.request, again.submitted);
    for (const { id, outcome } of this.#deps.world.submits.slice(-REREAD_MAX))
      if (id !== undefined && outcome === 'acknowledged') this.reads.get(i, id);
  }

  #readSome(): void {
    const i = pick(this.#extra, this.#up());
    const id = pick(this.#extra, this.acknowledged())?.id;
    const what = randomBelow(this.#extra, 6);
    if (i === undefined || id === undefined) return;
    if (what === 0) this.reads.list(i);
    else this.reads.get(i, id);
    this.#deps.count(what === 0 ? 'lists' : 'reads');
  }

  /** A local program at the control socket of some daemon. */
  ask(name: RequestName = drawRequest(this.#programs), at?: number): void {
    const { world } = this.#deps;
    const random = this.#programs;
    const { hosts } = world;
    const served = [...hosts.keys()].filter((host) => hosts[host]?.peer !== undefined);
    const i = at ?? pick(random, served);
    if (i === undefined || !served.includes(i)) return;
    const unknownId = this.#unknownId();
    const client = this.#connect(i);
    this.#deps.count('requests');
    world.trace.add('program', [i, name]);
    const visit = {
      client,
      random,
      id: pick(random, this.acknowledged())?.id ?? unknownId,
      unknownId,
      // Where ids are forgotten within the hour in which they may be used, another request may get one.
      isWhole: world.isWhole() && this.#deps.options.ttlMs === 0,
      connect: () => this.#connect(i),
    };
    void REQUESTS[name].run(visit).then(() => client.end());
  }

  #connect(i: number): SocketClient {
    const { clock, sightings, hosts } = this.#deps.world;
    return new SocketClient({
      clock,
      sightings,
      connect: (handlers) => hosts[i]?.connect(handlers),
    });
  }

  #unknownId(): string {
    const { world } = this.#deps;
    const createdMs = Math.floor(world.clock.wallMs());
    return encodeTaskId({ createdMs, random: toHex(this.#programs.bytes(6)), fingerprints: [] });
  }

  acknowledged(): Submitted[] {
    return this.#deps.world.submits.filter((item) => item.outcome === 'acknowledged');
  }

  wait(): void {
    const submitted = pick(this.#deps.random, this.acknowledged());
    if (submitted !== undefined) this.#waitFor(submitted);
  }

  #waitFor({ id }: Submitted): void {
    const i = pick(this.#deps.random, this.#up());
    if (i !== undefined && id !== undefined) this.#deps.world.wait(i, id);
  }

  cancel(): void {
    const submitted = pick(this.#deps.random, this.acknowledged());
    const i = pick(this.#deps.random, this.#up());
    if (submitted !== undefined && i !== undefined) this.#deps.world.cancel(i, submitted);
  }
}
