/** `covey access list | allow PEER_ID | revoke PEER`: who may be in the mesh. */
import type { Command } from 'commander';
import { Argument } from 'commander';
import type { MethodResult } from '../api/methods.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, nameFlag, quietFlag } from './flags.ts';
import { type Cell, table } from './output.ts';
import { peerNamed } from './peer-names.ts';
import type { Verb } from './verb.ts';

type Entry = MethodResult<'access.list'>['entries'][number];

export const verb: Verb = {
  configure(command) {
    command
      .addArgument(new Argument('<action>', 'what to do').choices(['list', 'allow', 'revoke']))
      .argument(
        '[peer]',
        'allow: the PeerId of the newcomer. revoke: name or PeerId, or six characters of its end',
      )
      .option(
        '--name <name>',
        'allow: what the list calls it (default: the end of its PeerId)',
        nameFlag,
      )
      .addHelpText(
        'after',
        `
  list     everybody who was ever admitted, by whom, and who was revoked
  allow    admits one PeerId ('covey status' on the newcomer shows it) and prints a token, which is no secret:
           it lets nobody else in. There: covey join TOKEN
  revoke   cuts a peer off everywhere, for good. Its PeerId never returns, what it runs is lost and runs elsewhere,
           and its store has no part in any home. A host that can be asked to leaves better: covey leave
`,
      );
    quietFlag(jsonFlag(command));
  },
  async run(cli, command) {
    const [action, peer] = command.args;
    const { name } = command.opts<{ readonly name?: string }>();
    if (name !== undefined && action !== 'allow') return cli.usage('--name goes with allow');
    if (action === 'list') {
      if (peer !== undefined) return cli.usage('access list takes no peer');
      return list(cli);
    }
    if (peer === undefined) return cli.usage(`access ${action ?? ''} wants a peer`);
    return action === 'allow' ? allow(cli, command, peer) : revoke(cli, peer);
  },
};

async function list(cli: Cli): Promise<number> {
  const answer = await cli.call('access.list', {});
  if (!answer.ok) return cli.fail(answer.error);
  const { entries } = answer.value;
  if (cli.options.json === true) await cli.json(answer.value);
  else if (cli.options.quiet === true) {
    await cli.print(entries.map((entry) => `${entry.peer_id}\n`).join(''));
  } else {
    const nameOf = (id: string): string =>
      entries.find((entry) => entry.peer_id === id)?.name ?? id;
    const rows = entries.map((entry) => [
      entry.name,
      stateCell(entry),
      entry.barred_at ?? entry.admitted_at,
      nameOf(entry.barred_by ?? entry.admitted_by),
      entry.peer_id,
    ]);
    await cli.print(table(['NAME', 'STATE', 'SINCE', 'BY', 'PEER ID'], rows, cli.color));
  }
  return EXIT.ok;
}

function stateCell(entry: Entry): Cell {
  if (entry.revoked) return { text: 'revoked', style: 'red' };
  return entry.void === true ? { text: 'void', style: 'yellow' } : { text: 'admitted' };
}

async function allow(cli: Cli, command: Command, peer: string): Promise<number> {
  const { name } = command.opts<{ readonly name?: string }>();
  const answer = await cli.call('access.allow', { peer, ...(name === undefined ? {} : { name }) });
  if (!answer.ok) return cli.fail(answer.error);
  if (cli.options.json === true) {
    await cli.json(answer.value);
    return EXIT.ok;
  }
  await cli.print(`${answer.value.token}\n`);
  if (cli.io.stdout.isTerminal && cli.options.quiet !== true) {
    const state = answer.value.is_new ? 'is allowed now' : 'was allowed before';
    await cli.say(`${peer} ${state}; on its host: covey join TOKEN`);
  }
  return EXIT.ok;
}

async function revoke(cli: Cli, text: string): Promise<number> {
  const [access, view] = [await cli.call('access.list', {}), await cli.call('members.list', {})];
  if (!access.ok) return cli.fail(access.error);
  if (!view.ok) return cli.fail(view.error);
  // As they call themselves now, not as they were called when they were admitted.
  const peers = access.value.entries.map((entry) => ({
    peer_id: entry.peer_id,
    revoked: entry.revoked,
    name: view.value.members.find(({ peer_id: id }) => id === entry.peer_id)?.name ?? entry.name,
  }));
  const peer = peerNamed(peers, text, (one) => !one.revoked);
  if (!peer.ok) return cli.fail(peer.error);
  const answer = await cli.call('access.revoke', { peer: peer.value.peer_id });
  if (!answer.ok) return cli.fail(answer.error);
  const { name, already_by: by } = answer.value;
  if (cli.options.json === true) await cli.json(answer.value);
  else if (by !== undefined) await cli.print(`${name} was revoked before, by ${by}\n`);
  else await cli.print(`${name} was revoked: it is cut off, and never returns\n`);
  return EXIT.ok;
}
