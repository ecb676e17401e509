/** `covey gossip`: what the membership of this daemon does: who observes whom, what it sends, how well it is itself. */
import type { MethodResult } from '../api/methods.ts';
import { formatDuration } from '../base/units.ts';
import { EXIT } from './exit-codes.ts';
import { jsonFlag } from './flags.ts';
import { type CellInput, fields, table } from './output.ts';
import type { Verb } from './verb.ts';

type Stats = MethodResult<'members.stats'>;
type Flow = NonNullable<Stats['traffic']>['per_second']['control'];

export const verb: Verb = {
  configure(command) {
    jsonFlag(command).addHelpText(
      'after',
      `
OBSERVED: what this daemon makes of a member whose heartbeats it counts. OBSERVES US: that member counts ours.
Frames and bytes are those of the last minute, each second, without encryption and TCP; 'covey members' shows the rest.`,
    );
  },
  async run(cli) {
    const answer = await cli.call('members.stats', {});
    if (!answer.ok) return cli.fail(answer.error);
    const { value } = answer;
    if (cli.options.json === true) await cli.json(value);
    else await cli.print(textOf(value, cli.color));
    return EXIT.ok;
  },
};

const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

const flowCells = (flow: Flow | undefined): CellInput[] =>
  flow === undefined
    ? [undefined, undefined, undefined, undefined]
    : [flow.frames_sent, flow.bytes_sent, flow.frames_received, flow.bytes_received].map(number);

const FLOW_TITLES = ['SENT/S', 'BYTES/S', 'RECEIVED/S', 'BYTES/S'];

function textOf(stats: Stats, color: boolean): string {
  const { anti_entropy: rounds, news, traffic } = stats;
  const head = fields(
    [
      ['view', `${stats.view_hash}, ${stats.members} members`],
      [
        'observers',
        `observes ${stats.observes.length}, is observed by ${stats.observed_by.length}`,
      ],
      ['health', healthText(stats.health)],
      [
        'anti-entropy',
        `${rounds.started} rounds begun (${rounds.started_different} different), ${rounds.asked} of others (${rounds.asked_different} different); facts: ${rounds.facts_sent} sent, ${rounds.facts_received} received`,
      ],
      ['news', `${news.published} published, ${news.received} received`],
      ...(stats.refused === undefined ? [] : [['refused', refusedText(stats.refused)] as const]),
    ],
    color,
  );
  const parts = [head];
  if (traffic !== undefined) {
    const rows = Object.entries(traffic.per_second).map(([name, flow]) => [
      name,
      ...flowCells(flow),
    ]);
    parts.push(table(['CLASS', ...FLOW_TITLES], rows, color));
  }
  parts.push(peersText(stats, color));
  return parts.join('\n');
}

function refusedText(refused: NonNullable<Stats['refused']>): string {
  const parts = Object.entries(refused).sort(([, a], [, b]) => b - a);
  return parts.length === 0 ? 'nothing' : parts.map(([why, n]) => `${n} x ${why}`).join('; ');
}

function healthText(health: Stats['health']): string {
  const { step, patience, lag_ms: lagMs, lag_ms_max: lagMsMax, pauses } = health;
  const parts = [
    step === 0 ? 'good' : `step ${step} of 4, patience x${patience}`,
    `ticks ${lagMs} ms late, ${lagMsMax} ms at worst`,
  ];
  if (pauses > 0) {
    const ago = formatDuration(health.last_pause_ms_ago ?? 0);
    const longest = formatDuration(health.longest_pause_ms);
    parts.push(`stood still ${pauses} times, ${longest} at most, last ${ago} ago`);
  }
  if (health.paused_lately) parts.push('accuses nobody for a moment');
  return parts.join('; ');
}

/** One row for each member that is observed, observes, or is linked. */
function peersText(stats: Stats, color: boolean): string {
  const { observes, observed_by: observers, links } = stats;
  const names = new Map(
    [...observes, ...observers, ...links].map((item) => [item.peer_id, item.name]),
  );
  const rows = [...names]
    .sort(([, a], [, b]) => (a < b ? -1 : 1))
    .map(([peerId, name]): CellInput[] => {
      const observed = observes.find((item) => item.peer_id === peerId);
      const link = links.find((item) => item.peer_id === peerId);
      const state =
        link === undefined ? 'none' : link.up ? link.direction : `${link.direction} (not up)`;
      const heard = observed?.heard_ms_ago;
      return [
        name,
        { text: state, style: link?.up === true ? 'green' : 'yellow' },
        link?.address,
        opinionCell(observed),
        observed?.phi.toFixed(1),
        heard === undefined ? undefined : formatDuration(heard),
        observers.some((item) => item.peer_id === peerId) ? 'yes' : 'no',
        ...flowCells(link?.per_second),
        peerId,
      ];
    });
  return table(
    [
      'NAME',
      'LINK',
      'ADDRESS',
      'OBSERVED',
      'PHI',
      'HEARD',
      'OBSERVES US',
      ...FLOW_TITLES,
      'PEER ID',
    ],
    rows,
    color,
  );
}

function opinionCell(observed: Stats['observes'][number] | undefined): CellInput {
  if (observed === undefined) return undefined;
  const { opinion } = observed;
  return {
    text: opinion,
    style: opinion === 'fine' ? 'green' : opinion === 'accused' ? 'red' : 'yellow',
  };
}
