/** `covey join TOKEN`: redeems an invite. */
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { readToken } from './token.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    jsonFlag(
      command.argument('<token>', "what 'covey invite' printed on a member; - reads it from stdin"),
    );
  },
  async run(cli, command) {
    const read = await readToken(cli, command.args[0] ?? '');
    if (!read.ok) return cli.usage(read.error);
    const token = read.value;
    const before = await cli.call('system.status', {});
    if (!before.ok) return cli.fail(before.error);
    const answer = await cli.call('mesh.join', { token });
    if (!answer.ok) return cli.fail(answer.error);
    if (cli.options.json === true) await cli.json(answer.value);
    else {
      const { mesh_id: mesh, members } = answer.value;
      // Of its own mesh a token is not used up.
      const what = mesh === before.value.mesh_id ? 'already a member of' : 'joined';
      await cli.print(`${what} mesh ${mesh}, ${members} ${members === 1 ? 'member' : 'members'}\n`);
    }
    return EXIT.ok;
  },
};
