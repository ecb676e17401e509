/** The clients of a story: they submit, wait, cancel and read through random peers, and ask again when nobody answers. */
import type { SubmitInput } from '../api/task.ts';
import { type Random, randomBelow } from '../base/random.ts';
import { argvOf } from './commands.ts';
import type { Submitted } from './evidence.ts';
import { between, pick, type ScenarioOptions } from './options.ts';
import { WORKER_TYPE } from './sim-worker.ts';
import type { World } from './world.ts';

const RETRY_AFTER_MS = 6_000;

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

  constructor(deps: ClientDeps) {
    this.#deps = deps;
  }

  /** Hosts whose daemon runs and answers, by number. */
  #up(): number[] {
    return this.#deps.world.hosts.flatMap((host, i) =>
      host.state === 'up' && !host.isFrozen ? [i] : [],
    );
  }

  #drawTask(): { input: SubmitInput; about: Pick<Submitted, 'kind' | 'attempts' | 'failures'> } {
    const { random, options } = this.#deps;
    const durationMs = randomBelow(random, options.taskMsMax);
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
    if (options.workers > 0 && randomBelow(random, 4) === 0) {
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

  submit(): void {
    const { world, random, later } = this.#deps;
    const i = pick(random, this.#up());
    const { input, about } = this.#drawTask();
    const isReserved = randomBelow(random, 3) === 0;
    if (i === undefined) return;
    const id = isReserved ? world.peer(i).tasks.submitter.reserve(1).ids[0] : undefined;
    const request = id === undefined ? input : { ...input, id };
    const submitted = world.submit(i, request, about);
    if (id !== undefined) this.#retry(request, submitted);
    if (randomBelow(random, 4) === 0) later(100, () => this.#waitFor(submitted));
  }

  /** A client that reserved its id and hears nothing asks another peer, as often as it takes. */
  #retry(request: SubmitInput, submitted: Submitted): void {
    const { world, random, later, count } = this.#deps;
    later(RETRY_AFTER_MS, () => {
      if (submitted.outcome === 'acknowledged') return;
      const i = pick(random, this.#up());
      if (i === undefined) return;
      count('retried');
      world.submitAgain(i, request, submitted);
    });
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
