/**
 * `covey conflicts`: tasks that came to more than one end, on two sides of a partition or through a death that was
 * none. One end stands for each, the same at every peer; the others are in its history.
 */
import type { TaskSummary } from '../api/task.ts';
import type { Cli } from './context.ts';
import { integer, jsonFlag, quietFlag } from './flags.ts';
import { LIST_HELP, type ListFlags, listTasks, NUMBER_HELP } from './listing.ts';
import { stateCell, table } from './output.ts';
import { whatOf } from './tasks.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command
      .option('-n, --number <n>', NUMBER_HELP, integer(1, 1e9))
      .option('--all', 'all of them')
      .addHelpText(
        'after',
        '\n`covey get ID` shows the result that stands, `covey explain ID` all ends.',
      );
    quietFlag(jsonFlag(command)).addHelpText('after', LIST_HELP);
  },
  run: (cli, command) =>
    listTasks(cli, command.opts<ListFlags>(), { conflicts: true }, (tasks, isFirst) =>
      printConflicts(cli, tasks, isFirst),
    ),
};

async function printConflicts(
  cli: Cli,
  tasks: readonly TaskSummary[],
  isFirst: boolean,
): Promise<void> {
  const text = table(
    ['ID', 'STANDS', 'OTHERS', 'SINCE', 'WHAT'],
    tasks.map((task) => [
      task.id,
      stateCell(task.state, task.reason),
      task.conflicts,
      task.since,
      whatOf(task),
    ]),
    cli.color,
  );
  await cli.print(isFirst ? text : text.slice(text.indexOf('\n') + 1));
}
