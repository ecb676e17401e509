/** `task.logs`: output once, or followed until the task is final. */
import * as limits from '../api/limits.ts';
import type { MethodParams, MethodResult } from '../api/methods.ts';
import type { TaskState } from '../api/task.ts';
import { type CoveyError, coveyError, messageOf } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { Peer } from '../peer/peer.ts';
import { sleep } from '../ports/clock.ts';
import type { OutputStream } from '../ports/processes.ts';
import { attemptToShow, type LogDeps, readOutput, readPiece } from '../tasks/logs.ts';
import { taskOf } from '../tasks/task.ts';
import { bytesView, standingOf } from '../tasks/view.ts';
import type { Session } from './backend.ts';
import { idOf } from './methods-task.ts';

const FOLLOW_WAIT_MS = 2_000;
const FOLLOW_RETRY_MS = 200;

export class LogFollowers {
  readonly #peer: Peer;
  readonly #running = new Map<string, { session: Session; stop: () => void }>();
  #next = 1;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  async logs(
    params: MethodParams<'task.logs'>,
    session: Session,
  ): Promise<Result<MethodResult<'task.logs'>, CoveyError>> {
    const id = idOf(params.id);
    if (!id.ok) return id;
    const { tasks, ports } = this.#peer;
    const found = await tasks.reader.find(id.value, false);
    if (found === undefined) return err(coveyError('NOT_FOUND', { what: `task ${id.value}` }));
    const { state } = standingOf(taskOf(found.record), ports.clock.wallMs());
    if (params.follow) {
      const mine = [...this.#running.values()].filter((item) => item.session === session).length;
      if (mine >= limits.SUBSCRIPTIONS_MAX)
        return err(coveyError('SUBSCRIPTIONS_MAX', { limit: limits.SUBSCRIPTIONS_MAX }));
      const subscription = this.#follow(id.value, params.stream, session);
      return ok({ subscription, truncated: false, source: 'runner', state });
    }
    const output = await readOutput(
      this.#deps(),
      found.record,
      params.tail_bytes ?? limits.OUTPUT_BYTES_MAX,
    );
    return ok({
      ...(params.stream === 'stderr' ? {} : { stdout: bytesView(output.stdout) }),
      ...(params.stream === 'stdout' ? {} : { stderr: bytesView(output.stderr) }),
      truncated: output.truncated,
      source: output.source,
      state,
    });
  }

  unsubscribe(subscription: string, session: Session): boolean {
    const follower = this.#running.get(subscription);
    if (follower?.session !== session) return false;
    follower.stop();
    return true;
  }

  #deps(): LogDeps {
    const { messenger, sight, tasks } = this.#peer;
    return { messaging: messenger, view: sight, tails: tasks.tails };
  }

  #follow(id: string, wanted: 'stdout' | 'stderr' | 'both', session: Session): string {
    const subscription = `log-${this.#next++}`;
    const follower = new Follower(this.#peer, this.#deps(), { id, subscription, session });
    this.#running.set(subscription, { session, stop: () => follower.stop() });
    const forget = [
      session.onClosed(() => follower.stop()),
      session.onDrained(() => follower.drained()),
    ];
    const streams: OutputStream[] = wanted === 'both' ? ['stdout', 'stderr'] : [wanted];
    // After the answer that names the subscription.
    this.#peer.ports.clock.after(0, () => {
      void follower.run(streams).then(() => {
        this.#running.delete(subscription);
        for (const end of forget) end();
      });
    });
    return subscription;
  }
}

/** One followed task: each stream from the attempt that runs, attempt after attempt, then the end. */
class Follower {
  readonly #peer: Peer;
  readonly #deps: LogDeps;
  readonly #target: { id: string; subscription: string; session: Session };
  #stopped = false;
  #state: TaskState = 'waiting';
  /** One for each stream that waits for the reader: both may. */
  readonly #wakers = new Set<() => void>();

