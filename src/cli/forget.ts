/** `covey forget PEER`: the store of a member that is dead or has left does not come back. */
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { peerNamed } from './peer-names.ts';
import type { Verb } from './verb.ts';

export const verb: Verb = {
  configure(command) {
    jsonFlag(
      command.argument('<peer>', 'name or PeerId of the member, or six characters of its end'),
    );
  },
  async run(cli, command) {
    const list = await cli.call('members.list', {});
    if (!list.ok) return cli.fail(list.error);
    const { members } = list.value;
    const word = command.args[0] ?? '';
    // A second time the answer is the same, also by the name that nobody else has now.
    const hasOther = members.some(({ name, status }) => name === word && status !== 'removed');
    const member = peerNamed(members, word, ({ status }) => status !== 'removed' || !hasOther);
    if (!member.ok) return cli.fail(member.error);
    const answer = await cli.call('members.forget', { peer: member.value.peer_id });
    if (!answer.ok) return cli.fail(answer.error);
    const { name, store_id: store } = answer.value;
    await (cli.options.json === true
      ? cli.json(answer.value)
      : cli.print(`${name} was removed; its store ${store} has no part in any home any more\n`));
    return EXIT.ok;
  },
};
