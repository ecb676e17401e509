/** The exit codes of the CLI, in one place: scripts depend on them, so a number never changes its meaning. */
import { constants } from 'node:os';
import type { TaskView } from '../api/task.ts';
import type { RpcFailure } from '../client/types.ts';

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** sysexits: EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM. */
  unreachable: 69,
  tryLater: 75,
  permission: 77,
  /** As timeout(1). */
  timedOut: 124,
  /** `run`: anything of Covey's own, never of the command. */
  covey: 125,
  /** As a shell reports a program that SIGPIPE ended (128 + 13). */
  brokenPipe: 141,
  /** `xargs`: more failed tasks than fit into a number, and everything else that goes wrong. */
  xargsMany: 101,
  xargsOther: 255,
} as const;

const XARGS_COUNT_MAX = 100;

const PERMISSION_CODES: readonly string[] = ['NOT_ALLOWED', 'REVOKED', 'PERMISSION_DENIED'];

export function exitOfFailure(failure: RpcFailure): number {
  if (failure.code === 'DISCONNECTED' || failure.code === 'NO_DAEMON') return EXIT.unreachable;
  if (PERMISSION_CODES.includes(failure.code)) return EXIT.permission;
  // Retryable, since a peer that is away may know the task; a script that looped on a wrong id would never end.
  if (failure.code === 'NOT_FOUND') return EXIT.failure;
  if (failure.code === 'INVALID_PARAMS') return EXIT.usage;
  return failure.retryable ? EXIT.tryLater : EXIT.failure;
}

/** 128 + n, as a shell has it; 125 for a name that this host does not know. */
export function exitOfSignal(signal: string): number {
  const number = (constants.signals as Readonly<Record<string, number | undefined>>)[signal];
  return number === undefined ? EXIT.covey : 128 + number;
}

export type Outcome = Pick<TaskView, 'state' | 'reason' | 'exit_code' | 'signal'>;

/** The exit code of `run` for a final task: the command's own where the command itself ended. */
export function exitOfTask(task: Outcome): number {
  if (task.state === 'completed') return task.exit_code ?? EXIT.ok;
  if (task.state === 'expired') return EXIT.timedOut;
  if (task.state !== 'failed') return EXIT.covey;
  // Before the exit code: a command that is ended at its time limit has one too, or a signal.
  if (task.reason === 'timeout') return EXIT.timedOut;
  if (task.reason !== 'exit') return EXIT.covey;
  if (task.exit_code !== undefined) return task.exit_code === 0 ? EXIT.covey : task.exit_code;
  return task.signal === undefined ? EXIT.covey : exitOfSignal(task.signal);
}

export function exitOfXargs(failed: number): number {
  return failed > XARGS_COUNT_MAX ? EXIT.xargsMany : failed;
}