  constructor(
    peer: Peer,
    deps: LogDeps,
    target: { id: string; subscription: string; session: Session },
  ) {
    this.#peer = peer;
    this.#deps = deps;
    this.#target = target;
  }

  stop(): void {
    this.#stopped = true;
    this.drained();
  }

  drained(): void {
    const wakers = [...this.#wakers];
    this.#wakers.clear();
    for (const wake of wakers) wake();
  }

  /** Ends by itself, by `stop`, or by a mistake of ours, of which the client hears the end all the same. */
  async run(streams: readonly OutputStream[]): Promise<void> {
    try {
      await this.#run(streams);
    } catch (thrown) {
      const { id, session, subscription } = this.#target;
      const error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      this.#peer.options.log.log('error', 'following the output of a task failed', { id, error });
      const message = messageOf(thrown);
      session.notify('log_end', { subscription, state: this.#state, error: { message } });
    }
  }

  async #run(streams: readonly OutputStream[]): Promise<void> {
    const { clock } = this.#peer.ports;
    const { id, session, subscription } = this.#target;
    const offsets = new Map<string, number>();
    // The stores of a closed peer are empty: nothing that is read there is the end.
    while (!this.#stopped && !this.#peer.isClosed) {
      const found = await this.#peer.tasks.reader.find(id, false);
      if (found !== undefined) this.#state = standingOf(taskOf(found.record), clock.wallMs()).state;
      const final = found === undefined ? undefined : taskOf(found.record).final;
      const attempt = found === undefined ? undefined : attemptToShow(found.record);
      if (found !== undefined && attempt !== undefined) {
        const run = attempt.start.run_id;
        const moved = await Promise.all(
          streams.map((stream) =>
            this.#pump(attempt, stream, offsets, `${run}/${stream}`, final !== undefined),
          ),
        );
        if (final !== undefined && moved.includes('unreachable'))
          await this.#rest(found.record, streams, offsets, run);
      }
      if (final !== undefined) {
        session.notify('log_end', { subscription, state: final.state });
        return;
      }
      await sleep(clock, FOLLOW_RETRY_MS);
    }
  }

  /** Sends what a run has written until it is over. */
  async #pump(
    attempt: Parameters<typeof readPiece>[1],
    stream: OutputStream,
    offsets: Map<string, number>,
    key: string,
    isOver: boolean,
  ): Promise<'over' | 'unreachable'> {
    while (!this.#stopped) {
      const offset = offsets.get(key) ?? 0;
      const piece = await readPiece(this.#deps, attempt, stream, {
        offset,
        waitMs: isOver ? 0 : FOLLOW_WAIT_MS,
      });
      if (piece === undefined) return 'unreachable';
      if (piece.bytes.length > 0) {
        await this.#send(stream, offset, piece.bytes);
        offsets.set(key, offset + piece.bytes.length);
      } else if (!piece.running || isOver) return 'over';
    }
    return 'over';
  }

  /** The runner is gone, but the result has the output: the rest of it. */
  async #rest(
    record: Parameters<typeof readOutput>[1],
    streams: readonly OutputStream[],
    offsets: Map<string, number>,
    run: string,
  ): Promise<void> {
    const output = await readOutput(this.#deps, record, limits.OUTPUT_BYTES_MAX);
    if (output.source !== 'result') return;
    for (const stream of streams) {
      const offset = offsets.get(`${run}/${stream}`) ?? 0;
      const rest = output[stream].subarray(offset);
      if (rest.length > 0) await this.#send(stream, offset, rest);
    }
  }

  /** Waits for a reader that is behind: output is never dropped here. */
  async #send(stream: OutputStream, offset: number, bytes: Uint8Array): Promise<void> {
    const { session, subscription } = this.#target;
    while (!this.#stopped) {
      const sent = session.notify('log', {
        subscription,
        stream,
        offset_bytes: offset,
        data: bytesView(bytes),
      });
      if (sent === 'sent') return;
      if (sent === 'closed') {
        this.#stopped = true;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wakers.add(resolve);
      });
    }
  }
}
