/** A connection that comes back: reconnects to the same socket with capped, jittered backoff. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MethodInput, MethodName, MethodResult } from '../api/methods.ts';
import { err, type Result } from '../base/result.ts';
import { openConnection } from './connection.ts';
import { RECONNECT_FIRST_MS, RECONNECT_MAX_MS } from './limits.ts';
import type { Connection, RpcFailure } from './types.ts';

const CLOSED: RpcFailure = {
  code: 'DISCONNECTED',
  message: 'The client was closed by this program.',
  retryable: false,
};

/** Delays between tries: doubling from the first to the cap, each spread so that clients do not act in step. */
export class Backoff {
  #tries = 0;

  nextMs(): number {
    const base = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * 2 ** this.#tries);
    this.#tries += 1;
    return base * (0.5 + Math.random());
  }
}

/** What a refusal advises, or else the next delay of the backoff. */
export function delayAfter(failure: RpcFailure, backoff: Backoff): number {
  const advised = failure.data?.retry_after_ms;
  const ownMs = backoff.nextMs();
  return typeof advised === 'number' ? Math.max(advised, ownMs) : ownMs;
}

/**
 * What may be repeated. repeatable: a submit under its own id, after every failure that may pass. read: after a lost
 * connection or a refusal by a busy daemon; a NOT_FOUND is an answer. once: only when the daemon has refused it.
 */
export type Repeat = 'repeatable' | 'read' | 'once';

const REFUSED_UNDONE: readonly string[] = ['BUSY', 'STOPPING', 'TOO_MANY_CONNECTIONS'];
const LOST: readonly string[] = ['DISCONNECTED', 'CLIENT_TIMEOUT'];

function mayRepeat({ code, retryable }: RpcFailure, repeat: Repeat): boolean {
  if (!retryable) return false;
  if (repeat === 'repeatable' || REFUSED_UNDONE.includes(code)) return true;
  return repeat === 'read' && LOST.includes(code);
}

/** Told once for each change; a link that is given up says nothing. */
export type LinkState = 'lost' | 'restored';

export class Link {
  readonly #socketPath: string;
  readonly #clientName: string | undefined;
  #connection: Connection | undefined;
  #opening: Promise<Result<Connection, RpcFailure>> | undefined;
  #closed = false;
  readonly #watch: (state: LinkState) => void;
  #wasLost = false;

  constructor(
    socketPath: string,
    clientName: string | undefined,
    watch: (state: LinkState) => void = () => undefined,
  ) {
    this.#socketPath = socketPath;
    this.#clientName = clientName;
    this.#watch = watch;
  }

  /** The connection that is open, or one new attempt at it. */
  get(): Promise<Result<Connection, RpcFailure>> {
    if (this.#closed) return Promise.resolve(err(CLOSED));
    if (this.#connection) return Promise.resolve({ ok: true, value: this.#connection });
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** One method, repeated as `repeat` allows until `patienceMs` have passed. */
  async call<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    patienceMs: number,
    repeat: Repeat,
  ): Promise<Result<MethodResult<M>, RpcFailure>> {
    const deadlineMs = performance.now() + patienceMs;
    const backoff = new Backoff();
    for (;;) {
      const connection = await this.get();
      const outcome = connection.ok ? await connection.value.call(method, params) : connection;
      if (outcome.ok || this.#closed || !mayRepeat(outcome.error, repeat)) return outcome;
      const delayMs = delayAfter(outcome.error, backoff);
      if (performance.now() + delayMs > deadlineMs) return outcome;
      await sleep(delayMs);
    }
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  async #open(): Promise<Result<Connection, RpcFailure>> {
    const name = this.#clientName;
    const opened = await openConnection(this.#socketPath, name ? { clientName: name } : {});
    this.#opening = undefined;
    if (!opened.ok) return opened;
    const connection = opened.value;
    if (this.#closed) {
      connection.close();
      return err(CLOSED);
    }
    this.#connection = connection;
    void connection.closed.then(() => {
      if (this.#connection === connection) this.#connection = undefined;
      if (this.#closed) return;
      this.#wasLost = true;
      this.#watch('lost');
    });
    if (this.#wasLost) this.#watch('restored');
    this.#wasLost = false;
    return opened;
  }
}
