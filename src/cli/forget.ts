/** `covey forget PEER`: the store of a member that is dead or has left does not come back. */
import type { MemberView } from '../api/methods.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { RpcFailure } from '../client/types.ts';
import { printable } from './bytes.ts';
import { failureOf } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import type { Verb } from './verb.ts';

/** Of the end of a PeerId that stands for the whole. */
const SUFFIX_CHARS_MIN = 6;

export const verb: Verb = {
  configure(command) {
    jsonFlag(
      command.argument('<peer>', 'name or PeerId of the member, or six characters of its end'),
    );
  },
  async run(cli, command) {
    const list = await cli.call('members.list', {});
    if (!list.ok) return cli.fail(list.error);
    const word = command.args[0] ?? '';
    const member = removedAs(list.value.members, word) ?? memberOf(list.value.members, word);
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

/** A second time the answer is the same, also by the name that nobody else has now. */
function removedAs(
  members: readonly MemberView[],
  name: string,
): Result<MemberView, RpcFailure> | undefined {
  const [named, ...more] = members.filter((member) => member.name === name);
  return named?.status === 'removed' && more.length === 0 ? ok(named) : undefined;
}

/** By PeerId, by name, by the end of a PeerId; a name that several have is nobody's. */
export function memberOf(
  members: readonly MemberView[],
  text: string,
): Result<MemberView, RpcFailure> {
  const whole = members.filter((member) => member.peer_id === text);
  const named = members.filter(({ name, status }) => name === text && status !== 'removed');
  const isSuffix = text.length >= SUFFIX_CHARS_MIN;
  const ending = members.filter((member) => isSuffix && member.peer_id.endsWith(text));
  const found = [whole, named, ending].find(({ length }) => length > 0) ?? [];
  const [first, ...more] = found;
  if (first !== undefined && more.length === 0) return ok(first);
  const said = printable(text);
  if (first === undefined)
    return err(
      failureOf('NOT_FOUND', `There is no member '${said}'.`, "'covey members' lists them."),
    );
  const ids = found.map((member) => member.peer_id).join(', ');
  return err(failureOf('AMBIGUOUS', `${found.length} members are '${said}': ${ids}.`));
}
