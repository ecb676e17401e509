/** `covey members [-w]`: who is in the mesh, as this peer sees it. */
import type { MemberStatus, MemberView, MethodResult } from '../api/methods.ts';
import type { Cli } from './context.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag, quietFlag } from './flags.ts';
import { labelsText } from './get.ts';
import { type Cell, table } from './output.ts';
import type { Verb } from './verb.ts';

type List = MethodResult<'members.list'>;

/** phi moves between changes of the view; a person watches it. */
const REFRESH_MS = 1_000;
const CLEAR_SCREEN = '\u001b[H\u001b[J';

export const verb: Verb = {
  configure(command) {
    command.option('-w, --watch', 'go on: redrawn on a terminal, elsewhere printed at each change');
    command.option('-a, --all', 'those that were removed too');
    quietFlag(jsonFlag(command));
  },
  async run(cli, command) {
    const { watch, all } = command.opts<{ readonly watch?: boolean; readonly all?: boolean }>();
    if (watch === true) return watchMembers(cli, all === true);
    const answer = await cli.call('members.list', {});
    if (!answer.ok) return cli.fail(answer.error);
    await cli.print(render(cli, shown(answer.value, all === true)));
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

async function watchMembers(cli: Cli, all: boolean): Promise<number> {
  const interrupted = new Promise<void>((resolve) => {
    cli.io.onInterrupt(() => resolve());
  });
  let ended = false;
  let last = '';
  const loop = async (): Promise<number> => {
    while (!ended && !cli.io.stdout.broken) {
      const answer = await cli.mesh.call('members.list', {});
      if (!answer.ok) return cli.fail(answer.error);
      const redraws = cli.io.stdout.isTerminal && cli.options.json !== true;
      const state = answer.value.members
        .map(
          (member) => `${member.peer_id} ${member.status} ${member.incarnation} ${member.stopping}`,
        )
        .join();
      const isNews = state + answer.value.view_hash !== last;
      last = state + answer.value.view_hash;
      const text = render(cli, shown(answer.value, all));
      if (redraws) await cli.print(CLEAR_SCREEN + text);
      else if (isNews) await cli.print(text);
      await cli.mesh.sleep(REFRESH_MS);
    }
    return EXIT.ok;
  };
  const exit = await Promise.race([loop(), interrupted.then(() => EXIT.ok)]);
  ended = true;
  return exit;
}
