/**
 * `covey run CMD …`: a command in the mesh that feels like one here. Its output is live on a terminal; elsewhere it is
 * written once, byte for byte, from the accepted result, so that a restarted attempt never shows twice in a file.
 */
import { STDIN_BYTES_MAX, WAIT_MS_MAX } from '../api/limits.ts';
import { isFinalState, type SubmitInput, type TaskView } from '../api/task.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import { decodeBytes, encodeBytes, printable } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT, exitOfSignal, exitOfTask } from './exit-codes.ts';
import {
  type ExecFlags,
  environmentOf,
  execFlags,
  submitFieldsOf,
  workingDirectory,
} from './flags.ts';
import { LogFollower, type StreamName } from './follow.ts';
import { Interrupts } from './interrupts.ts';
import { keptOutput, wroteTooMuch } from './kept-output.ts';
import { readAll } from './stdin.ts';
import { submitUnlessInterrupted, warnOfReceipt } from './submitting.ts';
import type { Verb } from './verb.ts';
import { WaitingNotice } from './waiting.ts';

/** The rest of a log whose command has ended comes from the runner's disk. */
const LAST_OUTPUT_MS = 5_000;
const LINE_FEED = 0x0a;

interface RunFlags extends ExecFlags {
  readonly detach?: boolean;
  readonly stdin?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

const EXIT_HELP = `
Output appears live where it goes to a terminal; elsewhere it is written once, when the attempt has ended.
stdout and stderr together may be 1 MiB: a command that writes more is ended and fails, unless --output tail is given.
Standard input travels with the command when it is not a terminal (1 MiB at most; --no-stdin: not at all).
Ctrl-C cancels the task, also while it is being submitted; a second Ctrl-C leaves it alone and prints its id on
stderr.
Exit code: the command's own; 128+n when a signal ended it; 124 timed out; 125 a failure of Covey's own;
126 and 127 as a shell: not executable, not found.
`;

export const verb: Verb = {
  failureExit: EXIT.covey,
  configure(command) {
    execFlags(command)
      .argument('<command...>', 'the command and its arguments')
      .passThroughOptions()
      .option('--shell', "the first argument is a line for '/bin/sh -c', the rest its $0, $1 …")
      .option('--detach', 'submit it, print its id and return')
      .option('--no-stdin', 'do not read standard input')
      .option('-v, --verbose', 'say on stderr also that it waits for a free slot')
      .option('--json', 'print the final task (with --detach: the receipt) as JSON instead')
      .addHelpText('after', EXIT_HELP);
  },
  async run(cli, command) {
    const flags = command.opts<RunFlags>();
    const task = await buildTask(cli, flags, command.args);
    if (!task.ok) return cli.usage(task.error);
    cli.saysLostConnection();
    const interrupts = new Interrupts(cli);
    try {
      const receipt = await submitUnlessInterrupted(cli, task.value, interrupts);
      if (receipt === 'interrupted') return exitOfSignal(interrupts.signal ?? 'SIGINT');
      if (!receipt.ok) return await cli.fail(receipt.error);
      const { id } = receipt.value;
      if (flags.detach === true) {
        // Whoever waits for the end hears of a loss; whoever leaves should know how well the task is kept.
        await warnOfReceipt(cli, receipt.value);
        await (flags.json === true ? cli.json(receipt.value) : cli.print(`${id}\n`));
        return EXIT.ok;
      }
      const waiting = new WaitingNotice(
        cli,
        id,
        cli.io.stderr.isTerminal || flags.verbose === true,
      );
      void waiting.run();
      try {
        return await new Attendance(cli, id, flags.json === true, interrupts).finish();
      } finally {
        waiting.stop();
      }
    } finally {
      interrupts.end();
    }
  },
};

async function buildTask(
  cli: Cli,
  flags: RunFlags,
  argv: readonly string[],
): Promise<Result<SubmitInput, string>> {
  const env = environmentOf(flags.env ?? [], cli.io.env);
  if (typeof env === 'string') return err(env);
  const cwd = workingDirectory(cli, flags.cwd);
  if (!cwd.ok) return cwd;
  let stdin: Buffer = Buffer.alloc(0);
  if (flags.stdin !== false && !cli.io.stdinIsTerminal) {
    const read = await readAll(cli.io.stdin, STDIN_BYTES_MAX);
    if (!read.ok) return read;
    stdin = read.value;
  }
  return ok({
    exec: {
      argv: [...argv],
      cwd: cwd.value,
      ...(Object.keys(env).length === 0 ? {} : { env }),
      ...(stdin.length === 0 ? {} : { stdin: encodeBytes(stdin) }),
      ...(flags.shell === true ? { shell: true } : {}),
    },
    ...submitFieldsOf(flags),
  });
}

/** From the receipt to the exit code. */
class Attendance {
  readonly #cli: Cli;
  readonly #id: string;
  readonly #json: boolean;
  readonly #interrupts: Interrupts;
  readonly #live: readonly StreamName[];
  /** What was shown last on the terminal did not end its line. */
  #endsInLine = false;

