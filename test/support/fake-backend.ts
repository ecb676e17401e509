/**
 * A ControlBackend in memory, for tests of the server, the client and the CLI: one host that keeps tasks, ends commands
 * as scripted, and hands typed tasks to workers. It forgets nothing when its server is replaced: a restarted daemon.
 */

import type { MemberView, MethodResult } from '../../src/api/methods.ts';
import { type Receipt, type SubmitParams, submitSchema } from '../../src/api/task.ts';
import { type CoveyError, coveyError } from '../../src/base/errors.ts';
import { toHex } from '../../src/base/hash.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { err, ok, type Result } from '../../src/base/result.ts';
import { encodeTaskId } from '../../src/base/task-id.ts';
import type { ControlBackend, Session } from '../../src/control/backend.ts';
import { EventHub } from '../../src/control/events.ts';
import { errorReply } from '../../src/control/jsonrpc.ts';
import { checkAgainst } from '../../src/control/params.ts';
import { HostClock } from '../../src/host/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { FakeObserve } from './fake-observe.ts';
import { FAKE_PEER, FAKE_STORE, type FakeOutcome, FakeTask } from './fake-task.ts';
import { FakeWorkers } from './fake-workers.ts';

export { FAKE_PEER, FAKE_STORE, type FakeOutcome, FakeTask } from './fake-task.ts';

export interface FakeBackendOptions {
  readonly clock?: Clock;
  /** How a command ends, and after how long; undefined: it stays active until `finish`. Default: echoes argv. */
  readonly script?: (
    params: SubmitParams,
  ) => (FakeOutcome & { readonly afterMs?: number }) | undefined;
  readonly boot?: string;
}

type Options = FakeBackendOptions;
const echo: NonNullable<Options['script']> = (params) => ({
  state: 'completed',
  exitCode: 0,
  stdout: `${params.exec?.argv.join(' ') ?? ''}\n`,
});

export class FakeBackend {
  readonly clock: Clock;
  readonly tasks = new Map<string, FakeTask>();
  readonly workers: FakeWorkers;
  readonly events: EventHub;
  readonly observe: FakeObserve;
  /** The one that a ControlServer is given. */
  readonly methods: ControlBackend;
  /** Answers of the next calls of task.submit, before the fake itself decides: for tests of retries. */
  readonly submitFailures: CoveyError[] = [];
  /** What task.get was asked to read from. */
  readonly reads: (number | 'quorum' | undefined)[] = [];
  /** Ids as task.submit received them, repeated calls too. */
  readonly submitted: string[] = [];
  /** Members beside the fake one itself; dead unless they say otherwise. */
  others: Partial<MemberView>[] = [];
  entries: MethodResult<'access.list'>['entries'] = [];
  readonly #random = new SeededRandom(`fake ${Math.random()}`);
  readonly #script: NonNullable<Options['script']>;
  /** task.wait calls seen. */
  waits = 0;
  readonly #waiters = new Set<() => void>();

  constructor(options: FakeBackendOptions = {}) {
    this.clock = options.clock ?? new HostClock();
    this.#script = options.script ?? echo;
    this.events = new EventHub(options.boot ?? 'boot-1', this.clock);
    this.workers = new FakeWorkers(this);
    this.observe = new FakeObserve(this.clock);
    this.methods = this.#methods();
  }

  /** Ends a task as if its attempt had. */
  finish(id: string, outcome: FakeOutcome): void {
    const task = this.tasks.get(id);
    if (task === undefined || task.final) return;
    task.outcome = outcome;
    task.enter(outcome.state, outcome.reason);
    this.changed(task);
  }

  changed(task: FakeTask): void {
    this.events.publish({ topic: 'task', type: task.state, id: task.id, data: task.summary() });
    for (const waiter of [...this.#waiters]) waiter();
  }

  mintId(): string {
    const random = toHex(this.#random.bytes(6));
    return encodeTaskId({ createdMs: this.clock.wallMs(), random, fingerprints: ['aaaaaaaa'] });
  }

  #find(id: string): Result<FakeTask, CoveyError> {
    const task = this.tasks.get(id);
    return task ? ok(task) : err(coveyError('NOT_FOUND', { what: `Task ${id}` }));
  }

  #submit(params: SubmitParams): Result<Receipt, CoveyError> {
    const failure = this.submitFailures.shift();
    const id = params.id ?? this.mintId();
    this.submitted.push(id);
    // The task is taken even when the answer is a failure: the outcome is unknown to the client.
    const existing = this.tasks.get(id);
    if (existing && JSON.stringify(existing.params) !== JSON.stringify(params)) {
      return err(coveyError('ID_CONFLICT', { id }));
    }
    if (!existing) this.#start(new FakeTask(id, params));
    if (failure) return err(failure);
    const home = [FAKE_STORE];
    return ok({
      ...{ id, home, stored_on: home, stand_ins: [], required: 1, degraded: true },
      existing: existing !== undefined,
    });
  }

  #start(task: FakeTask): void {
    this.tasks.set(task.id, task);
    this.changed(task);
    if (task.params.exec === undefined) {
      this.workers.dispatch();
      return;
    }
    task.attempt = 1;
    task.enter('active');
    this.changed(task);
    const outcome = this.#script(task.params);
    if (outcome) this.clock.after(outcome.afterMs ?? 0, () => this.finish(task.id, outcome));
  }

