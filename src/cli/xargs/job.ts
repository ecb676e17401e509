/** One task of a run, from the submit to its result. */
import type { SubmitInput, TaskView } from '../../api/task.ts';
import type { Work } from './source.ts';

export interface Job {
  /** Position in the input. */
  readonly index: number;
  readonly work: Work;
  /** The same bytes at every repetition: the mesh takes them for the same task by their digest. */
  readonly request: SubmitInput;
  readonly requestBytes: number;
  readonly id: string;
  /** True once it may have reached a daemon: from then on it can only be asked about, not forgotten. */
  sent: boolean;
}

/** What became of a piece of work. */
export type Ending =
  | { readonly kind: 'task'; readonly task: TaskView; readonly outputDropped: boolean }
  | { readonly kind: 'refused'; readonly id: string | undefined; readonly why: string }
  /** Over by what the joblog of an earlier run says. */
  | { readonly kind: 'skipped' };

export interface Finished {
  readonly index: number;
  readonly work: Work;
  readonly ending: Ending;
}

const outputLength = (output: TaskView['stdout']): number =>
  output === undefined ? 0 : typeof output === 'string' ? output.length : output.base64.length;

/** Memory that a result holds. */
export function finishedBytes({ ending }: Finished): number {
  if (ending.kind !== 'task') return 256;
  return 1_024 + outputLength(ending.task.stdout) + outputLength(ending.task.stderr);
}

/** The same without its output, which the mesh still has. */
export function withoutOutput(finished: Finished): Finished {
  const { ending } = finished;
  if (ending.kind !== 'task') return finished;
  const { stdout: _stdout, stderr: _stderr, ...task } = ending.task;
  return { ...finished, ending: { kind: 'task', task, outputDropped: true } };
}
