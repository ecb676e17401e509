/** `covey join TOKEN`: redeems an invite; `-` reads it from stdin, which keeps it out of ps(1) and the history. */
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { readAll } from './stdin.ts';
import type { Verb } from './verb.ts';

const TOKEN_BYTES_MAX = 8_192;

export const verb: Verb = {
  configure(command) {
    jsonFlag(
      command.argument('<token>', "what 'covey invite' printed on a member; - reads it from stdin"),
    );
  },
  async run(cli, command) {
    let token = command.args[0] ?? '';
    if (token === '-') {
      const read = await readAll(cli.io.stdin, TOKEN_BYTES_MAX);
      if (!read.ok) return cli.usage(read.error);
      token = read.value.toString('utf8');
    }
    token = token.trim();
    if (token === '') return cli.usage('the token is empty');
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
