/** `covey ring [KEY|TASK_ID]`: who holds which part of the keys; or where one key belongs, and why. */
import type { MethodResult } from '../api/methods.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import { fields, table } from './output.ts';
import type { Verb } from './verb.ts';

type Owner = MethodResult<'ring.owner'>;

export const verb: Verb = {
  configure(command) {
    command.argument('[key]', 'a key, or the whole id of a task');
    quietFlag(jsonFlag(command)).addHelpText(
      'after',
      `
SHARE: of all keys, the part of which the member is the first. A task lies where the ring was when its id was made;
'covey explain ID' shows its home.`,
    );
  },
  run(cli, command) {
    const [key] = command.args;
    return key === undefined ? showRing(cli) : showKey(cli, key);
  },
};

async function showRing(cli: Cli): Promise<number> {
  const answer = await cli.call('ring.show', {});
  if (!answer.ok) return cli.fail(answer.error);
  const { value } = answer;
  if (cli.options.json === true) await cli.json(value);
  else if (cli.options.quiet === true)
    await cli.print(value.members.map((member) => `${member.peer_id}\n`).join(''));
  else {
    const head = fields(
      [
        ['ring', value.checksum],
        ['copies', value.copies],
      ],
      cli.color,
    );
    const rows = value.members.map((member) => [
      member.name,
      member.status,
      `${(100 * member.share).toFixed(2)}%`,
      member.weight,
      member.tokens,
      member.host,
      member.zone,
      member.store_id,
      member.peer_id,
    ]);
    const titles = ['NAME', 'STATUS', 'SHARE', 'WEIGHT', 'TOKENS', 'HOST', 'ZONE'];
    const list = table([...titles, 'STORE ID', 'PEER ID'], rows, cli.color);
    await cli.print(`${head}\n${list}`);
  }
  return EXIT.ok;
}

async function showKey(cli: Cli, key: string): Promise<number> {
  const answer = await cli.call('ring.owner', { key });
  if (!answer.ok) return cli.fail(answer.error);
  const { value } = answer;
  if (cli.options.json === true) await cli.json(value);
  else if (cli.options.quiet === true)
    await cli.print(value.preference.map((item) => `${item.peer_id}\n`).join(''));
  else await cli.print(keyText(value, cli.color));
  return EXIT.ok;
}

function keyText({ preference, also_named: alsoNamed = [] }: Owner, color: boolean): string {
  const isTask = preference.some((item) => item.in_id !== undefined);
  const rowOf = (place: string, item: Owner['preference'][number]) => [
    place,
    item.name,
    ...(isTask ? [item.in_id === true ? 'yes' : 'no'] : []),
    item.reason,
    item.store_id,
  ];
  const rows = [
    ...preference.map((item, i) => rowOf(String(i + 1), item)),
    ...alsoNamed.map((item) => rowOf('-', item)),
  ];
  const named = isTask ? ['IN THE ID'] : [];
  return table(['PLACE', 'NAME', ...named, 'BECAUSE', 'STORE ID'], rows, color);
}
