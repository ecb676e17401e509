/** Every maximum of `covey xargs`, with its reason: millions of lines pass through a few buffers of known size. */
import { KIB, MIB } from '../../base/units.ts';

/** Items read ahead of the submits: enough that the total, and with it the ETA, is known early for usual lists. */
export const READ_AHEAD_BYTES_MAX = 16 * MIB;
/** Submitted and not yet final; their requests are kept to be sent again under the same ids. */
export const JOBS_MAX = 10_000;
export const OUTSTANDING_BYTES_MAX = 256 * MIB;
/** Requests in one bulk submit: the line limit of the control socket is 4 MiB. */
export const SUBMIT_BYTES_MAX = 2 * MIB;
/** Open task.wait calls; each may bring an answer of 16 MiB. */
export const WAITS_MAX = 8;
/** Outputs that wait for a slow stdout; above it nothing more is asked for, and so nothing more is submitted. */
export const RESULT_BYTES_WAITING_MAX = 32 * MIB;
/** -k: outputs held until their turn; above it they are dropped and fetched again from the mesh at their turn. */
export const KEEP_BYTES_MAX = 64 * MIB;
/** -k: how far submits may run ahead of the first unfinished task; well below the tasks that the mesh retains. */
export const KEEP_SPAN_MAX = 50_000;
/** --pipe. */
export const BLOCK_BYTES_DEFAULT = 64 * KIB;
/** Ids are reserved ahead for this long at most: their homes are chosen among the members of that moment. */
export const ID_POOL_AGE_MS = 60_000;
/** How often the number of slots in the mesh is looked up. */
export const SLOTS_POLL_MS = 2_000;
/** A wait that found nothing is asked again; sooner when many are open, so that they melt into fewer. */
export const WAIT_MS = 20_000;
export const WAIT_BUSY_MS = 1_000;
/** After Ctrl-C: commands get TERM, a grace of 5 s, KILL; then this command ends whatever became of them. */
export const CANCEL_PATIENCE_MS = 20_000;
/** Cancels in flight. */
export const CANCELS_MAX = 64;
/** Between bulk submits of which some were refused for the moment. */
export const REFUSED_DELAY_MS = 250;
/** --joblog: lines that a run which goes on reads at its start; they are in memory then. */
export const JOBLOG_LINES_MAX = 2_000_000;
