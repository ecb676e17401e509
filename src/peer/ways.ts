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
  messenger.detour = new Detour({ ...ports, messenger, mesh, meshId, memberOf });
  messenger.onUse = (to) => mesh.used(to);
  mesh.isBusy = (peerId) => messenger.isWaitingFor(peerId);
  sight.reaches = (peerId) => mesh.reaches(peerId);
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
      return status === 'alive' || status === 'suspect';
    },
  });
}