  constructor(cli: Cli, id: string, json: boolean, interrupts: Interrupts) {
    this.#cli = cli;
    this.#id = id;
    this.#json = json;
    this.#interrupts = interrupts;
    const streams: readonly StreamName[] = ['stdout', 'stderr'];
    this.#live = json ? [] : streams.filter((name) => cli.io[name].isTerminal);
  }

  async finish(): Promise<number> {
    const detached = new Promise<'detached'>((resolve) => {
      this.#interrupts.listen((count) => {
        if (count === 1) void this.#cancel();
        else resolve('detached');
      });
    });
    const follower = this.#follow();
    const following = follower?.run();
    const end = await Promise.race([detached, this.#wait()]);
    if (end === 'detached') {
      follower?.stop();
      await this.#cli.io.stderr.line(this.#id);
      return exitOfSignal(this.#interrupts.signal ?? 'SIGINT');
    }
    if (!end.ok) {
      follower?.stop();
      await this.#cli.say(`task ${this.#id} goes on without this command`);
      return this.#cli.fail(end.error);
    }
    if (following !== undefined && wroteTooMuch(end.value)) {
      // The result has no output that could stand in for what was not shown yet.
      await Promise.race([following, this.#cli.mesh.sleep(LAST_OUTPUT_MS)]);
    }
    follower?.stop();
    await following;
    return this.#report(end.value, follower);
  }

  async #cancel(): Promise<void> {
    await this.#cli.say('canceling; Ctrl-C again leaves the task alone');
    const answer = await this.#cli.mesh.call('task.cancel', {
      id: this.#id,
      reason: this.#interrupts.signal ?? 'SIGINT',
    });
    if (!answer.ok) await this.#cli.fail(answer.error);
  }

  async #wait(): Promise<Result<TaskView, RpcFailure>> {
    for (;;) {
      const params = { ids: [this.#id], timeout_ms: WAIT_MS_MAX };
      const answer = await this.#cli.mesh.call('task.wait', params, { daemonMs: WAIT_MS_MAX });
      if (!answer.ok) return answer;
      const [task] = answer.value.done;
      if (task !== undefined && isFinalState(task.state)) return ok(task);
    }
  }

  #follow(): LogFollower | undefined {
    const [only, other] = this.#live;
    if (only === undefined) return undefined;
    const wanted = other === undefined ? only : 'both';
    return new LogFollower(this.#cli.mesh, this.#id, wanted, {
      show: (stream, bytes) => {
        this.#endsInLine = bytes.at(-1) !== LINE_FEED;
        return this.#cli.io[stream].write(bytes);
      },
      restarted: () => this.#cli.say('the attempt was lost; another began'),
    });
  }

  async #report(task: TaskView, follower: LogFollower | undefined): Promise<number> {
    const kept = wroteTooMuch(task) ? await keptOutput(this.#cli, this.#id) : undefined;
    if (this.#json) {
      await this.#cli.json(task);
    } else if (kept !== undefined) {
      for (const stream of ['stdout', 'stderr'] as const) {
        if (this.#live.includes(stream)) continue;
        await this.#cli.io[stream].write(kept.streams[stream]);
      }
    } else {
      for (const stream of ['stdout', 'stderr'] as const) {
        const live = this.#live.includes(stream);
        const shown = live && follower !== undefined ? follower.cursors[stream].shown : 0;
        await this.#cli.io[stream].write(decodeBytes(task[stream]).subarray(shown));
      }
    }
    if (task.state === 'canceled' && this.#interrupts.signal !== undefined) {
      return exitOfSignal(this.#interrupts.signal);
    }
    const exit = exitOfTask(task);
    if (kept !== undefined) {
      // A command that is ended while it writes is ended in the middle of a line.
      if (this.#endsInLine && this.#cli.io.stderr.isTerminal) await this.#cli.io.stderr.line('');
      await this.#cli.say(`task ${this.#id} failed: ${kept.sentence}`);
    } else if (task.state !== 'completed' && task.reason !== 'exit') {
      const why = task.error === undefined ? '' : `: ${printable(task.error.message)}`;
      const reason = task.reason === undefined ? '' : ` (${task.reason})`;
      await this.#cli.say(`task ${this.#id} ${task.state}${reason}${why}`);
    }
    return exit;
  }
}
