/** The worker side of the fake backend: hands typed tasks to registered sessions, and takes them back. */

import { coveyError } from '../../src/base/errors.ts';
import { err, ok } from '../../src/base/result.ts';
import type { ControlBackend, Session } from '../../src/control/backend.ts';
import type { FakeBackend } from './fake-backend.ts';
import type { FakeTask } from './fake-task.ts';

interface FakeWorker {
  readonly id: string;
  session: Session | undefined;
  capacity: Map<string, number>;
  readonly running: Set<FakeTask>;
}

export const FAKE_LEASE_MS = 300;

export class FakeWorkers {
  readonly #backend: FakeBackend;
  readonly #workers = new Map<string, FakeWorker>();
  #nextWorker = 1;
  /** False while the daemon is down: an ended connection then ends no attempt. */
  daemonLives = true;
  /** worker.renew calls seen. */
  renewals = 0;
  /** worker.register calls seen. */
  registered = 0;
  /** worker.unregister calls seen. */
  unregistered = 0;
  /** When set, a resumed attempt is told to be stale, as after a kill -9 that took its attempt away. */
  resumeAsStale = false;

  constructor(backend: FakeBackend) {
    this.#backend = backend;
  }

  get count(): number {
    return [...this.#workers.values()].filter(({ session }) => session !== undefined).length;
  }

  dispatch(): void {
    for (const task of this.#backend.tasks.values()) {
      if (task.state !== 'waiting' || task.params.exec !== undefined) continue;
      const type = task.params.type ?? '';
      const worker = [...this.#workers.values()].find((candidate) => this.#free(candidate, type));
      if (worker === undefined) continue;
      task.attempt += 1;
      task.enter('active');
      worker.running.add(task);
      worker.session?.notify('worker.task', task.workerTask());
      this.#backend.changed(task);
    }
  }

  stopping(holdMs: number): void {
    for (const { session } of this.#workers.values()) {
      session?.notify('worker.stopping', { hold_ms: holdMs });
    }
  }

  /** False when no worker runs the task. */
  cancel(task: FakeTask, reason: string): boolean {
    const { id, attempt } = task;
    const worker = [...this.#workers.values()].find(({ running }) => running.has(task));
    worker?.session?.notify('worker.cancel', { id, attempt, reason, grace_ms: 1_000 });
    return worker?.session !== undefined;
  }

  methods() {
    return {
      'worker.register': async ({ types }, session) => {
        this.registered += 1;
        const id = `w${this.#nextWorker++}`;
        this.#attach(
          { id, session: undefined, capacity: new Map(), running: new Set() },
          session,
          types,
        );
        return ok({ worker_id: id, lease_ms: FAKE_LEASE_MS });
      },
      'worker.resume': async ({ worker_id, running, types }, session) => {
        const known = this.#workers.get(worker_id) ?? {
          id: worker_id,
          session: undefined,
          capacity: new Map<string, number>(),
          running: new Set<FakeTask>(),
        };
        const verdicts = running.map(({ id, attempt }) => {
          const task = this.#backend.tasks.get(id);
          const current = task?.state === 'active' && task.attempt === attempt;
          const keep = current && known.running.has(task) && !this.resumeAsStale;
          if (!keep && task) known.running.delete(task);
          return { id, attempt, verdict: keep ? ('keep' as const) : ('stale' as const) };
        });
        this.#attach(known, session, types);
        return ok({ worker_id, lease_ms: FAKE_LEASE_MS, running: verdicts });
      },
      'worker.complete': async ({ id, attempt, result }, session) =>
        this.#end(session, id, attempt, () =>
          this.#backend.finish(id, {
            state: 'completed',
            ...(result === undefined ? {} : { result }),
          }),
        ),
      'worker.fail': async ({ id, attempt, error }, session) =>
        this.#end(session, id, attempt, (task) => {
          const canceled = task.cancelRequested !== undefined;
          if (!canceled && error.retryable && task.attempt < task.params.attempts) {
            task.enter('waiting', 'no_free_slot');
            this.dispatch();
          } else if (canceled) this.#backend.finish(id, { state: 'canceled' });
          else {
            const { message } = error;
            this.#backend.finish(id, { state: 'failed', reason: 'error', error: { message } });
          }
        }),
      'worker.progress': async ({ id, progress }) => {
        const task = this.#backend.tasks.get(id);
        if (task) task.progress = progress;
        return ok({});
      },
      'worker.renew': async ({ ids }) => {
        this.renewals += 1;
        return ok({ stale: ids.filter((id) => this.#backend.tasks.get(id)?.state !== 'active') });
      },
      'worker.unregister': async (_params, session) => {
        this.unregistered += 1;
        for (const worker of this.#workers.values()) {
          if (worker.session === session) worker.capacity.clear();
        }
        return ok({});
      },
    } satisfies Partial<ControlBackend>;
  }

  #free(worker: FakeWorker, type: string): boolean {
    const used = [...worker.running].filter(({ params }) => params.type === type).length;
    return worker.session !== undefined && used < (worker.capacity.get(type) ?? 0);
  }

  #attach(
    worker: FakeWorker,
    session: Session,
    types: readonly { type: string; concurrency: number }[],
  ): void {
    worker.session = session;
    worker.capacity = new Map(types.map(({ type, concurrency }) => [type, concurrency]));
    this.#workers.set(worker.id, worker);
    session.onClosed(() => this.#lost(worker, session));
    // After the answer: a task must not reach a worker that does not know yet that it is one.
    this.#backend.clock.after(0, () => this.dispatch());
  }

  #lost(worker: FakeWorker, session: Session): void {
    if (worker.session !== session) return;
    worker.session = undefined;
    if (!this.daemonLives) return;
    for (const task of worker.running) task.enter('waiting', 'no_worker');
    worker.running.clear();
    this.#workers.delete(worker.id);
    this.dispatch();
  }

  async #end(session: Session, id: string, attempt: number, end: (task: FakeTask) => void) {
    const worker = [...this.#workers.values()].find((known) => known.session === session);
    if (worker === undefined) return err(coveyError('NOT_REGISTERED'));
    const task = this.#backend.tasks.get(id);
    if (task?.state !== 'active' || task.attempt !== attempt || !worker.running.delete(task)) {
      const run_id = `${id}-${attempt}`;
      task?.orphans.push({ attempt, run_id, outcome: 'completed', digest: '' });
      return err(coveyError('STALE_ATTEMPT', { id, attempt }));
    }
    end(task);
    this.dispatch();
    return ok({ accepted: true });
  }
}
