/** Ties the ways to members that have no link into a peer: dials on demand, relays, and what counts as reachable. */
import type { Refused } from '../base/refused.ts';
import { Detour } from './detour.ts';
import type { Peer } from './peer.ts';
import { RelayService } from './relay-service.ts';

export function openWays(peer: Peer, refused: Refused): void {
  const { membership, messenger, ports, identity, sight } = peer;
  const { mesh } = membership;
  const memberOf = (peerId: string) => membership.member(peerId);
  const meshId = () => membership.meshId;
  const isSettled = (peerId: string) => sight.isSettled(peerId);
  // One that was away for too long hears that at a hello, before anything else: no third may come before it.
  const mayRelay = (peerId: string): boolean => {
    const storeId = memberOf(peerId)?.storeId;
    return storeId !== undefined && isSettled(peerId) && !peer.away.noticeFor(storeId);
  };
  messenger.detour = new Detour({
    ...ports,
    ...{ messenger, mesh, meshId, memberOf, isSettled, mayRelay },
    epoch: membership.epoch,
  });
  messenger.onUse = (to) => mesh.used(to);
  mesh.isBusy = (peerId) => messenger.isWaitingFor(peerId);
  sight.reaches = (peerId) =>
    mesh.isInTouch(peerId) || (mesh.relaysTo(peerId).length > 0 && mayRelay(peerId));
  sight.isObserved = (peerId) => mesh.observes(peerId);
  new RelayService({
    identity: ports.identity,
    messenger,
    refused,
    meshId,
    bootId: identity.bootId,
    isLinked: (peerId) => membership.linked(peerId) && mesh.wayTo(peerId) === 'link',
    isMember: (peerId) => {
      const status = memberOf(peerId)?.status;
      return (status === 'alive' || status === 'suspect') && mayRelay(peerId);
    },
  });
}
