/** `covey members [-w]`: who is in the mesh, as this peer sees it. */
import type { MemberStatus, MemberView, MethodResult } from '../api/methods.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import { labelsText } from './get.ts';
import { watchMembers } from './members-watch.ts';
import { type Cell, table } from './output.ts';
import type { Verb } from './verb.ts';

type List = MethodResult<'members.list'>;

export const verb: Verb = {
  configure(command) {
    command.option('-w, --watch', 'go on: redrawn on a terminal, elsewhere one line a change');
    command.option('-a, --all', 'those that were removed too');
    quietFlag(jsonFlag(command)).addHelpText(
      'after',
      '\nWith -w --json: each member first, {"type":"present","member":{…}}, then each change with its cause, what was seen and by whom.',
    );
  },
  async run(cli, command) {
    const { watch, all } = command.opts<{ readonly watch?: boolean; readonly all?: boolean }>();
    const isAll = all === true;
    if (watch === true) return watchMembers(cli, (list) => render(cli, shown(list, isAll)));
    const answer = await cli.call('members.list', {});
    if (!answer.ok) return cli.fail(answer.error);
    await cli.print(render(cli, shown(answer.value, isAll)));
    return EXIT.ok;
  },
};

/** What an operator has removed nobody wants to see each day. */
const shown = (list: List, all: boolean): List => ({
  ...list,
  members: list.members.filter(({ status }) => all || status !== 'removed'),
});

function render(cli: Cli, list: List): string {
  if (cli.options.json === true) return `${JSON.stringify(list)}\n`;
  if (cli.options.quiet === true)
    return list.members.map((member) => `${member.peer_id}\n`).join('');
  return table(
    [
      'NAME',
      'STATUS',
      'PHI',
      'INCARNATION',
      'SINCE',
      'ADDRESS',
      'LOAD',
      'WAITING',
      'LABELS',
      'PEER ID',
    ],
    list.members.map((member) => [
      member.self ? `${member.name}*` : member.name,
      statusCell(member),
      member.phi.toFixed(1),
      member.incarnation,
      member.since,
      member.addresses[0],
      // What it last said of its load was true of a daemon that has ended since.
      isGone(member) ? undefined : loadText(member),
      isGone(member) ? undefined : member.load.waiting,
      labelsText(member.labels),
      member.peer_id,
    ]),
    cli.color,
  );
}

const isGone = ({ status }: MemberView): boolean => status === 'left' || status === 'removed';

const STYLES: Readonly<Record<MemberStatus, NonNullable<Cell['style']>>> = {
  alive: 'green',
  suspect: 'yellow',
  dead: 'red',
  left: 'dim',
  removed: 'dim',
};

const DISK = { scarce: 'disk nearly full', full: 'disk full' } as const;

function statusCell(member: MemberView): Cell {
  const { status, stopping, shortage, set_aside: aside } = member;
  const notes = [
    ...(stopping && !isGone(member) ? ['stopping'] : []),
    ...(shortage === undefined || isGone(member) ? [] : [DISK[shortage]]),
    ...(aside === undefined ? [] : [`${aside} tasks set aside`]),
  ];
  const text = notes.length === 0 ? status : `${status} (${notes.join(', ')})`;
  return { text, style: STYLES[status] };
}

function loadText({ load }: MemberView): string {
  const workers = Object.entries(load.workers)
    .map(([type, { total, free }]) => ` ${type} ${total - free}/${total}`)
    .join('');
  return `${load.slots - load.slots_free}/${load.slots}${workers}`;
}
