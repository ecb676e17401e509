/**
 * What a peer says of itself for `system.doctor`: the request `mesh.checkup` between members, both sides. It tells
 * facts; what is wrong with them is judged by the one who asks (diagnosis.ts).
 */
import { z } from 'zod';
import { err, ok, type Result } from '../base/result.ts';
import type { Observed } from '../membership/stats.ts';
import type { Peer } from '../peer/peer.ts';
import { standingHome } from '../records/directory.ts';
import type { RecordState } from '../records/record.ts';
import { isTaskRecord } from '../tasks/task.ts';
import type { WireMap } from '../wire/envelope.ts';
import { DOCTOR_RECORDS_MAX, DOCTOR_SILENCE_MS } from './limits.ts';

/** Of one process. */
export interface Descriptors {
  readonly limit: number;
  readonly open: number;
}

/** More of anything is not sent. */
const LIST_MAX = 256;
const list = <T extends z.ZodType>(item: T) => z.array(item).max(LIST_MAX).default([]);
const text = z.string().max(1_024);

/** Later versions say more; what is missing is taken for well. */
const reportSchema = z.object({
  version: text,
  wall_ms: z.number(),
  linked: list(text),
  observes: list(z.object({ peer_id: text, hears: z.boolean() })),
  unreached: list(
    z.object({ peer_id: text, address: text, result: text, other_reached: z.boolean() }),
  ),
  clock_jumps: z.object({ count: z.int(), last_ms: z.int(), ago_ms: z.int() }).optional(),
  pauses: z.object({ count: z.int(), longest_ms: z.int(), ago_ms: z.int() }).optional(),
  room: z.enum(['ample', 'low', 'scarce', 'full']).default('ample'),
  store: z.object({
    damaged: z.int().default(0),
    set_aside: z.int().default(0),
    renewed_because: text.optional(),
  }),
  tasks: z.object({
    looked_at: z.int(),
    below_required: z.int(),
    below_copies: z.int(),
  }),
  refusals: list(
    z.object({ peer_id: text, by: z.enum(['us', 'them']), code: text, why: text, ago_ms: z.int() }),
  ),
  flapping: list(z.object({ peer_id: text, returns: z.int() })),
  descriptors: z.object({ limit: z.int(), open: z.int() }).optional(),
  slots: z.int().default(0),
});
export type Report = z.output<typeof reportSchema>;

export function readReport(body: unknown): Result<Report, string> {
  const read = reportSchema.safeParse(body);
  return read.success ? ok(read.data) : err('its answer was not understood');
}

export const toBody = (report: Report): WireMap => ({ ...report }) as unknown as WireMap;

export async function reportOf(
  peer: Peer,
  descriptors: () => Promise<Descriptors | undefined>,
): Promise<Report> {
  const { stats } = peer.membership;
  const { clock } = peer.ports;
  const unreached = await stats.unreached();
  const open = await descriptors();
  const nowMs = clock.nowMs();
  const agoMs = (atMs: number): number => Math.max(0, Math.round(nowMs - atMs));
  const { jumps, health, refusals } = stats;
  const { damaged, former } = peer.storeHealth();
  const linked = peer.membership.members().filter(({ peerId }) => peer.membership.linked(peerId));
  return {
    version: peer.options.version,
    wall_ms: clock.wallMs(),
    linked: linked.slice(0, LIST_MAX).map(({ peerId }) => peerId),
    observes: stats.observes().map((observed) => {
      return { peer_id: observed.peerId, hears: isHeard(peer, observed) };
    }),
    unreached: unreached.slice(0, LIST_MAX).map(({ peerId, address, result, otherReached }) => {
      return { peer_id: peerId, address, result, other_reached: otherReached };
    }),
    ...(jumps && {
      clock_jumps: { count: jumps.count, last_ms: jumps.lastMs, ago_ms: agoMs(jumps.atMs) },
    }),
    ...(health.lastPauseMs !== undefined && {
      pauses: {
        count: health.pauses,
        longest_ms: Math.round(health.longestPauseMs),
        ago_ms: agoMs(health.lastPauseMs),
      },
    }),
    room: peer.replica.room,
    store: {
      damaged,
      set_aside: peer.replica.aside.count,
      ...(former && { renewed_because: former.why.slice(0, 1_024) }),
    },
    tasks: copiesOf(peer),
    refusals: refusals.map(({ peerId, by, code, why, atMs }) => {
      return { peer_id: peerId, by, code, why: why.slice(0, 1_024), ago_ms: agoMs(atMs) };
    }),
    flapping: stats.flapping().map(({ peerId, returns }) => ({ peer_id: peerId, returns })),
    ...(open && { descriptors: { ...open } }),
    slots: peer.options.slots,
  };
}

/** A heartbeat or two that are late, or a link that is just made again, are nothing to be told of. */
function isHeard(peer: Peer, { peerId, hears, heardMsAgo }: Observed): boolean {
  if (hears) return true;
  const nowMs = peer.ports.clock.nowMs();
  const knownMs = nowMs - (peer.membership.member(peerId)?.sinceMs ?? nowMs);
  const silentMs = heardMsAgo ?? Math.min(knownMs, nowMs - peer.startedMs);
  return silentMs < DOCTOR_SILENCE_MS;
}

/** Unfinished tasks with too few live home stores; each is counted by the first of its live ones alone. */
function copiesOf(peer: Peer): Report['tasks'] {
  const { config } = peer.options;
  const counts = { looked_at: 0, below_required: 0, below_copies: 0 };
  let records = 0;
  for (const record of peer.replica.unfinished()) {
    records += 1;
    if (records > DOCTOR_RECORDS_MAX) break;
    if (!isTaskRecord(record)) continue;
    const live = liveHome(peer, record);
    if (live[0] !== peer.identity.storeId) continue;
    counts.looked_at += 1;
    if (live.length < config.copies_required) counts.below_required += 1;
    else if (live.length < config.copies) counts.below_copies += 1;
  }
  return counts;
}

const liveHome = (peer: Peer, record: RecordState): string[] =>
  standingHome(peer.sight.directory, record)
    .filter((store) => peer.sight.status(store) !== 'dead')
    .sort();