  #wait(params: { ids: string[]; timeout_ms: number; any: boolean }) {
    return new Promise<{ done: FakeTask[]; pending: string[] }>((resolve) => {
      const check = (timeIsUp: boolean): void => {
        const done = params.ids.flatMap((id) => {
          const task = this.tasks.get(id);
          return task?.final ? [task] : [];
        });
        const enough = params.any ? done.length > 0 : done.length === params.ids.length;
        if (!enough && !timeIsUp) return;
        this.#waiters.delete(waiter);
        timer.cancel();
        const finished = new Set(done.map(({ id }) => id));
        resolve({ done, pending: params.ids.filter((id) => !finished.has(id)) });
      };
      const waiter = (): void => check(false);
      const timer = this.clock.after(params.timeout_ms, () => check(true));
      this.#waiters.add(waiter);
      waiter();
    });
  }

  #cancel(task: FakeTask, reason: string): void {
    if (task.final) return;
    task.cancelRequested = reason;
    if (!this.workers.cancel(task, reason)) this.finish(task.id, { state: 'canceled' });
  }

  #methods(): ControlBackend {
    return {
      ...this.#changeMethods(),
      ...this.#readMethods(),
      ...this.#meshMethods(),
      ...this.workers.methods(),
      ...this.observe.methods(),
      about: () => ({ mesh_id: 'fake-mesh', peer_id: FAKE_PEER }),
    };
  }

  #changeMethods() {
    return {
      'ids.reserve': async ({ n }) =>
        ok({
          ids: Array.from({ length: n }, () => this.mintId()),
          expires_at: new Date(this.clock.wallMs() + 3_600_000).toISOString(),
        }),
      'task.submit': async (params) => this.#submit(params),
      'task.submit_bulk': async ({ tasks }) =>
        ok({
          receipts: tasks.map((task) => {
            const checked = checkAgainst(submitSchema, task);
            const receipt = checked.ok ? this.#submit(checked.value) : checked;
            return receipt.ok ? receipt.value : { error: errorReply(receipt.error) };
          }),
        }),
      'task.cancel': async ({ id, reason }) => {
        const task = this.#find(id);
        if (!task.ok) return task;
        this.#cancel(task.value, reason ?? '');
        return ok({ id, state: task.value.state });
      },
      'task.retry': async ({ id }) => {
        const task = this.#find(id);
        if (!task.ok) return task;
        const { state } = task.value;
        if (!task.value.final) return err(coveyError('TASK_NOT_FINAL', { id, state }));
        const again = new FakeTask(this.mintId(), task.value.params, id);
        this.#start(again);
        return ok({ id: again.id });
      },
    } satisfies Partial<ControlBackend>;
  }

  #readMethods() {
    const at = () => new Date().toISOString();
    return {
      'task.get': async ({ id, read }) => {
        this.reads.push(read);
        const task = this.#find(id);
        return task.ok ? ok(task.value.view()) : task;
      },
      'task.find': async ({ suffix }) => {
        const ids = [...this.tasks.keys()].filter((id) => id.endsWith(suffix.toUpperCase()));
        return ok({ ids, complete: true });
      },
      'task.logs': async ({ id, stream, follow }, session) => {
        const task = this.#find(id);
        if (!task.ok) return task;
        const { outcome, state } = task.value;
        const source = outcome ? ('result' as const) : ('none' as const);
        const subscription = follow ? this.#followLogs(task.value, session) : undefined;
        return ok({
          ...(subscription === undefined ? {} : { subscription }),
          ...(stream === 'stderr' || !outcome ? {} : { stdout: outcome.stdout ?? '' }),
          ...(stream === 'stdout' || !outcome ? {} : { stderr: outcome.stderr ?? '' }),
          ...{ truncated: false, source, state },
        });
      },
      'task.list': async ({ state, queue, type, limit }) => {
        const tasks = [...this.tasks.values()]
          .reverse()
          .map((task) => task.summary())
          .filter((task) => state === undefined || task.state === state)
          .filter((task) => queue === undefined || task.queue === queue)
          .filter((task) => type === undefined || task.type === type);
        return ok({ tasks: tasks.slice(0, limit), complete: true, unreachable: [] });
      },
      'task.wait': async (params) => {
        this.waits += 1;
        const { done, pending } = await this.#wait(params);
        return ok({ done: done.map((task) => task.view()), pending });
      },
      'task.explain': async ({ id }) => {
        const task = this.#find(id);
        if (!task.ok) return task;
        const { state, since, reason } = task.value;
        const because = [{ peer: FAKE_PEER, name: 'fake', ok: true, code: 'ok', detail: 'self' }];
        const history = [{ at: at(), what: 'accepted', by: FAKE_STORE }];
        const home = [FAKE_STORE];
        const where = { home, owner: FAKE_STORE, because, history };
        return ok({ id, state, since, ...where, ...(reason === undefined ? {} : { reason }) });
      },
    } satisfies Partial<ControlBackend>;
  }

  /** Sends the whole output as one piece when the task has ended. */
  #followLogs(task: FakeTask, session: Session): string {
    const subscription = `l-${task.id}`;
    void this.#wait({ ids: [task.id], timeout_ms: 600_000, any: false }).then(() => {
      const { stdout = '', stderr = '' } = task.outcome ?? {};
      for (const [stream, data] of [['stdout', stdout] as const, ['stderr', stderr] as const]) {
        if (data !== '') session.notify('log', { subscription, stream, offset_bytes: 0, data });
      }
      session.notify('log_end', { subscription, state: task.state });
    });
    return subscription;
  }

  #otherMembers(like: MemberView): MemberView[] {
    return this.others.map((other) => ({ ...like, self: false, status: 'dead', ...other }));
  }

  #meshMethods() {
    const load = { slots: 4, slots_free: 4, active: 0, waiting: 0, workers: {} };
    const member = {
      ...{ peer_id: FAKE_PEER, store_id: FAKE_STORE, name: 'fake', self: true, stopping: false },
      ...{ status: 'alive' as const, phi: 0, incarnation: 1, boot_count: 1, labels: {}, load },
      ...{ since: new Date().toISOString(), addresses: ['127.0.0.1:26839'], version: '0.1.0' },
    };
    return {
      'system.status': async () =>
        ok({
          ...{ version: '0.1.0', pid: process.pid, peer_id: FAKE_PEER, store_id: FAKE_STORE },
          ...{ mesh_id: 'fake-mesh', name: 'fake', addresses: member.addresses, socket: 'fake' },
          ...{ stopping: false, uptime_ms: 1, conflicts: 0, slots: 4 },
          tasks: { held: this.tasks.size, unfinished: 0, owned: 0, active: 0 },
        }),
      'members.list': async () =>
        ok({ members: [member, ...this.#otherMembers(member)], view_hash: 'fake' }),
      'events.subscribe': async (params, session) => this.events.subscribe(session, params),
      'events.unsubscribe': async ({ subscription }, session) => {
        if (!this.events.unsubscribe(session, subscription))
          this.observe.unsubscribe(session, subscription);
        return ok({});
      },
      'access.invite': async ({ ttl_ms }) =>
        ok({
          token: 'covey1-fake-token',
          expires_at: new Date(this.clock.wallMs() + ttl_ms).toISOString(),
        }),
      'access.list': async () => ok({ entries: this.entries }),
      'access.allow': async ({ peer }) =>
        ok({ peer_id: peer, token: 'covey1-known', is_new: true }),
      'access.revoke': async ({ peer }) => {
        const entry = this.entries.find(({ peer_id: id }) => id === peer);
        const already = entry?.revoked === true ? { already_by: 'one' } : {};
        return ok({ peer_id: peer, name: entry?.name ?? peer, ...already });
      },
      'mesh.join': async ({ token }) =>
        token === 'covey1-fake-token'
          ? ok({ mesh_id: 'fake-mesh', members: 2 })
          : err(coveyError('TOKEN_INVALID', { why: 'it is not the fake one' })),
      'mesh.merge': async ({ token, yes }) =>
        token === 'covey1-fake-token' || yes
          ? ok({ mesh_id: 'fake-mesh', members: 4, cut_off: yes ? ['old'] : [], already: false })
          : err(coveyError('MERGE_CUTS', { who: 'old', cut_off: ['old'] })),
      'members.forget': async ({ peer }) =>
        peer === 'fake-dead'
          ? ok({ peer_id: peer, name: 'gone', store_id: 'fake-store' })
          : err(coveyError('NOT_REMOVABLE', { name: peer, why: 'it is alive' })),
      'mesh.leave': async () => ok({ left: true, only_here: [] }),
    } satisfies Partial<ControlBackend>;
  }
}
