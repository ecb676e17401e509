/**
 * The loops of one `covey xargs`: submit up to the window, wait for any of what is out, hand results to the writer.
 *
 * Every task has an id that was reserved before it was sent, and keeps its request until it is final. So a lost
 * answer, a restart of the daemon or a reconnect is met in one way: the same request again under the same id.
 */
import { BULK_MAX } from '../../api/limits.ts';
import type { MethodResult } from '../../api/methods.ts';
import { isFinalState, type SubmitInput, type TaskView } from '../../api/task.ts';
import type { RpcFailure } from '../../client/types.ts';
import { isPassing, type Mesh, PATIENCE_MS } from '../mesh.ts';
import type { Gate } from './gate.ts';
import { IdPool } from './ids.ts';
import type { InputQueue } from './input.ts';
import type { Ending, Finished, Job } from './job.ts';
import * as limits from './limits.ts';
import { askDefaultJobs } from './slots.ts';
import type { Work } from './source.ts';
import type { Writer } from './writer.ts';

export interface EngineOptions {
  /** Undefined: twice the slots of the mesh. */
  readonly jobs: number | undefined;
  readonly keepOrder: boolean;
  readonly requestOf: (work: Exclude<Work, { kind: 'refused' }>) => SubmitInput;
  /** An earlier run has done it. */
  readonly isDone: (index: number) => boolean;
  /** The run is about to be halted: from the moment at which it was reached nothing is begun. */
  readonly isEnding: () => boolean;
  /** Called as soon as it is over, not when its turn to be printed comes. */
  readonly onFinished: (finished: Finished) => void;
}

type Stop =
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'halted' }
  | { readonly kind: 'failed'; readonly failure: RpcFailure };
type Receipts = MethodResult<'task.submit_bulk'>['receipts'];

export class Engine {
  readonly #mesh: Mesh;
  readonly #input: InputQueue;
  readonly #writer: Writer;
  readonly #options: EngineOptions;
  readonly #gate: Gate;
  readonly #ids: IdPool;
  /** Submitted or about to be, and not yet final; by id. */
  readonly #outstanding = new Map<string, Job>();
  #outstandingBytes = 0;
  /** Acknowledged and in no open wait. */
  readonly #unwatched = new Set<string>();
  readonly #watched = new Set<string>();
  /** To be sent once more. */
  readonly #again = new Set<Job>();
  #waits = 0;
  #waitIdsMax = BULK_MAX;
  #nextIndex = 0;
  #window: number;
  #stop: Stop | undefined;
  #submitting = false;
  #submitsFailSince: number | undefined;
  #done = 0;

  constructor(mesh: Mesh, input: InputQueue, writer: Writer, gate: Gate, options: EngineOptions) {
    this.#mesh = mesh;
    this.#input = input;
    this.#writer = writer;
    this.#gate = gate;
    this.#options = options;
    this.#ids = new IdPool(mesh);
    this.#window = options.jobs ?? 0;
    mesh.onReconnect(() => this.#sendAllAgain());
  }

  get window(): number {
    return this.#window;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get stop(): Stop | undefined {
    return this.#stop;
  }

  /** Settles when everything is final and handed to the writer, or after a stop. */
  async run(): Promise<void> {
    if (this.#options.jobs === undefined) {
      const jobs = await askDefaultJobs(this.#mesh);
      if (!jobs.ok) return this.#fail(jobs.error);
      this.#window = jobs.value;
      void this.#followSlots();
    }
    await this.#submitLoop();
  }

  /** No more submits; what is out is canceled. Settles when all of it is final. */
  interrupt(): Promise<void> {
    return this.#windUp({ kind: 'interrupted' }, async () => true);
  }

  /** The same as asked for by --halt. soon: what runs already is waited for. */
  halt(when: 'soon' | 'now'): Promise<void> {
    return this.#windUp({ kind: 'halted' }, (id) =>
      when === 'now' ? Promise.resolve(true) : this.#isWaiting(id),
    );
  }

  async #windUp(stop: Stop, isToEnd: (id: string) => Promise<boolean>): Promise<void> {
    this.#stop ??= stop;
    this.#input.stop();
    this.#gate.wake();
    while (this.#submitting) await this.#gate.wait();
    for (const job of this.#again) if (!job.sent) this.#forget(job);
    this.#again.clear();
    const ids = [...this.#outstanding.keys()];
    for (let from = 0; from < ids.length; from += limits.CANCELS_MAX) {
      const some = ids.slice(from, from + limits.CANCELS_MAX).map(async (id) => {
        if (await isToEnd(id)) await this.#cancel(id, stop.kind);
      });
      await Promise.all(some);
    }
    for (const id of this.#outstanding.keys()) if (!this.#watched.has(id)) this.#unwatched.add(id);
    while (this.#outstanding.size > 0) {
      this.#watch();
      await this.#gate.wait();
    }
  }

  /** Not started; what cannot be said of it is taken for running. */
  async #isWaiting(id: string): Promise<boolean> {
    const answer = await this.#mesh.call('task.get', { id });
    return answer.ok && (answer.value.state === 'waiting' || answer.value.state === 'delayed');
  }

  async #cancel(id: string, why: string): Promise<void> {
    const answer = await this.#mesh.call(
      'task.cancel',
      { id, reason: `covey xargs was ${why}` },
      { patienceMs: limits.CANCEL_PATIENCE_MS / 2 },
    );
    const job = this.#outstanding.get(id);
    // Unknown: it never arrived.
    if (!answer.ok && answer.error.code === 'NOT_FOUND' && job !== undefined) this.#forget(job);
  }

  #forget(job: Job): void {
    if (this.#outstanding.delete(job.id)) this.#outstandingBytes -= job.requestBytes;
    this.#unwatched.delete(job.id);
    this.#again.delete(job);
    this.#gate.wake();
  }

  /** Nothing more is begun, for a reason outside of the mesh. */
  giveUp(message: string): void {
    this.#fail({ code: 'GAVE_UP', message, retryable: false });
  }

  #fail(failure: RpcFailure): void {
    this.#stop ??= { kind: 'failed', failure };
    this.#input.stop();
    this.#gate.wake();
  }

