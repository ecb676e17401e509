/** `covey invite`: the token alone on stdout, so that it can be piped into `ssh host covey join -`. */
import { EXIT } from './exit-codes.ts';
import { durationBetween, jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    command
      .option(
        '--ttl <duration>',
        'how long the token is good for, 1s to 30d (default: 1h)',
        durationBetween('1s', '30d'),
      )
      .option('--merge', "a token for 'covey mesh merge' on a member of another mesh")
      .addHelpText(
        'after',
        `
The token lets one peer in, once. Whoever is in may run commands on every host of the mesh.
  covey invite | ssh HOST covey join -
With --merge it lets all members of another mesh in, and this mesh's members into the other.
  covey invite --merge | ssh HOST_OF_THE_OTHER_MESH covey mesh merge -
`,
      );
    jsonFlag(command);
  },
  async run(cli, command) {
    const { ttl, merge } = command.opts<{ readonly ttl?: number; readonly merge?: boolean }>();
    const answer = await cli.call('access.invite', {
      ...(ttl === undefined ? {} : { ttl_ms: ttl }),
      ...(merge === true ? { merge } : {}),
    });
    if (!answer.ok) return cli.fail(answer.error);
    if (cli.options.json === true) {
      await cli.json(answer.value);
      return EXIT.ok;
    }
    await cli.print(`${answer.value.token}\n`);
    if (cli.io.stdout.isTerminal)
      await cli.say(
        `good for one ${merge === true ? 'merge' : 'peer'} until ${answer.value.expires_at}`,
      );
    return EXIT.ok;
  },
};
