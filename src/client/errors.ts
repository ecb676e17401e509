/** What the high-level client throws: a refusal by the daemon, or the end of its own patience. */
import type { RpcFailure } from './types.ts';

export class CoveyClientError extends Error {
  override readonly name = 'CoveyClientError';
  /** `NOT_FOUND`, `BUSY`, `DISCONNECTED` …: the codes of the daemon and of `RpcFailure`. */
  readonly code: string;
  readonly retryable: boolean;
  readonly help: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(failure: RpcFailure) {
    super(failure.message);
    this.code = failure.code;
    this.retryable = failure.retryable;
    this.help = failure.help;
    this.data = failure.data ?? {};
  }
}

/** Thrown by a handler, it fails the attempt for good: no further attempt is made. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}
