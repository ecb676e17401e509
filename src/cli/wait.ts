/** `covey wait ID…`: until all are final; each is printed when it is. */
import { BULK_MAX, WAIT_MS_MAX } from '../api/limits.ts';
import { isFinalState, type TaskView } from '../api/task.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { delayFlag, jsonFlag, quietFlag } from './flags.ts';
import { paint, stateCell } from './output.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command
      .argument('<id...>', 'task ids, or six or more characters of their ends')
      .option('--timeout <duration>', 'give up after this time (exit 75)', delayFlag)
      .addHelpText(
        'after',
        '\nExit code: 0 all completed, 1 some did not or are not known, 75 not all final in time.\n',
      );
    quietFlag(jsonFlag(command));
  },
  async run(cli, command) {
    const { timeout } = command.opts<{ readonly timeout?: number }>();
    const pending = new Set<string>();
    for (const text of command.args) {
      const id = await cli.resolveId(text);
      if (!id.ok) return cli.fail(id.error);
      pending.add(id.value);
    }
    cli.saysLostConnection();
    const endsAt = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeout;
    let exit: number = EXIT.ok;
    let isLookedFor = false;
    while (pending.size > 0 && !cli.io.stdout.broken) {
      const leftMs = Math.max(0, Math.ceil(endsAt - performance.now()));
      const timeoutMs = Math.min(leftMs, isLookedFor ? WAIT_MS_MAX : cli.io.noticeMs);
      const answer = await cli.mesh.call(
        'task.wait',
        { ids: [...pending].slice(0, BULK_MAX), timeout_ms: timeoutMs, any: true },
        { daemonMs: timeoutMs, ...(timeout === undefined ? {} : { patienceMs: leftMs }) },
      );
      if (!answer.ok) return cli.fail(answer.error);
      for (const task of answer.value.done) {
        if (!isFinalState(task.state) || !pending.delete(task.id)) continue;
        if (task.state !== 'completed') exit = EXIT.failure;
        await printTask(cli, task);
      }
      if (answer.value.done.length === 0 && performance.now() >= endsAt) {
        await cli.say(`not final in time: ${[...pending].join(', ')}`);
        return EXIT.tryLater;
      }
      if (answer.value.done.length === 0 && !isLookedFor) {
        isLookedFor = true;
        if (await forgetUnknown(cli, pending)) exit = EXIT.failure;
      }
    }
    return exit;
  },
};

/** The daemon waits for ids that nobody knows as well: they may come. Here that is a mistake, and would look like a hang. */
async function forgetUnknown(cli: Cli, pending: Set<string>): Promise<boolean> {
  let isAny = false;
  for (const id of [...pending]) {
    const answer = await cli.call('task.get', { id });
    if (answer.ok || answer.error.code !== 'NOT_FOUND') continue;
    // On the other side of a partition it may be well: then it is waited for.
    const found = await cli.call('task.find', { suffix: id });
    if (found.ok && found.value.complete && found.value.ids.length === 0) {
      pending.delete(id);
      isAny = true;
      await cli.fail(answer.error);
    } else await cli.say(`${id} is not known here, and not every peer answered; waiting for it`);
  }
  return isAny;
}

async function printTask(cli: Cli, task: TaskView): Promise<void> {
  if (cli.options.json === true) return cli.json(task);
  if (cli.options.quiet === true) return cli.print(`${task.id}\n`);
  const { text, style } = stateCell(task.state, task.reason);
  return cli.print(`${task.id}  ${paint(text, style, cli.color)}\n`);
}
