/** `covey get ID`: one task, with its attempts. */
import { InvalidArgumentError } from 'commander';
import { READ_STORES_MAX } from '../api/limits.ts';
import type { TaskView } from '../api/task.ts';
import { shellWords } from './bytes.ts';
import type { Cli } from './context.ts';
import { integer } from './flags.ts';
import { fields, stateCell, table } from './output.ts';
import { showVerb } from './show.ts';
import { storeNames } from './store-names.ts';

export const verb = showVerb<TaskView>(
  (cli, id, command) => {
    const { read } = command.opts<{ readonly read?: number | 'quorum' }>();
    return cli.call('task.get', read === undefined ? { id } : { id, read });
  },
  taskText,
  (command) =>
    command.option(
      '--read <n|quorum>',
      'joined from so many of its home stores, or from more than half of them; refused otherwise',
      readCount,
    ),
);

function readCount(text: string): number | 'quorum' {
  if (text === 'quorum') return text;
  if (/^\d+$/.test(text)) return integer(1, READ_STORES_MAX)(text);
  throw new InvalidArgumentError(`must be 'quorum' or a whole number from 1 to ${READ_STORES_MAX}`);
}

const jsonOf = (value: unknown): string | undefined =>
  value === undefined ? undefined : JSON.stringify(value);

async function taskText(task: TaskView, cli: Cli): Promise<string> {
  const { color } = cli;
  const head = fields(
    [
      ['id', task.id],
      ['state', stateCell(task.state, task.reason)],
      ['since', task.since],
      ['what', task.argv === undefined ? task.type : shellWords(task.argv)],
      ['queue', task.queue],
      ['priority', task.priority === 0 ? undefined : task.priority],
      ['labels', labelsText(task.labels)],
      ['submitted', task.submitted_at],
      ['run at', task.run_at],
      ['finished', task.finished_at],
      ['exit code', task.exit_code],
      ['signal', task.signal],
      ['error', task.error === undefined ? undefined : task.error.message],
      ['failures', task.failures === 0 ? undefined : task.failures],
      ['losses', task.losses === 0 ? undefined : task.losses],
      ['cancel', task.cancel_requested === '' ? 'requested' : task.cancel_requested],
      ['payload', jsonOf(task.payload)],
      ['progress', jsonOf(task.progress)],
      ['result', jsonOf(task.result)],
      ['retry of', task.retry_of],
      ['duplicate of', task.duplicate_of],
      ['dedupe key', task.dedupe_key],
      ['conflicts', task.conflicts === 0 ? undefined : task.conflicts],
      ['home', await storeNames(cli, task.home)],
      [
        'set aside',
        task.set_aside_by === undefined
          ? undefined
          : `by ${await storeNames(cli, task.set_aside_by)}, away for longer than tombstone_ttl: nobody else knows the task, and nothing runs it`,
      ],
      ['owner', task.owner],
      ['runner', task.runner],
    ],
    color,
  );
  const parts = [head];
  if (task.attempts.length > 0) parts.push(attemptsText(task, color));
  if (task.orphans.length > 0) parts.push(orphansText(task, color));
  return parts.join('\n');
}

function attemptsText(task: TaskView, color: boolean): string {
  return table(
    ['ATTEMPT', 'RUNNER', 'PLACED', 'ENDED', 'OUTCOME', 'EXIT', 'NOTE'],
    task.attempts.map((attempt) => [
      attempt.attempt,
      attempt.runner_name,
      attempt.placed_at,
      attempt.ended_at,
      attempt.outcome ?? 'running',
      attempt.exit_code ?? attempt.signal,
      [
        attempt.accepted ? 'accepted' : '',
        attempt.possibly_double ? 'possibly double' : '',
        attempt.error?.message ?? '',
      ]
        .filter((note) => note !== '')
        .join('; '),
    ]),
    color,
  );
}

/** Ends that came when their attempt was no longer the current one: kept, never accepted. */
function orphansText(task: TaskView, color: boolean): string {
  return table(
    ['ORPHAN RESULT OF ATTEMPT', 'OUTCOME', 'RUN ID', 'DIGEST'],
    task.orphans.map((orphan) => [orphan.attempt, orphan.outcome, orphan.run_id, orphan.digest]),
    color,
  );
}

export const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
