/** `covey mesh merge TOKEN`: this mesh and the one that the token is from become one. */
import { Argument } from 'commander';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { readToken } from './token.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command
      .addArgument(new Argument('<action>', 'what to do').choices(['merge']))
      .argument(
        '<token>',
        "what 'covey invite --merge' printed on a member of the other mesh; - reads it from stdin",
      )
      .option('--yes', 'also if it cuts members off: what one mesh has revoked is out of both')
      .addHelpText(
        'after',
        `
  merge    makes this mesh and the other one: all members of both see one another, whatever runs goes on,
           and everybody who could run commands in the one may run them in both. It cannot be undone.
           On any member of the other mesh: covey invite --merge
`,
      );
    jsonFlag(command);
  },
  async run(cli, command) {
    const { yes } = command.opts<{ readonly yes?: boolean }>();
    const token = await readToken(cli, command.args[1] ?? '');
    if (!token.ok) return cli.usage(token.error);
    const answer = await cli.call('mesh.merge', { token: token.value, yes: yes === true });
    if (!answer.ok) return cli.fail(answer.error);
    const { mesh_id: mesh, members, cut_off: cutOff, already } = answer.value;
    if (cli.options.json === true) await cli.json(answer.value);
    else if (already) await cli.print(`one mesh already: ${mesh}, ${members} members\n`);
    else {
      await cli.print(`merged: mesh ${mesh}, ${members} members\n`);
      if (cutOff.length > 0) await cli.print(`cut off: ${cutOff.join(', ')}\n`);
    }
    return EXIT.ok;
  },
};
