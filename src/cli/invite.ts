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
      .addHelpText(
        'after',
        '\nThe token lets one peer in, once. Whoever is in may run commands on every host of the mesh.\n  covey invite | ssh HOST covey join -\n',
      );
    jsonFlag(command);
  },
  async run(cli, command) {
    const { ttl } = command.opts<{ readonly ttl?: number }>();
    const answer = await cli.call('access.invite', ttl === undefined ? {} : { ttl_ms: ttl });
    if (!answer.ok) return cli.fail(answer.error);
    if (cli.options.json === true) {
      await cli.json(answer.value);
      return EXIT.ok;
    }
    await cli.print(`${answer.value.token}\n`);
    if (cli.io.stdout.isTerminal)
      await cli.say(`good for one peer until ${answer.value.expires_at}`);
    return EXIT.ok;
  },
};
