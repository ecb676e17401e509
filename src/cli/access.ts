/** `covey access list`: the allow-list of the mesh. */
import { Argument } from 'commander';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import { table } from './output.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command.addArgument(new Argument('<action>', 'what to do').choices(['list']));
    quietFlag(jsonFlag(command));
  },
  async run(cli) {
    const answer = await cli.call('access.list', {});
    if (!answer.ok) return cli.fail(answer.error);
    const { entries } = answer.value;
    if (cli.options.json === true) await cli.json(answer.value);
    else if (cli.options.quiet === true) {
      await cli.print(entries.map((entry) => `${entry.peer_id}\n`).join(''));
    } else {
      const rows = entries.map((entry) => [
        entry.name,
        entry.revoked ? { text: 'revoked', style: 'red' as const } : 'admitted',
        entry.admitted_at,
        entry.admitted_by,
        entry.peer_id,
      ]);
      await cli.print(table(['NAME', 'STATE', 'SINCE', 'BY', 'PEER ID'], rows, cli.color));
    }
    return EXIT.ok;
  },
};
