/** How an attempt is carried out: the seam between the runner and what it runs. */

import type { OutputStream } from '../ports/processes.ts';
import type { EndFact, TaskBlob, TaskHeader } from '../tasks/facts.ts';
import type { WireValue } from '../wire/codec.ts';

export interface RunRequest {
  readonly id: string;
  readonly n: number;
  readonly runId: string;
  readonly header: TaskHeader;
  readonly blob: TaskBlob;
}

/** How an attempt ended, as its executor saw it. */
export type RunOutcome = Omit<EndFact, 't' | 'n' | 'run_id' | 'at' | 'loss' | 'next_at'>;

export interface RunHandlers {
  output(stream: OutputStream, bytes: Uint8Array): void;
  progress(value: WireValue): void;
  /** Exactly once. */
  ended(outcome: RunOutcome): void;
  /** The worker program is gone while its daemon lives: the attempt is lost, not failed. Instead of `ended`. */
  lost(): void;
}

export type StopReason = 'cancel' | 'timeout' | 'shutdown' | 'stale';

export interface Execution {
  /** Asks for the end, then insists after `graceMs`; `ended` follows. Repeating it only shortens the grace. */
  stop(reason: StopReason, graceMs: number): void;
}

/** The outcome that belongs to a stop, whatever the command answered to its signal. */
export const STOP_OUTCOMES = {
  cancel: 'canceled',
  stale: 'canceled',
  timeout: 'timeout',
  shutdown: 'interrupted',
} as const satisfies Record<StopReason, RunOutcome['out']>;