  async #followSlots(): Promise<void> {
    while (this.#stop === undefined && !this.#isOver() && !this.#mesh.closed) {
      await this.#mesh.sleep(limits.SLOTS_POLL_MS);
      const jobs = await askDefaultJobs(this.#mesh);
      if (jobs.ok && jobs.value !== this.#window) {
        this.#window = jobs.value;
        this.#gate.wake();
      }
    }
  }

  #isOver(): boolean {
    return (
      this.#input.ended &&
      this.#input.size === 0 &&
      this.#outstanding.size === 0 &&
      this.#again.size === 0
    );
  }

  async #submitLoop(): Promise<void> {
    while (this.#stop === undefined) {
      const { version } = this.#gate;
      this.#watch();
      if (this.#input.failure !== undefined) {
        this.#fail({ code: 'INPUT', message: `stdin: ${this.#input.failure}`, retryable: false });
        return;
      }
      // Set before the first await, so that an interrupt in between waits for what is being sent.
      this.#submitting = true;
      const sent = await this.#submitSome();
      this.#submitting = false;
      if (this.#stop !== undefined) this.#gate.wake();
      if (this.#isOver()) return;
      if (!sent && this.#stop === undefined) await this.#gate.wait(version);
    }
  }

  /** False when there was nothing to send or no room. */
  async #submitSome(): Promise<boolean> {
    if (this.#options.isEnding()) return false;
    const again = this.#takeAgain();
    const jobs = again.length > 0 ? again : await this.#takeNew();
    if (jobs.length === 0) return false;
    for (const job of jobs) job.sent = true;
    const answer = await this.#mesh.call('task.submit_bulk', {
      tasks: jobs.map((job) => job.request),
    });
    if (!answer.ok) {
      this.#fail(answer.error);
      return false;
    }
    if (this.#applyReceipts(jobs, answer.value.receipts)) {
      await this.#mesh.sleep(limits.REFUSED_DELAY_MS);
    }
    return true;
  }

  #takeAgain(): Job[] {
    const jobs: Job[] = [];
    let bytes = 0;
    for (const job of this.#again) {
      if (jobs.length >= BULK_MAX) break;
      if (jobs.length > 0 && bytes + job.requestBytes > limits.SUBMIT_BYTES_MAX) break;
      jobs.push(job);
      bytes += job.requestBytes;
    }
    for (const job of jobs) this.#again.delete(job);
    return jobs;
  }

  async #takeNew(): Promise<Job[]> {
    const drafts: Pick<Job, 'index' | 'work' | 'request' | 'requestBytes'>[] = [];
    let bytes = 0;
    while (drafts.length < BULK_MAX && this.#hasRoom(drafts.length, bytes)) {
      const work = this.#input.take();
      if (work === undefined) break;
      const index = this.#nextIndex++;
      if (this.#options.isDone(index)) {
        this.#finish(index, work, { kind: 'skipped' });
        continue;
      }
      if (work.kind === 'refused') {
        this.#finish(index, work, { kind: 'refused', id: undefined, why: work.why });
        continue;
      }
      const request = this.#options.requestOf(work);
      const requestBytes = Buffer.byteLength(JSON.stringify(request)) + 64;
      drafts.push({ index, work, request, requestBytes });
      bytes += requestBytes;
      // The next piece of a --pipe may be 1.4 MiB: above 2 MiB it would not fit into the line of 4 MiB.
      if (bytes >= limits.SUBMIT_BYTES_MAX) break;
    }
    if (drafts.length === 0) return [];
    const ids = await this.#ids.take(drafts.length);
    if (!ids.ok) {
      this.#fail(ids.error);
      return [];
    }
    const jobs = drafts.map((draft, at): Job => {
      const id = ids.value[at] ?? '';
      return { ...draft, id, request: { ...draft.request, id }, sent: false };
    });
    for (const job of jobs) {
      this.#outstanding.set(job.id, job);
      this.#outstandingBytes += job.requestBytes;
    }
    return jobs;
  }

  #hasRoom(drafts: number, draftBytes: number): boolean {
    if (this.#outstanding.size + drafts >= this.#window) return false;
    const bytes = this.#outstandingBytes + draftBytes;
    if (bytes > 0 && bytes >= limits.OUTSTANDING_BYTES_MAX) return false;
    if (this.#writer.waitingBytes >= limits.RESULT_BYTES_WAITING_MAX) return false;
    return !this.#options.keepOrder || this.#nextIndex - this.#writer.next < limits.KEEP_SPAN_MAX;
  }

  /** True when some were refused for the moment. */
  #applyReceipts(jobs: readonly Job[], receipts: Receipts): boolean {
    let refused: RpcFailure | undefined;
    for (const [at, job] of jobs.entries()) {
      if (!this.#outstanding.has(job.id)) continue;
      const receipt = receipts[at];
      if (receipt === undefined || !('error' in receipt)) {
        this.#submitsFailSince = undefined;
        if (!this.#watched.has(job.id)) this.#unwatched.add(job.id);
        continue;
      }
      const { message, data } = receipt.error;
      const failure: RpcFailure = { code: data.code, message, retryable: data.retryable };
      if (isPassing(failure)) {
        refused = failure;
        this.#again.add(job);
      } else {
        this.#forget(job);
        this.#finish(job.index, job.work, { kind: 'refused', id: job.id, why: message });
      }
    }
    if (refused === undefined) return false;
    this.#submitsFailSince ??= performance.now();
    if (performance.now() - this.#submitsFailSince > PATIENCE_MS) this.#fail(refused);
    return true;
  }

  #sendAllAgain(): void {
    if (this.#stop !== undefined) return;
    for (const job of this.#outstanding.values()) if (job.sent) this.#again.add(job);
    this.#gate.wake();
  }

  #watch(): void {
    while (
      this.#unwatched.size > 0 &&
      this.#waits < limits.WAITS_MAX &&
      this.#writer.waitingBytes < limits.RESULT_BYTES_WAITING_MAX
    ) {
      const ids: string[] = [];
      for (const id of this.#unwatched) {
        if (ids.length >= this.#waitIdsMax) break;
        ids.push(id);
      }
      for (const id of ids) {
        this.#unwatched.delete(id);
        this.#watched.add(id);
      }
      void this.#waitFor(ids);
    }
  }

  async #waitFor(ids: readonly string[]): Promise<void> {
    this.#waits++;
    const timeoutMs = this.#waits > limits.WAITS_MAX / 2 ? limits.WAIT_BUSY_MS : limits.WAIT_MS;
    const answer = await this.#mesh.call(
      'task.wait',
      { ids: [...ids], timeout_ms: timeoutMs, any: true },
      { daemonMs: timeoutMs },
    );
    this.#waits--;
    if (this.#mesh.closed) return;
    for (const id of ids) this.#watched.delete(id);
    if (answer.ok) for (const task of answer.value.done) this.#finishTask(task);
    else if (answer.error.code === 'PAYLOAD_TOO_LARGE' && ids.length > 1) {
      // A daemon that does not cut its answer: fewer outputs fit.
      this.#waitIdsMax = Math.ceil(ids.length / 2);
    } else if (answer.error.code !== 'NOT_FOUND') this.#fail(answer.error);
    if (!answer.ok) await this.#mesh.sleep(limits.REFUSED_DELAY_MS);
    for (const id of ids) {
      const job = this.#outstanding.get(id);
      if (job === undefined) continue;
      // Nobody knows one of them, perhaps of a store that was wiped: the same request again makes it known.
      const unknown = !answer.ok && answer.error.code === 'NOT_FOUND';
      if (unknown && this.#stop === undefined) this.#again.add(job);
      else this.#unwatched.add(id);
    }
    this.#gate.wake();
  }

  #finishTask(task: TaskView): void {
    const job = this.#outstanding.get(task.id);
    if (job === undefined || !isFinalState(task.state)) return;
    this.#forget(job);
    this.#finish(job.index, job.work, { kind: 'task', task, outputDropped: false });
  }

  #finish(index: number, work: Work, ending: Ending): void {
    this.#done++;
    const finished: Finished = { index, work, ending };
    this.#options.onFinished(finished);
    this.#writer.put(finished);
    this.#gate.wake();
  }

  get done(): number {
    return this.#done;
  }
}
