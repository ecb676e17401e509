/** Writes what tasks printed: whole tasks, one after the other, byte for byte, no faster than stdout takes it. */
import type { TaskView } from '../../api/task.ts';
import { decodeBytes, encodeBytes, printable, shorten } from '../bytes.ts';
import type { Cli } from '../context.ts';
import { keptOutput, wroteTooMuch } from '../kept-output.ts';
import type { Progress } from '../progress.ts';
import type { Gate } from './gate.ts';
import { type Finished, finishedBytes, withoutOutput } from './job.ts';
import { KEEP_BYTES_MAX } from './limits.ts';
import { OrderKeeper } from './order.ts';
import { workName } from './source.ts';

const NAME_CHARS_MAX = 200;
const LINE_FEED = 0x0a;

export interface Tally {
  completed: number;
  failed: number;
  canceled: number;
}

export class Writer {
  readonly #cli: Cli;
  readonly #gate: Gate;
  readonly #progress: () => Progress;
  /** With -k; without, results go out in the order in which they came. */
  readonly #keeper: OrderKeeper<Finished> | undefined;
  readonly #arrived: Finished[] = [];
  #arrivedBytes = 0;
  #writing = false;
  #closed = false;
  readonly tally: Tally = { completed: 0, failed: 0, canceled: 0 };
  /** Tasks that were canceled count as failed, unless it was Ctrl-C here that canceled them. */
  interrupted = false;

  constructor(cli: Cli, gate: Gate, progress: () => Progress, keepOrder: boolean) {
    this.#cli = cli;
    this.#gate = gate;
    this.#progress = progress;
    this.#keeper = keepOrder
      ? new OrderKeeper(KEEP_BYTES_MAX, finishedBytes, withoutOutput)
      : undefined;
  }

  /** Bytes that only a slow reader holds up. Results that -k holds for their turn are bounded by the keeper. */
  get waitingBytes(): number {
    return this.#arrivedBytes;
  }

  /** -k: the position in the input that is written next. */
  get next(): number {
    return this.#keeper?.next ?? 0;
  }

  put(finished: Finished): void {
    if (this.#keeper === undefined) {
      this.#arrive(finished);
    } else {
      this.#keeper.put(finished.index, finished);
      this.#moveInOrder();
    }
  }

  /** Once nothing more will come. What -k holds behind a task that never became final is not written. */
  close(): void {
    this.#closed = true;
    this.#gate.wake();
  }

  async run(): Promise<void> {
    for (;;) {
      const finished = this.#arrived.shift();
      if (finished === undefined) {
        if (this.#closed) return;
        await this.#gate.wait();
        continue;
      }
      this.#writing = true;
      await this.#emit(finished);
      this.#arrivedBytes -= finishedBytes(finished);
      this.#writing = false;
      this.#moveInOrder();
      this.#gate.wake();
    }
  }

  /** -k: moves results whose turn it is, a few at a time, so that shed ones are fetched again no sooner than needed. */
  #moveInOrder(): void {
    while (this.#keeper !== undefined && this.#arrived.length < 16) {
      const next = this.#keeper.take();
      if (next === undefined) return;
      this.#arrive(next);
    }
  }

  #arrive(finished: Finished): void {
    this.#arrived.push(finished);
    this.#arrivedBytes += finishedBytes(finished);
    if (!this.#writing) this.#gate.wake();
  }

  async #emit(finished: Finished): Promise<void> {
    const { ending } = finished;
    if (ending.kind === 'skipped') return;
    let task: TaskView | undefined;
    let lost: string | undefined;
    if (ending.kind === 'task') {
      task = ending.task;
      if (wroteTooMuch(task)) {
        const kept = await keptOutput(this.#cli, task.id);
        const { stdout, stderr } = kept.streams;
        task = { ...task, stdout: encodeBytes(stdout), stderr: encodeBytes(stderr) };
        lost = kept.sentence;
      } else if (ending.outputDropped) {
        const answer = await this.#cli.mesh.call('task.get', { id: task.id });
        if (answer.ok) task = answer.value;
        else lost = `its output is gone: ${answer.error.message}`;
      }
    }
    const shown = task;
    const write = async (): Promise<boolean> => {
      const atLineStart = await this.#show(finished, shown);
      return (await this.#count(finished, shown, lost)) || atLineStart;
    };
    // A bar that is erased for every result that goes to a file would hardly ever be seen.
    if (this.#touchesTerminal(shown, lost)) await this.#progress().around(write);
    else await write();
  }

  #touchesTerminal(task: TaskView | undefined, lost: string | undefined): boolean {
    if (this.#cli.io.stdout.isTerminal) return true;
    const says = task?.state !== 'completed' || lost !== undefined;
    const { stderr } = task ?? {};
    return this.#cli.io.stderr.isTerminal && (says || (stderr !== undefined && stderr !== ''));
  }

  /** True when no terminal is left in the middle of a line. */
  async #show(finished: Finished, task: TaskView | undefined): Promise<boolean> {
    const { stdout, stderr } = this.#cli.io;
    if (this.#cli.options.json === true) {
      await this.#cli.json(jsonOf(finished, task));
      return true;
    }
    const outputs = [
      { sink: stdout, bytes: decodeBytes(task?.stdout) },
      { sink: stderr, bytes: decodeBytes(task?.stderr) },
    ];
    let atLineStart = true;
    for (const { sink, bytes } of outputs) {
      await sink.write(bytes);
      if (sink.isTerminal && bytes.length > 0) atLineStart = bytes.at(-1) === LINE_FEED;
    }
    return atLineStart;
  }

  /** True when a line was printed. */
  async #count(
    finished: Finished,
    task: TaskView | undefined,
    lost: string | undefined,
  ): Promise<boolean> {
    if (task?.state === 'completed' && lost === undefined) {
      this.tally.completed++;
      return false;
    }
    if (task?.state === 'canceled' && this.interrupted) {
      this.tally.canceled++;
      return false;
    }
    this.tally.failed++;
    const { ending } = finished;
    const why = lost ?? (task === undefined ? refusal(ending) : failureText(task));
    const name = shorten(printable(workName(finished.work)), NAME_CHARS_MAX);
    const id = idOf(ending);
    const where = id === undefined ? 'not submitted' : `task ${id}`;
    await this.#cli.say(`failed: ${name} (${where}): ${printable(why)}`);
    return true;
  }
}

const idOf = (ending: Finished['ending']): string | undefined =>
  ending.kind === 'task' ? ending.task.id : ending.kind === 'refused' ? ending.id : undefined;

const refusal = (ending: Finished['ending']): string =>
  ending.kind === 'refused' ? ending.why : 'no result';

function failureText(task: TaskView): string {
  if (task.signal !== undefined) return `signal ${task.signal}`;
  if (task.reason === 'exit' && task.exit_code !== undefined) return `exit ${task.exit_code}`;
  const reason = task.reason === undefined ? task.state : `${task.state}, ${task.reason}`;
  return task.error === undefined ? reason : `${reason}: ${task.error.message}`;
}

function jsonOf(finished: Finished, task: TaskView | undefined): Record<string, unknown> {
  const { index, work, ending } = finished;
  return {
    index,
    ...(work.kind === 'items' ? { items: work.items } : { name: workName(work) }),
    ...(task === undefined ? { error: { message: refusal(ending) } } : { task }),
  };
}
