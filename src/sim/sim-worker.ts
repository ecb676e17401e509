/**
 * A worker program beside a simulated daemon: registers a type, carries out what it is handed in virtual time, and
 * notes each start and end in the outside book. It dies with its daemon.
 */
import type { WorkerTask } from '../executors/worker.ts';
import type { Peer } from '../peer/peer.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { OutsideRun } from './evidence.ts';

export const WORKER_TYPE = 'job';

interface Payload {
  readonly ms: number;
  readonly failures: number;
}

function payloadOf(task: WorkerTask): Payload {
  const payload = task.payload as Partial<Payload> | undefined;
  return { ms: payload?.ms ?? 0, failures: payload?.failures ?? 0 };
}

export class SimWorker {
  readonly #clock: Clock;
  readonly #host: string;
  readonly #note: (run: OutsideRun) => void;
  /** Into the daemon, which may stand still. */
  readonly #pass: (call: () => void) => void;
  readonly #runs = new Map<string, { run: OutsideRun; timer: Timer }>();
  #peer: Peer | undefined;
  #id: string | undefined;

  /** `clock` is the world's: its timers end with `die`, not with the daemon's incarnation. */
  constructor(deps: {
    clock: Clock;
    host: string;
    note: (run: OutsideRun) => void;
    pass: (call: () => void) => void;
  }) {
    this.#clock = deps.clock;
    this.#host = deps.host;
    this.#note = deps.note;
    this.#pass = deps.pass;
  }

  register(peer: Peer, concurrency: number): void {
    this.#peer = peer;
    const registered = peer.workers.register(
      {
        send: (task) => this.#start(task),
        cancel: ({ id, attempt }) => this.#finish(id, attempt, undefined),
        stopping: () => undefined,
        close: () => undefined,
      },
      [{ type: WORKER_TYPE, concurrency }],
      `worker of ${this.#host}`,
      (offer) => this.#clock.after(0, () => this.#pass(offer)),
    );
    if (registered.ok) this.#id = registered.value;
  }

  #start(task: WorkerTask): boolean {
    const run: OutsideRun = {
      taskId: task.id,
      attempt: task.attempt,
      runId: task.run_id,
      host: this.#host,
      kind: 'worker',
      startedMs: this.#clock.nowMs(),
      endedMs: undefined,
      exitCode: undefined,
    };
    this.#note(run);
    const { ms, failures } = payloadOf(task);
    const exitCode = task.attempt <= failures ? 1 : 0;
    const timer = this.#clock.after(ms, () => this.#finish(task.id, task.attempt, exitCode));
    this.#runs.set(`${task.id}/${task.attempt}`, { run, timer });
    return true;
  }

  #finish(id: string, attempt: number, exitCode: number | undefined): void {
    const held = this.#runs.get(`${id}/${attempt}`);
    if (held === undefined) return;
    this.#runs.delete(`${id}/${attempt}`);
    held.timer.cancel();
    held.run.endedMs = this.#clock.nowMs();
    held.run.exitCode = exitCode;
    // In a later turn: a worker program answers over its connection, never inside the daemon's call.
    this.#clock.after(0, () => {
      const outcome =
        exitCode === 0
          ? ({ out: 'completed', res: JSON.stringify(held.run.runId) } as const)
          : ({ out: 'failed', err: 'the job failed' } as const);
      this.#pass(() => {
        if (this.#id !== undefined) this.#peer?.workers.finish(this.#id, id, attempt, outcome);
      });
    });
  }

  /** The program is gone, with its daemon. */
  die(): void {
    this.#peer = undefined;
    for (const { run, timer } of this.#runs.values()) {
      timer.cancel();
      run.endedMs = this.#clock.nowMs();
    }
    this.#runs.clear();
  }
}

/** The worker program of a host, as its daemon starts; undefined where there is none. */
export function workerBeside(
  peer: Peer,
  host: string,
  freezer: { readonly pass: (call: () => void) => void },
  deps: {
    readonly clock: Clock;
    readonly workers: number;
    readonly onRun: (run: OutsideRun) => void;
  },
): SimWorker | undefined {
  if (deps.workers === 0) return undefined;
  const { clock, onRun: note } = deps;
  const worker = new SimWorker({ clock, host, note, pass: freezer.pass });
  worker.register(peer, deps.workers);
  return worker;
}
