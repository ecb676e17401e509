/** Maxima of the control server itself, with their reasons; those a client sees are in `api/limits.ts`. */
import { MIB, SECOND_MS } from '../base/units.ts';

/** Events kept for resuming: a minute of a busy daemon, a few megabytes. */
export const EVENTS_KEPT_MAX = 8_192;
/** An id is echoed in every answer; a longer one is a mistake. */
export const REQUEST_ID_CHARS_MAX = 256;
/** Names longer than this are cut before they are compared or quoted: edit distance costs the product of lengths. */
export const QUOTED_CHARS_MAX = 128;
/** Ids elsewhere whose ends all clients together follow by events: each is asked about again every two seconds. */
export const FOLLOWED_IDS_MAX = 200_000;
/** A connection whose unread answers stay above this for SLOW_READER_MS is ended. */
export const SLOW_READER_BYTES = 32 * MIB;
export const SLOW_READER_MS = 30 * SECOND_MS;
/** Unread answers above this end the connection at once: 1,024 answers of 16 MiB would end the daemon instead. */
export const UNREAD_BYTES_MAX = 256 * MIB;
/** Monitors of the log, all clients together: each record is kept and sent once for each. */
export const MONITORS_MAX = 16;
/** Records of one monitor that wait for its client: some seconds of a noisy log. */
export const MONITOR_WAITING_MAX = 1_024;
/** Records a second, and at once, of one monitor: no person reads more, and a storm of them is not made worse. */
export const MONITOR_RATE = 500;
/** What was not taken is told so late at most: a gap for each record would be a storm of its own. */
export const GAP_MS = 100;
/** Members that one `system.doctor` asks. */
export const DOCTOR_ASKS_MAX = 128;
/** One that observes another has not heard it for so long, where a link is said to be broken. */
export const DOCTOR_SILENCE_MS = 4_000;
/** Unfinished records whose homes are looked at for it: some milliseconds. */
export const DOCTOR_RECORDS_MAX = 10_000;
/** What BUSY advises: some round trips of a busy daemon. */
export const BUSY_RETRY_AFTER_MS = 100;
/** How long a closing connection may take to read its last answers. */
export const CLOSE_MS_MAX = SECOND_MS;
/** A line buffer larger than this is let go after its line, so that idle connections stay small. */
export const LINE_BUFFER_KEPT_BYTES = 64 * 1_024;
