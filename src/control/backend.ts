/** What the control server needs of the daemon behind it: one handler per method, and sessions to notify. */

import type {
  MethodName,
  MethodParams,
  MethodResult,
  NotificationName,
  NotificationParams,
} from '../api/methods.ts';
import type { CoveyError } from '../base/errors.ts';
import type { Result } from '../base/result.ts';

/** One connected client. */
export interface Session {
  /** Unique in this boot of the daemon. */
  readonly id: string;
  /**
   * Sends a notification. `full`: the client does not read, more than the session's buffer waits, and nothing was
   * sent; the caller must remember a gap. `closed`: it is gone.
   */
  notify<N extends NotificationName>(
    name: N,
    params: NotificationParams<N>,
  ): 'sent' | 'full' | 'closed';
  /** Calls `listener` once when the session has ended (at once if it has). Answers the function that takes it back. */
  onClosed(listener: () => void): () => void;
  /**
   * Calls `listener` each time the session's buffer has drained after `full`. Answers the function that takes it back:
   * a session may last for months, so whatever ends before its session takes its listeners along.
   */
  onDrained(listener: () => void): () => void;
}

/** Methods that the server answers by itself. */
export type OwnMethod = 'rpc.discover' | 'system.hello';

export type Handler<M extends MethodName> = (
  params: MethodParams<M>,
  session: Session,
) => Promise<Result<MethodResult<M>, CoveyError>>;

export type ControlBackend = {
  readonly [M in Exclude<MethodName, OwnMethod>]: Handler<M>;
} & {
  /** What system.hello says of this daemon. */
  readonly about: () => { readonly mesh_id: string; readonly peer_id: string };
};
