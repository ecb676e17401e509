/**
 * Attempts of worker programs over the restart of their daemon: announced as held before an orderly stop, resumed
 * at the next boot if the owner still counts on them, else kept as orphans. Messages: `run.hold`, `run.resume`.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Execution, RunHandlers, RunRequest } from '../executors/executor.ts';
import { type Clock, sleep } from '../ports/clock.ts';
import { homeOf } from '../records/record.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Messaging } from '../wire/messaging.ts';
import { atHome } from './at-home.ts';
import type { Attempts } from './attempts.ts';
import type { EndFact, StartFact } from './facts.ts';
import type { MeshView } from './mesh-view.ts';
import { orderOf } from './order.ts';
import type { Owner } from './owner.ts';
import type { Reader } from './reader.ts';
import type { Runner } from './runner.ts';
import { attemptByRun, isOpen, taskOf } from './task.ts';

/**
 * How long the owner of an attempt is looked for: right after its start a daemon sees nobody yet, and who was handed
 * the task may still be reading. Longer than both patiences, shorter than the hold.
 */
const RESUME_PATIENCE_MS = 15_000;
const RESUME_RETRY_MS = 100;

type Attach = (request: RunRequest, handlers: RunHandlers) => Execution | undefined;

export interface ResumeDeps {
  readonly clock: Clock;
  readonly messaging: Messaging;
  readonly view: MeshView;
  readonly reader: Reader;
  readonly runner: Runner;
  readonly owner: Owner;
  readonly attempts: Attempts;
}

type LateWord = Omit<EndFact, 't' | 'n' | 'run_id' | 'at'>;

export class Resumption {
  readonly #deps: ResumeDeps;

  constructor(deps: ResumeDeps) {
    this.#deps = deps;
    deps.messaging.onRequest('run.hold', (_from, body) => this.#onHold(body));
    deps.messaging.onRequest('run.resume', (_from, body) => this.#onResume(body));
  }

  /** Tells the owners that these attempts may be resumed within `holdMs`. */
  async holdWorkers(holdMs: number): Promise<void> {
    const held = this.#deps.runner.runs().filter((run) => run.worker);
    await Promise.all(
      held.map((run) =>
        atHome(this.#deps, run.home, run.ownerStore, 'run.hold', {
          id: run.id,
          run_id: run.runId,
          ms: holdMs,
        }),
      ),
    );
  }

  async #onHold(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, run_id: runId, ms } = body;
    if (typeof id !== 'string' || typeof runId !== 'string' || typeof ms !== 'number') {
      return err(coveyError('INVALID_PARAMS', { why: 'run.hold is malformed' }));
    }
    const at = this.#deps.clock.wallMs();
    const noted = await this.#deps.attempts.note(id, (task) => {
      const attempt = attemptByRun(task, runId);
      return attempt === undefined || !isOpen(attempt)
        ? undefined
        : { t: 'hold', run_id: runId, ms, at };
    });
    return noted ? ok({}) : err(coveyError('NOT_FOUND', { what: `task ${id}` }));
  }

  async #onResume(body: WireMap): Promise<Result<WireMap, CoveyError>> {
    const { id, run_id: runId, boot } = body;
    if (typeof id !== 'string' || typeof runId !== 'string' || typeof boot !== 'number') {
      return err(coveyError('INVALID_PARAMS', { why: 'run.resume is malformed' }));
    }
    if (!this.#deps.owner.owns(id))
      return err(coveyError('NOT_FOUND', { what: `the owner of ${id}` }));
    let keep = false;
    // Before the write, not after it: as soon as the fact is visible the watch would ask the runner, which has not
    // attached the worker yet, and take its "unknown" for an end.
    this.#deps.owner.heard(id, runId);
    const at = this.#deps.clock.wallMs();
    const noted = await this.#deps.attempts.note(id, (task) => {
      const attempt = attemptByRun(task, runId);
      keep = attempt !== undefined && isOpen(attempt) && task.final === undefined;
      return keep ? { t: 'resume', run_id: runId, boot, at } : undefined;
    });
    return ok({ keep: keep && noted });
  }

  /** Asks the owner whether a worker may go on; attaches it if so. No answer is not a refusal. */
  async resumeRun(id: string, attempt: number, attach: Attach): Promise<boolean> {
    const { clock } = this.#deps;
    const until = clock.nowMs() + RESUME_PATIENCE_MS;
    for (;;) {
      const verdict = await this.#tryResume(id, attempt, attach);
      if (verdict !== 'unheard') return verdict === 'kept';
      if (clock.nowMs() >= until) return false;
      await sleep(clock, RESUME_RETRY_MS);
    }
  }

  async #tryResume(
    id: string,
    attempt: number,
    attach: Attach,
  ): Promise<'kept' | 'stale' | 'unheard'> {
    const { view, reader, runner } = this.#deps;
    const found = await reader.find(id, true);
    if (found === undefined) return 'unheard';
    const task = taskOf(found.record);
    const self = view.self();
    const mine = task.attempts.filter(
      (item) => item.start.n === attempt && item.start.runner === self.peerId,
    );
    const open = mine.find(isOpen);
    const fact = found.record.facts.find(
      (item) => item.value.t === 'start' && item.value.run_id === open?.start.run_id,
    );
    if (open === undefined || fact === undefined)
      return mine.length === 0 && task.final === undefined ? 'unheard' : 'stale';
    const home = homeOf(found.record);
    const body = { id, run_id: open.start.run_id, boot: self.bootCount };
    const answer = await atHome(this.#deps, home, open.owner, 'run.resume', body);
    if (answer === undefined) return 'unheard';
    if (answer.keep !== true) return 'stale';
    const start = fact.value as unknown as StartFact;
    const order = {
      ...orderOf({ record: found.record, start, fact }, open.owner, undefined),
      blob: found.extras.blob ?? {},
    };
    return runner.resume(order, (handlers) => attach(order, handlers)) ? 'kept' : 'stale';
  }

  /**
   * A worker's late word about an attempt that it no longer holds: kept as an orphan at the home. Right after a start
   * that home may not be in sight yet, so it is tried for as long as a resume would be. False: it is still to be kept
   * there, and whoever brought it must not forget it. A task that nobody knows any more keeps nothing.
   */
  async orphan(id: string, attempt: number, late: LateWord): Promise<boolean> {
    const { clock, runner } = this.#deps;
    const until = clock.nowMs() + RESUME_PATIENCE_MS;
    for (;;) {
      const fate = await this.#tryOrphan(id, attempt, late);
      if (fate === 'kept') return true;
      if (!runner.takesEnds) return false;
      if (clock.nowMs() >= until) return fate === 'unknown';
      await sleep(clock, RESUME_RETRY_MS);
    }
  }

  async #tryOrphan(
    id: string,
    attempt: number,
    late: LateWord,
  ): Promise<'kept' | 'not kept' | 'unknown'> {
    // Nobody knows it only if somebody was asked: cut off from its home this peer has found nothing either.
    const read = await this.#deps.reader.findFrom(id, false, 1);
    if (!read.ok) return 'not kept';
    const found = read.value;
    if (found === undefined) return 'unknown';
    const { start } = taskOf(found.record).attempts.find((item) => item.start.n === attempt) ?? {};
    if (start === undefined) return 'unknown';
    const at = this.#deps.clock.wallMs();
    const full: EndFact = { t: 'end', n: attempt, run_id: start.run_id, at, ...late };
    const body = { id, end: { ...full } };
    const answer = await atHome(this.#deps, homeOf(found.record), '', 'run.done', body);
    return answer?.taken === true ? 'kept' : 'not kept';
  }
}
