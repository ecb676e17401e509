/** `covey xargs CMD …`: one task for every line of stdin, as many at once as the mesh has room for. */
import { ATTEMPTS_MAX, BULK_MAX, STDIN_BYTES_MAX } from '../api/limits.ts';
import type { SubmitInput } from '../api/task.ts';
import { decodeBytes } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT, exitOfXargs } from './exit-codes.ts';
import {
  type ExecFlags,
  environmentOf,
  execFlags,
  integer,
  size,
  submitFieldsOf,
  workingDirectory,
} from './flags.ts';
import { type Progress, startProgress } from './progress.ts';
import type { Verb } from './verb.ts';
import { buildArgv, type CommandTemplate } from './xargs/command.ts';
import { Engine } from './xargs/engine.ts';
import { Gate } from './xargs/gate.ts';
import { type Halt, parseHalt } from './xargs/halt.ts';
import { Halting } from './xargs/halting.ts';
import { InputQueue } from './xargs/input.ts';
import type { Finished } from './xargs/job.ts';
import { Joblog, type Resume } from './xargs/joblog.ts';
import { BLOCK_BYTES_DEFAULT, CANCEL_PATIENCE_MS, JOBS_MAX } from './xargs/limits.ts';
import { BlockSource, ItemSource, type Work, type WorkSource } from './xargs/source.ts';
import { Writer } from './xargs/writer.ts';

interface XargsFlags extends ExecFlags {
  readonly null?: boolean;
  readonly items?: number;
  readonly jobs?: number;
  readonly keepOrder?: boolean;
  readonly pipe?: boolean;
  readonly block?: number;
  readonly replace?: string;
  readonly progress?: boolean;
  readonly joblog?: string;
  readonly resume?: boolean;
  readonly resumeFailed?: boolean;
  readonly retries?: number;
  readonly halt?: string;
}

const HELP = `
Each line is one item: never split, never unquoted, given to the command without a shell.
{} is replaced wherever it stands in an argument; without {} the items are appended. With -n above 1 an
argument that contains {} stands once for each item.
A task's output is written when the task is final, whole and unmixed, of its accepted attempt only.
A task's stdout and stderr together may be 1 MiB: a command that writes more is ended and fails, unless
--output tail is given.
-k: outputs wait for their turn in up to 64 MiB of memory; beyond that they are fetched again from the mesh.
Ctrl-C cancels what waits and runs; a second one ends at once.
--joblog, --resume, --resume-failed, --retries and --halt are those of GNU parallel. A joblog knows tasks by their
position in the input: with --resume input, -n and --block must be what they were.
Exit code: 0; 1-100: so many tasks failed; 101: more; 255: anything else. After --halt: 0 for success=…; of fail=1
and done=1 that of the last task; of percentages the percentage that failed.
`;

export const verb: Verb = {
  failureExit: EXIT.xargsOther,
  configure(command) {
    execFlags(command)
      .argument('<command...>', 'the command and its arguments')
      .passThroughOptions()
      .option('-0, --null', 'items end with NUL instead of a line feed (find -print0)')
      .option('-n, --items <n>', 'items a task, 1 to 1000 (default: 1)', integer(1, BULK_MAX))
      .option(
        '-j, --jobs <n>',
        'tasks submitted and not yet final, in the whole mesh, 1 to 10000 (default: twice all slots)',
        integer(1, JOBS_MAX),
      )
      .option('-k, --keep-order', 'print in the order of the input')
      .option('-I, --replace <str>', 'what stands for the item (default: {})')
      .option('--pipe', 'give blocks of stdin to the tasks as their stdin')
      .option(
        '--block <size>',
        'size of a block, cut at line ends (default: 64KiB, at most 1MiB)',
        size,
      )
      .option(
        '--joblog <file>',
        'write a line for each task that is over, in place of what the file holds (+FILE: behind it)',
      )
      .option('--resume', 'leave out what the joblog names, and go on behind it')
      .option('--resume-failed', 'the same, but what failed there is run again')
      .option(
        '--retries <n>',
        `try a failing task n times (0: ${ATTEMPTS_MAX}); the same as --attempts`,
        integer(0, ATTEMPTS_MAX),
      )
      .option(
        '--halt <when>',
        'end early: now or soon, then fail, success or done with a number or percentage (soon,fail=3)',
      )
      .option('--progress', 'show progress even where stderr is no terminal')
      .option('--no-progress', 'show none')
      .option('--json', 'print one JSON object a task instead of its output')
      .addHelpText('after', HELP);
  },
  async run(cli, command) {
    const flags = command.opts<XargsFlags>();
    const halt = parseHalt(flags.halt ?? 'never');
    if (typeof halt === 'string') return cli.usage(halt);
    const wrong = usageOf(flags);
    if (wrong !== undefined) return cli.usage(wrong);
    const env = environmentOf(flags.env ?? [], cli.io.env);
    if (typeof env === 'string') return cli.usage(env);
    const cwd = workingDirectory(cli, flags.cwd);
    if (!cwd.ok) return cli.usage(cwd.error);
    const template: CommandTemplate = { words: command.args, placeholder: flags.replace ?? '{}' };
    const source: WorkSource =
      flags.pipe === true
        ? new BlockSource(flags.block ?? BLOCK_BYTES_DEFAULT, flags.null === true)
        : new ItemSource(template, flags.items ?? 1, flags.null === true);
    const place = {
      cwd: cwd.value,
      ...(Object.keys(env).length === 0 ? {} : { env }),
    };
    const fields = submitFieldsOf(attemptsOf(flags));
    const argvOf = (work: Work): string[] =>
      work.kind === 'items' ? buildArgv(template, work.items) : [...template.words];
    const requestOf: RequestOf = (work) => ({
      ...fields,
      exec: {
        ...{ argv: argvOf(work), ...place },
        ...(work.kind === 'block' ? { stdin: work.stdin } : {}),
      },
    });
    return new XargsRun(cli, source, flags, halt, { argvOf, requestOf }).run();
  },
};

