/**
 * The clients of a chaos run: each submits a task under a reserved id through a random peer, and again through others
 * until it knows the outcome; cancels, waits and reads go through random peers, dead ones included.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TaskView } from '../api/task.ts';
import { randomBelow, SeededRandom } from '../base/random.ts';
import { finalOf, type Submit, type ToldFinal } from './chaos-evidence.ts';
import { between, pick } from './chaos-options.ts';
import { execOf, type ProgramWish, uptimeMs, WORKER_TYPE } from './chaos-work.ts';
import type { TestNetwork } from './testnet.ts';

/** Tasks on their way at once, and between two submits: what two cores carry beside five daemons. */
const UNDER_WAY_MAX = 120;
const SUBMIT_EVERY_MS = { min: 40, max: 200 };
const IDS_AT_ONCE = 20;
/** A block is used up well before its ids expire. */
const IDS_KEPT_MS = 60_000;
const CALL_MS = 4_000;
const AGAIN_MS = { min: 200, max: 1_500 };
const WAIT_MS = 3_000;
const READ_LATER_MS = 3_000;
const PROGRAM_MS = { min: 20, max: 2_500 };
/** Deaths of daemons are what the run is made of: no task shall end by their number. */
const LOSSES_MAX = 100;
/** Answers to a submit after which the same request cannot succeed. */
const REFUSALS: ReadonlySet<string> = new Set([
  'ID_EXPIRED',
  'ID_CONFLICT',
  'INVALID_PARAMS',
  'PAYLOAD_TOO_LARGE',
]);

export class ChaosLoad {
  readonly submits: Submit[] = [];
  readonly told: ToldFinal[] = [];
  /** Error codes that clients met, by method. */
  readonly refusals = new Map<string, number>();
  readonly #network: TestNetwork;
  readonly #dir: string;
  readonly #random: SeededRandom;
  readonly #underWay = new Set<Promise<void>>();
  /** Nothing is asked any more. */
  readonly #ended = new AbortController();
  #ids: { readonly ids: string[]; readonly untilMs: number } = { ids: [], untilMs: 0 };

  constructor(network: TestNetwork, dir: string, seed: string) {
    this.#network = network;
    this.#dir = dir;
    this.#random = new SeededRandom(`load ${seed}`);
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  /** Submits until the signal; what is under way goes on. */
  async run(until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      if (this.#underWay.size < UNDER_WAY_MAX) {
        const one = this.#one().finally(() => this.#underWay.delete(one));
        this.#underWay.add(one);
      }
      await delay(between(this.#random, SUBMIT_EVERY_MS.min, SUBMIT_EVERY_MS.max));
    }
  }

  async end(): Promise<void> {
    this.#ended.abort();
    await Promise.all(this.#underWay);
  }

  async #one(): Promise<void> {
    const random = this.#random;
    const isExec = randomBelow(random, 2) === 0;
    const roll = randomBelow(random, 20);
    // Most succeed at once, some at the second attempt, a few never.
    const fails = roll === 0 ? LOSSES_MAX * 2 : roll <= 3 ? 1 : 0;
    const attempts = fails === 0 ? 1 : 2;
    const wish = { durationMs: between(random, PROGRAM_MS.min, PROGRAM_MS.max), fails };
    const isCanceled = randomBelow(random, 15) === 0;
    const isReadLater = randomBelow(random, 3) === 0;
    const id = await this.#takeId();
    if (id === undefined) return;
    const submit: Submit = {
      ...{ id, kind: isExec ? 'exec' : 'worker', attempts, fails },
      ...{ outcome: 'open', tries: 0, detail: '', cancelSent: false },
      ...{ acknowledgedMs: undefined, storedOn: [], required: 0 },
    };
    this.submits.push(submit);
    await this.#submit(submit, wish);
    if (submit.outcome !== 'acknowledged') return;
    if (isCanceled) await this.#cancel(submit);
    await this.#waitFor(submit.id);
    if (!isReadLater) return;
    await this.#pause(READ_LATER_MS);
    await this.#read(submit.id);
  }

  async #takeId(): Promise<string | undefined> {
    while (!this.#ended.signal.aborted) {
      const id = performance.now() < this.#ids.untilMs ? this.#ids.ids.pop() : undefined;
      if (id !== undefined) return id;
      const reserved = await this.#call('ids.reserve', (index) =>
        this.#network.call(index, 'ids.reserve', { n: IDS_AT_ONCE }, CALL_MS),
      );
      if (reserved.ok) {
        this.#ids = { ids: [...reserved.value.ids], untilMs: performance.now() + IDS_KEPT_MS };
      } else {
        await this.#pauseBeforeAgain();
      }
    }
    return undefined;
  }

