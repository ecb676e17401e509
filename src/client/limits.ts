/** Maxima of the client, with their reasons. */
import { SECOND_MS } from '../base/units.ts';

/** A local socket connects at once or not at all, unless the daemon is stopped or swamped. */
export const CONNECT_MS_MAX = 10 * SECOND_MS;
/** The daemon answers everything but waits sooner; a wait gets this on top of its own time. */
export const CALL_MS_MAX = 60 * SECOND_MS;
/** Half of what the daemon takes from one connection: the rest of the calls wait here, in order. */
export const CALLS_SENT_MAX = 512;
export const CALLS_QUEUED_MAX = 100_000;
/** What a timer of Node takes: of a longer one it makes a millisecond, and what was to wait for weeks ends at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1;
/** One round trip to the daemon buys this many ids. */
export const ID_BLOCK = 64;
/** Reserved ids are dropped this long before they expire: a retry must still find its id valid. */
export const ID_MARGIN_MS = 600 * SECOND_MS;
export const RECONNECT_FIRST_MS = 50;
export const RECONNECT_MAX_MS = 2 * SECOND_MS;
/** How long a call of the high-level client tries, through reconnects, before it fails. */
export const PATIENCE_MS = 30 * SECOND_MS;
/** Rounds of task.wait at once; more waiters join a round when the next one ends. */
export const WAIT_ROUNDS_MAX = 16;
/** A round is short when waiters queue for it, long otherwise. */
export const WAIT_ROUND_MS = 10 * SECOND_MS;
export const WAIT_ROUND_BUSY_MS = SECOND_MS;
/** A lease is renewed so often that two renewals may be lost. */
export const RENEWALS_PER_LEASE = 3;
/** Tasks of all types that one worker connection runs at once. */
export { WORKER_CONCURRENCY_MAX } from '../api/limits.ts';
/** What worker.fail takes of a message. */
export const FAILURE_CHARS_MAX = 16_384;
