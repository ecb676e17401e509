/** What this peer says of itself, and of the other, at a handshake. */
import type { PeerId } from '../ports/identity.ts';
import { WIRE_VERSION_MAX, WIRE_VERSION_MIN } from '../wire/versions.ts';
import type { Core } from './core.ts';
import { toWire } from './fact.ts';
import type { Hello } from './hello.ts';
import { statusOf } from './member.ts';

export const VERSIONS = { min: WIRE_VERSION_MIN, max: WIRE_VERSION_MAX };

export function ownHello({ deps, view, own, peerId }: Core, to: PeerId): Hello {
  const { store, features } = deps;
  const facts = view.get(to);
  const turn = facts?.record.statement;
  return {
    meshId: view.meshId,
    storeId: store.storeId,
    bootCount: store.bootCount,
    bootId: store.bootId,
    bootIds: store.bootIds,
    seq: store.seq(),
    spans: store.spans,
    versions: VERSIONS,
    features: features ?? [],
    record: toWire(own.fact),
    chain: view.access.chainOf(peerId).map(toWire),
    merges: view.access.mergesFor(facts?.record.meshId ?? view.meshId).map(toWire),
    known:
      facts && turn
        ? {
            epoch: turn.epoch,
            incarnation: turn.incarnation,
            dead: statusOf(facts).status === 'dead',
          }
        : undefined,
    away: turn && deps.awayNotice?.(turn.storeId),
  };
}
