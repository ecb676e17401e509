/** `covey tasks`: tasks of the whole mesh, newest first. */
import { Option } from 'commander';
import { TASK_STATES, type TaskState, type TaskSummary } from '../api/task.ts';
import { shellWords, shorten } from './bytes.ts';
import type { Cli } from './context.ts';
import { integer, jsonFlag, nameFlag, quietFlag } from './flags.ts';
import { LIST_HELP, type ListFlags, listTasks, NUMBER_HELP } from './listing.ts';
import { stateCell, table } from './output.ts';
import type { Verb } from './verb.ts';

interface TasksFlags extends ListFlags {
  readonly state?: TaskState;
  readonly queue?: string;
  readonly type?: string;
}

const COMMAND_CHARS_MAX = 60;

/** What a task does, in one line. */
export const whatOf = (task: TaskSummary): string =>
  task.argv === undefined ? task.type : shorten(shellWords(task.argv), COMMAND_CHARS_MAX);

export const verb: Verb = {
  configure(command) {
    command
      .addOption(new Option('--state <state>', 'only tasks in this state').choices(TASK_STATES))
      .option('--queue <name>', 'only tasks of this queue', nameFlag)
      .option('--type <type>', "only tasks of this type ('exec': commands)", nameFlag)
      .option('-n, --number <n>', NUMBER_HELP, integer(1, 1e9))
      .option('--all', 'all of them');
    quietFlag(jsonFlag(command)).addHelpText('after', LIST_HELP);
  },
  async run(cli, command) {
    const flags = command.opts<TasksFlags>();
    const filter = {
      ...(flags.state === undefined ? {} : { state: flags.state }),
      ...(flags.queue === undefined ? {} : { queue: flags.queue }),
      ...(flags.type === undefined ? {} : { type: flags.type }),
    };
    return listTasks(cli, flags, filter, (tasks, isFirst) => printTasks(cli, tasks, isFirst));
  },
};

async function printTasks(
  cli: Cli,
  tasks: readonly TaskSummary[],
  isFirst: boolean,
): Promise<void> {
  const text = table(
    ['ID', 'STATE', 'QUEUE', 'ATTEMPT', 'EXIT', 'SINCE', 'WHAT'],
    tasks.map((task) => [
      task.id,
      stateCell(task.state, task.reason),
      task.queue,
      task.attempt,
      task.exit_code,
      task.since,
      whatOf(task),
    ]),
    cli.color,
  );
  await cli.print(isFirst ? text : text.slice(text.indexOf('\n') + 1));
}
