/**
 * The `--joblog` of GNU parallel: a line for each task that is over, by which a later run goes on (`--resume`,
 * `--resume-failed`). Tabs between Seq, Host, Starttime, JobRuntime, Send, Receive, Exitval, Signal and Command.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import type { TaskView } from '../../api/task.ts';
import { messageOf } from '../../base/errors.ts';
import { err, ok, type Result } from '../../base/result.ts';
import { decodeBytes } from '../bytes.ts';
import type { Finished } from './job.ts';
import { JOBLOG_LINES_MAX } from './limits.ts';

const HEADER = 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand' as const;
const EXITVAL = 6;
const SIGNAL = 7;

/** How it ended, in two numbers: -1 for what has no exit code of its own. */
export interface Ended {
  readonly exit: number;
  readonly signal: number;
}

export function endedOf({ ending }: Finished): Ended {
  if (ending.kind !== 'task') return { exit: -1, signal: 0 };
  const { state, signal, exit_code: exit } = ending.task;
  const numbers: Readonly<Record<string, number>> = constants.signals;
  if (signal !== undefined) return { exit: 0, signal: numbers[signal] ?? -1 };
  return { exit: exit ?? (state === 'completed' ? 0 : -1), signal: 0 };
}

/** Safe to paste into a shell, and without the characters that would end a field or a line. */
function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (!/[\t\n\r\\]/.test(word)) return `'${word.replaceAll("'", `'\\''`)}'`;
  const escaped = word.replace(
    /[\\'\t\n\r]/g,
    (found) => ({ '\t': '\\t', '\n': '\\n', '\r': '\\r' })[found] ?? `\\${found}`,
  );
  return `$'${escaped}'`;
}

export function lineOf(finished: Finished, argv: readonly string[], sentBytes: number): string {
  const { index, ending } = finished;
  const { exit, signal } = endedOf(finished);
  const task: TaskView | undefined = ending.kind === 'task' ? ending.task : undefined;
  const attempt = task?.attempts.at(-1);
  const startMs = Date.parse(attempt?.placed_at ?? task?.submitted_at ?? '') || 0;
  const endMs = Date.parse(attempt?.ended_at ?? task?.finished_at ?? '') || startMs;
  const runtime = Math.max(0, endMs - startMs) / 1_000;
  const received = decodeBytes(task?.stdout).length + decodeBytes(task?.stderr).length;
  return [
    index + 1,
    attempt?.runner_name ?? '',
    (startMs / 1_000).toFixed(3),
    runtime.toFixed(3).padStart(10),
    sentBytes,
    received,
    exit,
    signal,
    argv.map(quoted).join(' '),
  ].join('\t');
}

/** By Seq: how it ended when it ran last. */
export function parseJoblog(text: string): Result<Map<number, Ended>, string> {
  const ended = new Map<number, Ended>();
  const lines = text.split('\n');
  if (lines.length > JOBLOG_LINES_MAX) return err(`it has more than ${JOBLOG_LINES_MAX} lines`);
  for (const [i, line] of lines.entries()) {
    if (line === '' || line === HEADER) continue;
    // The last line of a run that was killed in the middle of it: that task is not over, as far as is known.
    if (i === lines.length - 1) continue;
    const fields = line.split('\t');
    const [seq, exit, signal] = [fields[0], fields[EXITVAL], fields[SIGNAL]].map(Number);
    const isLine = fields.length >= 9 && [seq, exit, signal].every(Number.isInteger);
    if (!isLine || seq === undefined || seq < 1) return err(`line ${i + 1} is none of a joblog`);
    ended.set(seq, { exit: exit ?? -1, signal: signal ?? 0 });
  }
  return ok(ended);
}

export type Resume = 'no' | 'unfinished' | 'failed';

export class Joblog {
  readonly #file: FileHandle;
  readonly #done: ReadonlySet<number>;
  readonly #failed: (why: string) => void;
  #writing: Promise<void> = Promise.resolve();
  #waiting: string[] = [];

  private constructor(file: FileHandle, done: ReadonlySet<number>, failed: (why: string) => void) {
    this.#file = file;
    this.#done = done;
    this.#failed = failed;
  }

  /**
   * A log that is there is continued with `--resume` and `--resume-failed`, and where the name begins with `+`; else a new one
   * takes its place. `failed` is called when it cannot be written any more.
   */
  static async open(
    name: string,
    resume: Resume,
    failed: (why: string) => void,
  ): Promise<Result<Joblog, string>> {
    const path = name.replace(/^\+/, '');
    const continues = resume !== 'no' || path !== name;
    try {
      const text = continues ? await textOf(path) : '';
      const known = parseJoblog(resume === 'no' ? '' : text);
      if (!known.ok) return err(`--joblog ${path}: ${known.error}`);
      const done = [...known.value].filter(
        ([, { exit, signal }]) => resume === 'unfinished' || (exit === 0 && signal === 0),
      );
      const file = await open(path, continues ? 'a' : 'w');
      const log = new Joblog(file, new Set(done.map(([seq]) => seq)), failed);
      // A line that was cut off says nothing, and would not be one after what comes behind it.
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      if (whole !== text) await file.truncate(Buffer.byteLength(whole));
      if (whole === '') log.#put(`${HEADER}\n`);
      return ok(log);
    } catch (thrown) {
      return err(`--joblog ${path}: ${messageOf(thrown)}`);
    }
  }

  /** It is over, by what an earlier run wrote. */
  isDone(index: number): boolean {
    return this.#done.has(index + 1);
  }

  add(finished: Finished, argv: readonly string[], sentBytes: number): void {
    this.#put(`${lineOf(finished, argv, sentBytes)}\n`);
  }

  /** What comes while a write is under way goes out together with the next one. */
  #put(text: string): void {
    this.#waiting.push(text);
    if (this.#waiting.length > 1) return;
    this.#writing = this.#writing.then(async () => {
      const lines = this.#waiting.join('');
      this.#waiting = [];
      try {
        await this.#file.appendFile(lines);
      } catch (thrown) {
        this.#failed(`--joblog: ${messageOf(thrown)}`);
      }
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return '';
    throw thrown;
  }
}
