/** Verbs that ask for one task by its id and show the answer. */
import type { Command } from 'commander';
import type { Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

export const showVerb = <T>(
  ask: (cli: Cli, id: string, command: Command) => Promise<Result<T, RpcFailure>>,
  textOf: (answer: T, cli: Cli) => string | Promise<string>,
  addFlags: (command: Command) => void = () => undefined,
): Verb => ({
  configure(command) {
    addFlags(command);
    jsonFlag(command.argument('<id>', 'a task id, or six or more characters of its end'));
  },
  async run(cli, command) {
    const id = await cli.resolveId(command.args[0] ?? '');
    if (!id.ok) return cli.fail(id.error);
    const answer = await ask(cli, id.value, command);
    if (!answer.ok) return cli.fail(answer.error);
    await (cli.options.json === true
      ? cli.json(answer.value)
      : cli.print(await textOf(answer.value, cli)));
    return EXIT.ok;
  },
});