type RequestOf = (work: Exclude<Work, { kind: 'refused' }>) => SubmitInput;

/** `--retries` in the words of `--attempts`. */
const attemptsOf = (flags: XargsFlags): XargsFlags =>
  flags.retries === undefined ? flags : { ...flags, attempts: flags.retries || ATTEMPTS_MAX };

const resumeOf = (flags: XargsFlags): Resume =>
  flags.resumeFailed === true ? 'failed' : flags.resume === true ? 'unfinished' : 'no';

function usageOf(flags: XargsFlags): string | undefined {
  if (flags.pipe === true && (flags.items !== undefined || flags.replace !== undefined)) {
    return '--pipe gives blocks, not items: it goes with neither -n nor -I';
  }
  if (flags.block !== undefined && flags.pipe !== true) return '--block goes with --pipe';
  if (flags.joblog === undefined && resumeOf(flags) !== 'no')
    return '--resume and --resume-failed go by a --joblog: name it';
  if (flags.retries !== undefined && flags.attempts !== undefined)
    return '--retries and --attempts say the same: give one of them';
  if (flags.block !== undefined && (flags.block < 1 || flags.block > STDIN_BYTES_MAX)) {
    return '--block must be from 1B to 1MiB';
  }
  return flags.replace === '' ? '-I needs a text' : undefined;
}

/** Puts the parts together, and is there for Ctrl-C. */
class XargsRun {
  readonly #cli: Cli;
  readonly #gate = new Gate();
  readonly #input: InputQueue;
  readonly #writer: Writer;
  readonly #engine: Engine;
  readonly #progress: Progress;
  readonly #flags: XargsFlags;
  readonly #halting: Halting;
  readonly #argvOf: (work: Work) => string[];
  #joblog: Joblog | undefined;

