/** The `worker.*` methods: a control connection becomes a worker program's lease. */
import * as limits from '../api/limits.ts';
import type { MethodParams } from '../api/methods.ts';
import { type CoveyError, coveyError } from '../base/errors.ts';
import { utf8 } from '../base/hash.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { RunOutcome } from '../executors/executor.ts';
import { WORKER_RENEW_MS, type WorkerLink, type WorkerTypes } from '../executors/worker.ts';
import type { Peer } from '../peer/peer.ts';
import type { WireValue } from '../wire/codec.ts';
import type { ControlBackend, Session } from './backend.ts';
import { idOf } from './methods-task.ts';

type WorkerMethods = Pick<
  ControlBackend,
  | 'worker.register'
  | 'worker.complete'
  | 'worker.fail'
  | 'worker.progress'
  | 'worker.renew'
  | 'worker.resume'
  | 'worker.unregister'
>;

export class WorkerMethodsImpl {
  readonly #peer: Peer;
  /** Session → worker id. */
  readonly #workers = new Map<string, string>();

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  readonly methods: WorkerMethods = {
    'worker.register': async (params, session) => {
      const registered = this.#register(session, params.types, params.name ?? session.id);
      return registered.ok
        ? ok({ worker_id: registered.value, lease_ms: WORKER_RENEW_MS * 3 })
        : registered;
    },
    'worker.complete': async (params, session) => {
      const text = params.result === undefined ? undefined : JSON.stringify(params.result);
      const bytes = text === undefined ? 0 : utf8(text).length;
      if (bytes > limits.RESULT_BYTES_MAX) {
        return err(
          coveyError('PAYLOAD_TOO_LARGE', {
            what: 'The result',
            bytes,
            limit_bytes: limits.RESULT_BYTES_MAX,
          }),
        );
      }
      return this.#finish(session, params, {
        out: 'completed',
        ...(text === undefined ? {} : { res: text }),
      });
    },
    'worker.fail': async (params, session) =>
      this.#finish(session, params, {
        out: 'failed',
        err: params.error.message,
        code: 'error',
        retryable: params.error.retryable,
      }),
    'worker.progress': async (params, session) => {
      const bytes = utf8(JSON.stringify(params.progress ?? null)).length;
      if (bytes > limits.PROGRESS_BYTES_MAX) {
        return err(
          coveyError('PAYLOAD_TOO_LARGE', {
            what: 'Progress',
            bytes,
            limit_bytes: limits.PROGRESS_BYTES_MAX,
          }),
        );
      }
      const worker = this.#workerOf(session);
      if (!worker.ok) return worker;
      const id = idOf(params.id);
      if (!id.ok) return id;
      const progress = (params.progress ?? null) as WireValue;
      const held = this.#peer.workers.progress(worker.value, id.value, params.attempt, progress);
      return held
        ? ok({})
        : err(coveyError('STALE_ATTEMPT', { id: id.value, attempt: params.attempt }));
    },
    'worker.renew': async (params, session) => {
      const worker = this.#workerOf(session);
      if (!worker.ok) return worker;
      return ok({ stale: params.ids.filter((id) => !this.#peer.workers.holds(worker.value, id)) });
    },
    'worker.resume': async (params, session) => this.#resume(params, session),
    'worker.unregister': async (_params, session) => {
      const worker = this.#workerOf(session);
      if (!worker.ok) return worker;
      this.#peer.workers.unregister(worker.value);
      return ok({});
    },
  };

  #workerOf(session: Session): Result<string, CoveyError> {
    const id = this.#workers.get(session.id);
    return id === undefined ? err(coveyError('NOT_REGISTERED')) : ok(id);
  }

  /** Tasks must not overtake the answer that names the worker. */
  #afterAnswer(offer: () => void): void {
    this.#peer.ports.clock.after(0, offer);
  }

  #register(
    session: Session,
    types: readonly WorkerTypes[],
    name: string,
    later: (offer: () => void) => void = (offer) => this.#afterAnswer(offer),
  ): Result<string, CoveyError> {
    if (this.#peer.tasks.isStopping) return err(coveyError('STOPPING'));
    if (this.#workers.has(session.id)) {
      const why =
        'this connection is a worker already; register all types at once, or open another';
      return err(coveyError('INVALID_PARAMS', { why }));
    }
    const registered = this.#peer.workers.register(linkOf(session), types, name, later);
    if (!registered.ok) return registered;
    this.#workers.set(session.id, registered.value);
    session.onDrained(() => this.#peer.workers.drained(registered.value));
    session.onClosed(() => {
      this.#workers.delete(session.id);
      this.#peer.workers.gone(registered.value, this.#peer.tasks.isStopping);
    });
    return registered;
  }

  async #finish(
    session: Session,
    params: { id: string; attempt: number },
    outcome: RunOutcome,
  ): Promise<Result<{ accepted: boolean }, CoveyError>> {
    const worker = this.#workerOf(session);
    if (!worker.ok) return worker;
    const id = idOf(params.id);
    if (!id.ok) return id;
    // It could not be brought home any more: the worker keeps it, and delivers it at the next boot.
    if (!this.#peer.tasks.runner.takesEnds) return err(coveyError('STOPPING'));
    const held = this.#peer.workers.finish(worker.value, id.value, params.attempt, outcome);
    if (held || (await this.#peer.tasks.resumption.orphan(id.value, params.attempt, outcome)))
      return ok({ accepted: held });
    return err(coveyError('UNREACHABLE', { what: `a home store of task ${id.value}` }));
  }

  async #resume(
    params: MethodParams<'worker.resume'>,
    session: Session,
  ): ReturnType<WorkerMethods['worker.resume']> {
    let offer = (): void => undefined;
    const { types, name = session.id } = params;
    const registered = this.#register(session, types, name, (run) => {
      offer = run;
    });
    if (!registered.ok) return registered;
    const running = await Promise.all(
      params.running.map(async ({ id: text, attempt }) => {
        const id = idOf(text);
        const kept =
          id.ok &&
          (await this.#peer.tasks.resumption.resumeRun(id.value, attempt, (request, handlers) =>
            this.#peer.workers.resume(registered.value, request, handlers),
          ));
        return { id: text, attempt, verdict: kept ? ('keep' as const) : ('stale' as const) };
      }),
    );
    this.#afterAnswer(offer);
    return ok({ worker_id: registered.value, lease_ms: WORKER_RENEW_MS * 3, running });
  }
}

function linkOf(session: Session): WorkerLink {
  return {
    send: (task) => session.notify('worker.task', { ...task }) === 'sent',
    cancel: (run) => {
      session.notify('worker.cancel', {
        id: run.id,
        attempt: run.attempt,
        reason: run.reason,
        grace_ms: run.graceMs,
      });
    },
    stopping: (holdMs) => {
      session.notify('worker.stopping', { hold_ms: holdMs });
    },
    close: () => undefined,
  };
}
