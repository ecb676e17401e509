/**
 * Child processes. Each runs in a process group of its own; whatever becomes of the daemon, all its groups are
 * gone within a second (a guardian process sees to it, and knows the group before the command runs).
 *
 * Guarantees: `exited` is called exactly once per child, last, after all output up to the end of the main
 * process was delivered (what a process left behind in the background still writes is not waited for: the
 * group is killed when the main process has ended). Output chunks of one stream are in order.
 * A command that cannot be started is an exit too: 127 not found, 126 not executable, as a shell has it.
 */
import type { Result } from '../base/result.ts';

export type OutputStream = 'stdout' | 'stderr';

export interface SpawnRequest {
  /** Unique per start on this host, letters, digits and `-`; names the spool file. */
  readonly runId: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing of the daemon's own is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
}

export interface ChildExit {
  /** Exit code, or undefined when a signal ended it. */
  readonly code: number | undefined;
  /** `SIGKILL`, … */
  readonly signal: string | undefined;
  /** Set when nothing was started: the reason. */
  readonly startError: string | undefined;
  /**
   * With `startError`: nothing is wrong with the request, this system had no descriptor, process or memory for it (or
   * is stopping); another host, or this one later, may start it.
   */
  readonly isHostFault?: boolean;
}

export interface ChildHandlers {
  /** The command is about to run in this process group. */
  started(groupId: number): void;
  output(stream: OutputStream, bytes: Uint8Array): void;
  exited(exit: ChildExit): void;
}

export interface Child {
  /** Sends the signal to the whole group. */
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Stops and resumes reading of output, so that a slow consumer holds the command back. */
  pauseOutput(): void;
  resumeOutput(): void;
}

export interface Processes {
  spawn(request: SpawnRequest, handlers: ChildHandlers): Child;
  /** Whether a directory is there and may be entered. */
  directoryExists(path: string): Promise<boolean>;
  /** PATH, HOME, USER, LANG, TZ of the daemon's environment, those that are set. */
  baseEnvironment(): Readonly<Record<string, string>>;
  /** Kills every group and ends the guardian. */
  stop(): Promise<void>;
}

export interface SpoolPart {
  readonly bytes: Uint8Array;
  /** The length so far. */
  readonly endBytes: number;
  readonly truncated: boolean;
}

/**
 * Spooled output of runs on this host, for `logs` only; never a result. So a disk that fails, or a daemon that is out
 * of descriptors, costs log lines and nothing else: no promise here rejects, errors are answers.
 */
export interface Spool {
  /**
   * Appends, in order, and never blocks; beyond SPOOL_RUN_BYTES_MAX (both streams together) a run's later bytes
   * are dropped and `truncated` is kept. Beyond SPOOL_TOTAL_BYTES_MAX the oldest runs are removed.
   */
  append(runId: string, stream: OutputStream, bytes: Uint8Array): void;
  /** Reads up to `limit` bytes from `offset`. Undefined: unknown run. */
  read(
    runId: string,
    stream: OutputStream,
    offset: number,
    limit: number,
  ): Promise<Result<SpoolPart | undefined, string>>;
  /** Forgets the run, whatever the disk says: files that it does not delete are found again at the next start. */
  remove(runId: string): Promise<Result<void, string>>;
  /** Run ids that have a file, oldest first. */
  list(): Promise<string[]>;
}

export const SPOOL_RUN_BYTES_MAX = 16 * 1_024 * 1_024;
/** Of all runs together: what a host gives for logs of past runs. */
export const SPOOL_TOTAL_BYTES_MAX = 1_024 * 1_024 * 1_024;
/** Run ids that a spool takes: they become file names. */
export const RUN_ID_PATTERN = /^[A-Za-z0-9-]{1,128}$/;