  constructor(
    cli: Cli,
    source: WorkSource,
    flags: XargsFlags,
    halt: Halt | undefined,
    { argvOf, requestOf }: { argvOf: (work: Work) => string[]; requestOf: RequestOf },
  ) {
    const keepOrder = flags.keepOrder === true;
    this.#cli = cli;
    this.#flags = flags;
    this.#argvOf = argvOf;
    this.#halting = new Halting(halt, () => (this.#input.ended ? this.#input.read : undefined));
    this.#input = new InputQueue(cli.io.stdin, source, this.#gate);
    this.#writer = new Writer(cli, this.#gate, () => this.#progress, keepOrder);
    this.#engine = new Engine(cli.mesh, this.#input, this.#writer, this.#gate, {
      jobs: flags.jobs,
      keepOrder,
      requestOf,
      isDone: (index) => this.#joblog?.isDone(index) === true,
      isEnding: () => this.#halting.isReached,
      onFinished: (finished) => this.#finished(finished),
    });
    // Last: the bar looks at all of them at once.
    this.#progress = startProgress(cli.io, flags.progress, 'covey xargs', () => ({
      done: this.#engine.done,
      total: this.#input.ended ? this.#input.read : undefined,
      read: this.#input.read,
      failed: this.#writer.tally.failed,
      outstanding: this.#engine.outstanding,
    }));
  }

  #finished(finished: Finished): void {
    const { work, ending } = finished;
    const isCanceled = ending.kind === 'task' && ending.task.state === 'canceled';
    // What this command itself has ended is not over: another run does it.
    if (ending.kind === 'skipped' || (isCanceled && this.#writer.interrupted)) return;
    const argv = work.kind === 'refused' ? [work.name] : this.#argvOf(work);
    const sentBytes = work.kind === 'block' ? decodeBytes(work.stdin).length : 0;
    this.#joblog?.add(finished, argv, sentBytes);
    this.#halting.finished(finished);
  }

  async run(): Promise<number> {
    if (this.#flags.joblog !== undefined) {
      const giveUp = (why: string): void => this.#engine.giveUp(why);
      const log = await Joblog.open(this.#flags.joblog, resumeOf(this.#flags), giveUp);
      if (!log.ok) {
        await this.#cli.say(log.error);
        return EXIT.xargsOther;
      }
      this.#joblog = log.value;
    }
    try {
      return await this.#runAll();
    } finally {
      await this.#joblog?.close();
    }
  }

  async #runAll(): Promise<number> {
    this.#cli.saysLostConnection((line) =>
      this.#progress.around(async () => {
        await this.#cli.io.stderr.line(line);
        return true;
      }),
    );
    const reading = this.#input.run();
    const writing = this.#writer.run();
    const once = Promise.withResolvers<'once'>();
    const twice = Promise.withResolvers<'twice'>();
    let interrupts = 0;
    const off = this.#cli.io.onInterrupt(() => {
      if (++interrupts === 1) once.resolve('once');
      else twice.resolve('twice');
    });
    const watchOutput = this.#interruptWhenBroken(() => once.resolve('once'));
    try {
      const { reached } = this.#halting;
      let end = await Promise.race([this.#engine.run(), once.promise, reached]);
      if (end === 'soon' || end === 'now') end = await this.#halt(end, once.promise);
      if (end === 'once') await this.#cancel(twice.promise);
      await reading;
      this.#writer.close();
      await Promise.race([writing, twice.promise]);
    } finally {
      clearInterval(watchOutput);
      off();
      await this.#progress.stop();
    }
    return this.#report();
  }

  /** A reader that went away (`| head`) is like Ctrl-C, said to nobody. */
  #interruptWhenBroken(interrupt: () => void): NodeJS.Timeout {
    return setInterval(() => {
      if (this.#cli.io.stdout.broken) interrupt();
    }, 100);
  }

  /** Asked for by --halt. Ctrl-C ends the wait for what still runs. */
  async #halt(when: 'soon' | 'now', once: Promise<'once'>): Promise<'once' | undefined> {
    this.#writer.interrupted = true;
    const { outstanding } = this.#engine;
    if (outstanding > 0) {
      const what = when === 'soon' ? 'waiting for what runs of' : 'canceling';
      await this.#progress.around(async () => {
        await this.#cli.say(`--halt ${this.#flags.halt}: ${what} ${outstanding} tasks`);
        return true;
      });
    }
    return Promise.race([this.#engine.halt(when).then(() => undefined), once]);
  }

  async #cancel(twice: Promise<'twice'>): Promise<void> {
    this.#writer.interrupted = true;
    if (!this.#cli.io.stdout.broken) {
      await this.#progress.around(async () => {
        const { outstanding } = this.#engine;
        await this.#cli.say(`canceling ${outstanding} tasks; Ctrl-C again ends at once`);
        return true;
      });
    }
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CANCEL_PATIENCE_MS);
    });
    await Promise.race([this.#engine.interrupt(), twice, patience]);
    clearTimeout(timer);
  }

  async #report(): Promise<number> {
    const { tally } = this.#writer;
    const { stop, outstanding } = this.#engine;
    if (stop === undefined) {
      const total = tally.failed + tally.completed;
      if (tally.failed > 0) await this.#cli.say(`${tally.failed} of ${total} tasks failed`);
      return this.#halting.isReached ? this.#halting.exit : exitOfXargs(tally.failed);
    }
    const isBegun = tally.completed + tally.failed + tally.canceled + outstanding > 0;
    const counts = `${tally.completed} completed, ${tally.failed} failed, ${tally.canceled} canceled`;
    if (stop.kind === 'halted') {
      await this.#cli.say(`halted: ${counts}`);
      return this.#halting.exit;
    }
    if (stop.kind === 'failed') {
      if (isBegun) await this.#cli.say(`${counts}, ${outstanding} still in the mesh; gave up:`);
      return this.#cli.fail(stop.failure);
    }
    if (!this.#cli.io.stdout.broken) {
      const left = outstanding === 0 ? '' : `, ${outstanding} may still run`;
      await this.#cli.say(`interrupted: ${counts}${left}`);
    }
    return EXIT.xargsOther;
  }
}
