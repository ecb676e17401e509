/** `covey status`: the daemon that this CLI talks to. */
import type { MethodResult } from '../api/methods.ts';
import { formatDuration } from '../base/units.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { fields } from './output.ts';
import type { Verb } from './verb.ts';

const ROOM = {
  ample: undefined,
  low: 'little room on the disk: no new tasks are stored here',
  scarce: 'very little room on the disk: no new tasks and attempts; others start what waits here',
  full: 'the disk is full: nothing is stored and nothing runs here; others go on with what this peer owned',
};

/** Only what an operator should know of: a store that is well needs no line. */
function storeText(store: MethodResult<'system.status'>['store']): string | undefined {
  if (store === undefined) return undefined;
  const { damaged, repaired, set_aside: aside = 0 } = store;
  const { renewed_because: why, former_store_id: former } = store;
  const room = ROOM[store.room ?? 'ample'];
  const parts = [
    ...(room === undefined ? [] : [room]),
    ...(damaged > 0 ? [`${damaged} damaged values`] : []),
    ...(repaired > 0 ? [`${repaired} damaged records fetched again`] : []),
    ...(aside > 0 ? [`${aside} tasks set aside after a long absence`] : []),
    ...(why === undefined ? [] : [`renewed: the store ${former} was refused: ${why}`]),
  ];
  return parts.length === 0 ? undefined : parts.join('; ');
}

function expelledText({ expelled }: MethodResult<'system.status'>): string | undefined {
  if (expelled === undefined) return undefined;
  const { kind, by, at } = expelled;
  return kind === 'revoked'
    ? `revoked by ${by}, ${at}: no member any more, for good`
    : `no member any more: ${by} revoked the peer that had admitted it, ${at}`;
}

export const verb: Verb = {
  configure(command) {
    jsonFlag(command);
  },
  async run(cli) {
    const answer = await cli.call('system.status', {});
    if (!answer.ok) return cli.fail(answer.error);
    const { value } = answer;
    if (cli.options.json === true) {
      await cli.json(value);
      return EXIT.ok;
    }
    const expelled = expelledText(value);
    const list = fields(
      [
        ['name', value.name],
        [
          'state',
          value.stopping
            ? { text: 'stopping', style: 'yellow' }
            : { text: 'running', style: 'green' },
        ],
        ['member', expelled === undefined ? undefined : { text: expelled, style: 'red' }],
        ['version', value.version],
        ['pid', value.pid],
        ['up', formatDuration(value.uptime_ms)],
        ['peer id', value.peer_id],
        ['store id', value.store_id],
        ['mesh id', value.mesh_id],
        ['addresses', value.addresses.join(', ')],
        ['socket', value.socket],
        ['slots', value.slots],
        [
          'tasks',
          `${value.tasks.held} held, ${value.tasks.unfinished} unfinished, ${value.tasks.owned} owned, ${value.tasks.active} active`,
        ],
        ['store', storeText(value.store)],
        ['conflicts', value.conflicts === 0 ? undefined : value.conflicts],
      ],
      cli.color,
    );
    await cli.print(list);
    return EXIT.ok;
  },
};
