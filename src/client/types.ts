/** What a connection to a daemon offers; the CLI, the worker and the high-level client are built on it. */

import type {
  MethodInput,
  MethodName,
  MethodResult,
  NotificationName,
  NotificationParams,
} from '../api/methods.ts';
import type { Result } from '../base/result.ts';

/** A refusal by the daemon, or the end of the connection (`DISCONNECTED`) or of patience (`CLIENT_TIMEOUT`). */
export interface RpcFailure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly help?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface Connection {
  /** Calls may be pipelined; answers may come in any order. */
  call<M extends MethodName>(
    method: M,
    params: MethodInput<M>,
    options?: { readonly timeoutMs?: number },
  ): Promise<Result<MethodResult<M>, RpcFailure>>;
  /** Returns the function that ends the subscription. */
  on<N extends NotificationName>(
    name: N,
    handler: (params: NotificationParams<N>) => void,
  ): () => void;
  /** Resolves when the connection has ended, for whatever reason. */
  readonly closed: Promise<void>;
  close(): void;
}