  async #submit(submit: Submit, wish: ProgramWish): Promise<void> {
    const { id, kind, attempts } = submit;
    const program =
      kind === 'exec'
        ? { exec: execOf(this.#dir, wish) }
        : { type: WORKER_TYPE, payload: { durationMs: wish.durationMs, fails: wish.fails } };
    const params = { id, attempts, losses_max: LOSSES_MAX, ...program };
    while (!this.#ended.signal.aborted) {
      submit.tries += 1;
      const answer = await this.#call('task.submit', (index) =>
        this.#network.call(index, 'task.submit', params, CALL_MS),
      );
      if (answer.ok) {
        submit.outcome = 'acknowledged';
        submit.acknowledgedMs = uptimeMs();
        submit.storedOn = [...answer.value.stored_on, ...answer.value.stand_ins];
        submit.required = answer.value.required;
        return;
      }
      submit.detail = `${answer.error.code}: ${answer.error.message}`;
      if (REFUSALS.has(answer.error.code)) {
        submit.outcome = 'refused';
        return;
      }
      await this.#pauseBeforeAgain();
    }
  }

  async #cancel(submit: Submit): Promise<void> {
    await this.#pause(between(this.#random, 0, 2_000));
    submit.cancelSent = true;
    // Its outcome is left open: whether it came in time is for the mesh to say.
    await this.#call('task.cancel', (index) =>
      this.#network.call(index, 'task.cancel', { id: submit.id }, CALL_MS),
    );
  }

  async #waitFor(id: string): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const params = { ids: [id], timeout_ms: WAIT_MS };
      const answer = await this.#call('task.wait', (index) =>
        this.#network.call(index, 'task.wait', params, WAIT_MS + CALL_MS),
      );
      const view = answer.ok ? answer.value.done[0] : undefined;
      if (view !== undefined) {
        this.#note(view, answer.peer);
        return;
      }
      if (!answer.ok) await this.#pauseBeforeAgain();
    }
  }

  async #read(id: string): Promise<void> {
    const answer = await this.#call('task.get', (index) =>
      this.#network.call(index, 'task.get', { id }, CALL_MS),
    );
    if (answer.ok) this.#note(answer.value, answer.peer);
  }

  #note(view: TaskView, index: number): void {
    const final = finalOf(view);
    const peer = this.#network.identity(index).name;
    if (final !== undefined) this.told.push({ atMs: uptimeMs(), peer, id: view.id, final });
  }

  /** Through a random peer, which may be dead, frozen or cut off. */
  async #call<R extends { readonly ok: boolean }>(
    method: string,
    ask: (index: number) => Promise<R>,
  ): Promise<R & { readonly peer: number }> {
    const peer = pick(this.#random, this.#network.indices) ?? 1;
    const answer = await ask(peer);
    if (!answer.ok && 'error' in answer) {
      const { code } = answer.error as { readonly code: string };
      const key = `${method} ${code}`;
      this.refusals.set(key, (this.refusals.get(key) ?? 0) + 1);
    }
    return { ...answer, peer };
  }

  #pauseBeforeAgain(): Promise<void> {
    return this.#pause(between(this.#random, AGAIN_MS.min, AGAIN_MS.max));
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#ended.signal }).catch(() => undefined);
  }
}
