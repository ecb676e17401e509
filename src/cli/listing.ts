/** Lists of tasks of the whole mesh, newest first, page after page: what `tasks` and `conflicts` share. */
import { LIST_MAX } from '../api/limits.ts';
import type { MethodInput } from '../api/methods.ts';
import type { TaskSummary } from '../api/task.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';

const SHOWN_BY_DEFAULT = 100;
export const NUMBER_HELP = `tasks at most (default: ${SHOWN_BY_DEFAULT})`;

export const LIST_HELP = `
--json prints one task a line. When a member does not answer, tasks that only it holds are missing: one more line
says so, {"complete":false,"unreachable":[NAME…]}; without that line the list is complete.
`;

export interface ListFlags {
  readonly number?: number;
  readonly all?: boolean;
}

/** `print` gets each page, and whether it is the first. */
export async function listTasks(
  cli: Cli,
  flags: ListFlags,
  filter: MethodInput<'task.list'>,
  print: (tasks: readonly TaskSummary[], isFirst: boolean) => Promise<void>,
): Promise<number> {
  if (flags.all === true && flags.number !== undefined) {
    return cli.usage('--all and --number exclude each other');
  }
  let left = flags.all === true ? Number.POSITIVE_INFINITY : (flags.number ?? SHOWN_BY_DEFAULT);
  let cursor: string | undefined;
  let isFirst = true;
  let shown = 0;
  const unreachable = new Set<string>();
  do {
    const answer = await cli.call('task.list', {
      ...filter,
      limit: Math.min(left, LIST_MAX),
      ...(cursor === undefined ? {} : { cursor }),
    });
    if (!answer.ok) return cli.fail(answer.error);
    const { tasks } = answer.value;
    cursor = answer.value.cursor;
    // A page may be empty although others follow: the columns are as wide as the first tasks need.
    if (tasks.length > 0 || cursor === undefined) {
      await printPage(cli, tasks, isFirst, print);
      isFirst = false;
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
}

async function printPage(
  cli: Cli,
  tasks: readonly TaskSummary[],
  isFirst: boolean,
  print: (tasks: readonly TaskSummary[], isFirst: boolean) => Promise<void>,
): Promise<void> {
  if (cli.options.json !== true && cli.options.quiet !== true) return print(tasks, isFirst);
  const lines = tasks.map((task) => (cli.options.json === true ? JSON.stringify(task) : task.id));
  await cli.print(lines.map((line) => `${line}\n`).join(''));
}
