/** `covey tasks`: tasks of the whole mesh, newest first. */
import { Option } from 'commander';
import { LIST_MAX } from '../api/limits.ts';
import { TASK_STATES, type TaskState, type TaskSummary } from '../api/task.ts';
import { shellWords, shorten } from './bytes.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { integer, jsonFlag, quietFlag } from './flags.ts';
import { stateCell, table } from './output.ts';
import type { Verb } from './verb.ts';

interface TasksFlags {
  readonly state?: TaskState;
  readonly queue?: string;
  readonly type?: string;
  readonly number?: number;
  readonly all?: boolean;
}

const COMMAND_CHARS_MAX = 60;
const SHOWN_BY_DEFAULT = 100;

const HELP = `
--json prints one task a line. When a member does not answer, tasks that only it holds are missing: one more line
says so, {"complete":false,"unreachable":[NAME…]}; without that line the list is complete.
`;

export const verb: Verb = {
  configure(command) {
    command
      .addOption(new Option('--state <state>', 'only tasks in this state').choices(TASK_STATES))
      .option('--queue <name>', 'only tasks of this queue')
      .option('--type <type>', "only tasks of this type ('exec': commands)")
      .option('-n, --number <n>', `tasks at most (default: ${SHOWN_BY_DEFAULT})`, integer(1, 1e9))
      .option('--all', 'all of them');
    quietFlag(jsonFlag(command)).addHelpText('after', HELP);
  },
  async run(cli, command) {
    const flags = command.opts<TasksFlags>();
    let left = flags.all === true ? Number.POSITIVE_INFINITY : (flags.number ?? SHOWN_BY_DEFAULT);
    let cursor: string | undefined;
    let header = true;
    let shown = 0;
    const unreachable = new Set<string>();
    do {
      const answer = await cli.call('task.list', {
        limit: Math.min(left, LIST_MAX),
        ...(flags.state === undefined ? {} : { state: flags.state }),
        ...(flags.queue === undefined ? {} : { queue: flags.queue }),
        ...(flags.type === undefined ? {} : { type: flags.type }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      if (!answer.ok) return cli.fail(answer.error);
      const { tasks } = answer.value;
      cursor = answer.value.cursor;
      // A page may be empty although others follow: the columns are as wide as the first tasks need.
      if (tasks.length > 0 || cursor === undefined) {
        await printPage(cli, tasks, header);
        header = false;
      }
      shown += tasks.length;
      left -= tasks.length;
      for (const peer of answer.value.unreachable) unreachable.add(peer);
    } while (cursor !== undefined && left > 0 && !cli.io.stdout.broken);
    if (unreachable.size > 0) {
      if (cli.options.json === true) {
        await cli.json({ complete: false, unreachable: [...unreachable] });
      }
      await cli.say(`incomplete: no answer from ${[...unreachable].join(', ')}`);
    }
    if (cursor !== undefined && cli.options.json !== true) {
      await cli.say(`the ${shown} newest; --all shows all`);
    }
    return EXIT.ok;
  },
};

async function printPage(
  cli: Cli,
  tasks: readonly TaskSummary[],
  withHeader: boolean,
): Promise<void> {
  if (cli.options.json === true || cli.options.quiet === true) {
    const lines = tasks.map((task) => (cli.options.json === true ? JSON.stringify(task) : task.id));
    await cli.print(lines.map((line) => `${line}\n`).join(''));
    return;
  }
  const text = table(
    ['ID', 'STATE', 'QUEUE', 'ATTEMPT', 'EXIT', 'SINCE', 'WHAT'],
    tasks.map((task) => [
      task.id,
      stateCell(task.state, task.reason),
      task.queue,
      task.attempt,
      task.exit_code,
      task.since,
      task.argv === undefined ? task.type : shorten(shellWords(task.argv), COMMAND_CHARS_MAX),
    ]),
    cli.color,
  );
  await cli.print(withHeader ? text : text.slice(text.indexOf('\n') + 1));
}
