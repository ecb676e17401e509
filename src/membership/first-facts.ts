/** What a peer states before it has heard anything: that it may be in the mesh that it founds, and who it is. */
import { type Entry, signFact } from './fact.ts';
import type { MembershipDeps } from './types.ts';

export function founderEntry(deps: MembershipDeps, meshId: string) {
  const { identity, clock, config } = deps;
  const { peerId } = identity;
  const name = config.name ?? peerId.slice(-8);
  const admittedAtMs = Math.round(clock.wallMs());
  const entry: Entry = { kind: 'entry', peerId, name, admittedAtMs };
  return signFact(identity, meshId, entry);
}

export function firstRecord(deps: MembershipDeps, epoch: number) {
  const { identity, store, config, version, features } = deps;
  return {
    kind: 'record' as const,
    peerId: identity.peerId,
    epoch,
    incarnation: 0,
    storeId: store.storeId,
    bootCount: store.bootCount,
    bootId: store.bootId,
    name: config.name ?? identity.peerId.slice(-8),
    addresses: [],
    labels: config.labels,
    version: version ?? '0',
    features: features ?? [],
    execEnabled: config.exec,
    stopping: false,
    left: false,
  };
}
