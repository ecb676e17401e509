/** Every maximum of the control surface, with its reason. */
import { KIB, MIB } from '../base/units.ts';

/** A payload or result travels through four processes and lies on three disks. */
export const PAYLOAD_BYTES_MAX = MIB;
export const RESULT_BYTES_MAX = MIB;
/** Standard input of a command; the largest payload that is bytes. */
export const STDIN_BYTES_MAX = MIB;
/** stdout and stderr of a command together, as part of its completion. */
export const OUTPUT_BYTES_MAX = MIB;
/** Room for a payload of 1 MiB with every character escaped as two, and the rest of a request. */
export const LINE_BYTES_MAX = 4 * MIB;
/** A line to a client: output of 1 MiB with every byte escaped as six, and a payload and a result beside it. */
export const ANSWER_BYTES_MAX = 16 * MIB;
export const CONNECTIONS_MAX = 256;
export const BATCH_MAX = 1_000;
/** Deeper JSON is no data but an attack on recursive readers. */
export const JSON_DEPTH_MAX = 64;
export const UNANSWERED_REQUESTS_MAX = 1_024;
/** Tasks in one task.submit_bulk, ids in one task.wait or ids.reserve. */
export const BULK_MAX = 1_000;
export const NAME_BYTES_MAX = 128;
/** Keys and values of a task's environment together, as a sane share of the kernel's own limit. */
export const ENVIRONMENT_BYTES_MAX = 64 * KIB;
export const ARGV_MAX = 4_096;
export const ARGV_BYTES_MAX = 128 * KIB;
export const LABELS_MAX = 32;
export const ATTEMPTS_MAX = 100;
export const LOSSES_MAX = 100;
export const SUBSCRIPTIONS_MAX = 64;
/** Records of the log that a new monitor can be sent first: what Serf keeps. */
export const MONITOR_BACKLOG_MAX = 512;
export const WORKER_TYPES_MAX = 256;
export const WORKER_CONCURRENCY_MAX = 1_024;
/** A wait that lasts longer is asked again: no request is open for ever. */
export const WAIT_MS_MAX = 600_000;
export const LIST_MAX = 1_000;
/** Home stores that a read may ask for: a home is chosen with 7 at most, and may grow. */
export const READ_STORES_MAX = 16;
/** The last bytes of each output stream that are replicated while a command runs. */
export const LOG_TAIL_BYTES = 64 * KIB;
/** Progress is a number, a note or a small object, not a result. */
export const PROGRESS_BYTES_MAX = 4 * KIB;
export const PRIORITY_MAX = 1_000_000;
/** Delays, timeouts and backoffs: a year. */
export const DURATION_MS_MAX = 366 * 86_400_000;
