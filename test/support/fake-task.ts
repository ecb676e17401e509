/** A task of the fake backend: what it was told, what became of it, and the views made of that. */
import type { NotificationParams } from '../../src/api/methods.ts';
import type { SubmitParams, TaskState, TaskSummary, TaskView } from '../../src/api/task.ts';
import { isFinalState } from '../../src/api/task.ts';

/** How a task ends. */
export interface FakeOutcome {
  readonly state: 'completed' | 'failed' | 'canceled';
  readonly exitCode?: number;
  readonly signal?: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly code?: string };
  readonly reason?: string;
}

export const FAKE_STORE = 'aa'.repeat(16);
export const FAKE_PEER = '12D3KooWFakePeerOfTheTestsThatIsNoRealKeyAtAll000000';

export class FakeTask {
  readonly id: string;
  readonly params: SubmitParams;
  readonly submittedAt = new Date().toISOString();
  state: TaskState = 'waiting';
  reason: string | undefined = 'no_worker';
  since = this.submittedAt;
  attempt = 0;
  outcome: FakeOutcome | undefined;
  progress: unknown;
  cancelRequested: string | undefined;
  readonly orphans: TaskView['orphans'] = [];
  readonly retryOf: string | undefined;

  constructor(id: string, params: SubmitParams, retryOf?: string) {
    this.id = id;
    this.params = params;
    this.retryOf = retryOf;
    if (params.exec) this.reason = 'no_free_slot';
  }

  get final(): boolean {
    return isFinalState(this.state);
  }

  get runId(): string {
    return `${this.id}-${this.attempt}`;
  }

  enter(state: TaskState, reason?: string): void {
    this.state = state;
    this.reason = reason;
    this.since = new Date().toISOString();
  }

  summary(): TaskSummary {
    return {
      id: this.id,
      queue: this.params.queue,
      type: this.params.type ?? 'exec',
      state: this.state,
      since: this.since,
      priority: this.params.priority,
      submitted_at: this.submittedAt,
      attempt: this.attempt,
      ...(this.reason === undefined ? {} : { reason: this.reason }),
      ...(this.final ? { finished_at: this.since } : {}),
      ...(this.attempt > 0 ? { runner: FAKE_PEER } : {}),
      ...(this.outcome?.exitCode === undefined ? {} : { exit_code: this.outcome.exitCode }),
      ...(this.params.exec ? { argv: this.params.exec.argv } : {}),
    };
  }

  view(): TaskView {
    const { outcome, params } = this;
    return {
      ...this.summary(),
      labels: params.labels,
      failures: this.state === 'failed' ? 1 : 0,
      losses: 0,
      home: [FAKE_STORE],
      owner: FAKE_STORE,
      conflicts: 0,
      attempts: this.attempt === 0 ? [] : [this.#attemptView()],
      orphans: this.orphans,
      ...(params.payload === undefined ? {} : { payload: params.payload }),
      ...(this.progress === undefined ? {} : { progress: this.progress }),
      ...(outcome?.result === undefined ? {} : { result: outcome.result }),
      ...(outcome?.signal === undefined ? {} : { signal: outcome.signal }),
      ...(outcome && params.exec
        ? { stdout: outcome.stdout ?? '', stderr: outcome.stderr ?? '' }
        : {}),
      ...(outcome?.error === undefined ? {} : { error: outcome.error }),
      ...(this.cancelRequested === undefined ? {} : { cancel_requested: this.cancelRequested }),
      ...(this.retryOf === undefined ? {} : { retry_of: this.retryOf }),
    };
  }

  #attemptView(): TaskView['attempts'][number] {
    const { outcome } = this;
    return {
      attempt: this.attempt,
      run_id: this.runId,
      placed_by: FAKE_STORE,
      owner: FAKE_STORE,
      runner: FAKE_PEER,
      runner_name: 'fake',
      placed_at: this.submittedAt,
      possibly_double: false,
      accepted: this.final,
      ...(outcome === undefined ? {} : { ended_at: this.since, outcome: outcome.state }),
      ...(outcome?.exitCode === undefined ? {} : { exit_code: outcome.exitCode }),
      ...(outcome?.signal === undefined ? {} : { signal: outcome.signal }),
    };
  }

  workerTask(): NotificationParams<'worker.task'> {
    return {
      id: this.id,
      attempt: this.attempt,
      run_id: this.runId,
      type: this.params.type ?? '',
      ...(this.params.payload === undefined ? {} : { payload: this.params.payload }),
      ...(this.params.run_timeout_ms === undefined
        ? {}
        : { deadline_ms: this.params.run_timeout_ms }),
    };
  }
}
