/** `members.stats`, `ring.show` and `ring.owner`: what this peer sees of the mesh, as clients are told. */
import type { MethodResult } from '../api/methods.ts';
import { ok } from '../base/result.ts';
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import type { Flow, TrafficClass } from '../membership/traffic.ts';
import type { Peer } from '../peer/peer.ts';
import type { PlaceReason } from '../ring/ring.ts';
import { tokenCount } from '../ring/tokens.ts';
import type { ControlBackend } from './backend.ts';

type Stats = MethodResult<'members.stats'>;
type Preference = MethodResult<'ring.owner'>['preference'][number];

export const observeMethods = (
  peer: Peer,
): Pick<ControlBackend, 'members.stats' | 'ring.show' | 'ring.owner'> => ({
  'members.stats': async () => ok(statsOf(peer)),
  'ring.show': async () => ok(ringOf(peer)),
  'ring.owner': async ({ key }) => ok(preferenceOf(peer, key)),
});

const whole = (ms: number): number => Math.max(0, Math.round(ms));
const tenths = (value: number): number => Math.round(value * 10) / 10;

const flowOf = (flow: Flow, round: (value: number) => number) => ({
  frames_sent: round(flow.framesSent),
  bytes_sent: round(flow.bytesSent),
  frames_received: round(flow.framesReceived),
  bytes_received: round(flow.bytesReceived),
});

const classesOf = (flows: Readonly<Record<TrafficClass, Flow>>, round: (n: number) => number) => ({
  control: flowOf(flows.control, round),
  data: flowOf(flows.data, round),
  bulk: flowOf(flows.bulk, round),
  admit: flowOf(flows.admit, round),
  news: flowOf(flows.news, round),
});

function statsOf(peer: Peer): Stats {
  const { membership } = peer;
  const named = (peerId: string) => ({
    peer_id: peerId,
    name: membership.member(peerId)?.name ?? '',
  });
  const { observes, observedBy, links, rates, ...rest } = membership.stats.gossip();
  const { rounds, facts, news, health, refused } = rest;
  const nowMs = peer.ports.clock.nowMs();
  return {
    view_hash: membership.viewHash(),
    members: membership.members().length,
    observes: observes.map(({ peerId, heardMsAgo, linked, hears, opinion, phi }) => ({
      ...named(peerId),
      ...{ linked, hears, opinion, phi },
      ...(heardMsAgo === undefined ? {} : { heard_ms_ago: whole(heardMsAgo) }),
    })),
    observed_by: observedBy.map((id) => ({ ...named(id), linked: membership.linked(id) })),
    anti_entropy: {
      started: rounds.started,
      started_different: rounds.startedDifferent,
      asked: rounds.asked,
      asked_different: rounds.askedDifferent,
      facts_sent: facts.sent,
      facts_received: facts.received,
    },
    news,
    refused: { ...refused },
    health: {
      step: health.step,
      patience: health.patience,
      paused_lately: health.pausedLately,
      lag_ms: whole(health.lagMs),
      lag_ms_max: whole(health.lagMsMax),
      pauses: health.pauses,
      longest_pause_ms: whole(health.longestPauseMs),
      ...(health.lastPauseMs === undefined
        ? {}
        : { last_pause_ms_ago: whole(nowMs - health.lastPauseMs) }),
    },
    links: links.map(({ peerId, address, direction, up }) => {
      const flow = rates?.peers.get(peerId);
      const perSecond = flow === undefined ? {} : { per_second: flowOf(flow, tenths) };
      return { ...named(peerId), address, direction, up, ...perSecond };
    }),
    ...(rates === undefined
      ? {}
      : {
          traffic: {
            window_ms: whole(rates.windowMs),
            per_second: classesOf(rates.classes, tenths),
            since_start: classesOf(rates.totals, Math.round),
          },
        }),
  };
}

function ringOf(peer: Peer): MethodResult<'ring.show'> {
  const ring = peer.sight.ring();
  const shares = ring.shares();
  return {
    checksum: ring.checksum,
    copies: peer.options.config.copies,
    members: ring.members.map(({ peerId, storeId, host, zone, weight }, i) => {
      const member = peer.membership.member(peerId);
      return {
        peer_id: peerId,
        name: member?.name ?? '',
        store_id: storeId,
        host,
        ...(zone === undefined ? {} : { zone }),
        status: member?.status ?? 'removed',
        weight,
        tokens: tokenCount(weight),
        share: shares[i] ?? 0,
      };
    }),
  };
}

const REASONS: Readonly<Record<PlaceReason, string>> = {
  first: "the first on the ring at the key's hash",
  other_zone: 'the next on the ring on another host',
  other_host: 'the next on another host; every zone has a copy by now',
  next: 'the next on the ring; every host has a copy by now',
};

/** Where the key belongs now; and, of a task, the stores that its id names and that are not among them. */
function preferenceOf(peer: Peer, key: string): MethodResult<'ring.owner'> {
  const id = parseTaskId(key);
  const ring = peer.sight.ring();
  const hasZones = ring.members.some(({ zone }) => zone !== undefined);
  const isNamed = (storeId: string): boolean =>
    id?.fingerprints.includes(fingerprintOf(storeId)) === true;
  const inId = (storeId: string) => (id === undefined ? {} : { in_id: isNamed(storeId) });
  const placed = ring.explain(id?.random ?? key, peer.options.config.copies);
  const preference = placed.map(({ member: { storeId, peerId, zone }, reason }): Preference => {
    const more =
      reason === 'other_zone' && hasZones && zone !== undefined ? ', in another zone' : '';
    const name = peer.membership.member(peerId)?.name ?? '';
    const why = { reason: REASONS[reason] + more, ...inId(storeId) };
    return { peer_id: peerId, store_id: storeId, name, ...why };
  });
  const known = new Set(placed.map(({ member }) => member.storeId));
  const others = peer.membership
    .members()
    .filter(({ storeId }) => isNamed(storeId) && !known.has(storeId));
  const alsoNamed = others.map((member) => namedByIdOnly(member));
  return { preference, ...(id === undefined ? {} : { also_named: alsoNamed }) };
}

const namedByIdOnly = (member: {
  readonly peerId: string;
  readonly storeId: string;
  readonly name: string;
  readonly status: string;
}): Preference => {
  const { peerId, storeId, name, status } = member;
  const isHere = status === 'alive' || status === 'suspect';
  const reason = isHere
    ? 'named by the id; the ring has changed since'
    : `named by the id; it is ${status}`;
  return { peer_id: peerId, store_id: storeId, name, reason, in_id: true };
};
