/** Where a task may run, with the reason for every peer: what `explain` prints. Pure. */
import type { Because, WaitingReason } from '../api/task.ts';
import { demandParts } from './demand.ts';
import type { PeerSight } from './mesh-view.ts';

export interface Placement {
  /** Peers that may run it and have room by what they last said, the owner itself first, then the least loaded. */
  readonly candidates: readonly PeerSight[];
  readonly reason: WaitingReason | undefined;
  readonly because: readonly Because[];
}

function verdict(
  peer: PeerSight,
  demand: string,
  refused: ReadonlyMap<string, { code: string; detail: string }>,
): Omit<Because, 'peer' | 'name'> {
  if (peer.status !== 'alive' && peer.status !== 'suspect') {
    const how = peer.status === 'removed' ? 'was removed' : `is ${peer.status}`;
    return { ok: false, code: peer.status, detail: `the peer ${how}` };
  }
  if (peer.shortage === 'full')
    return { ok: false, code: 'disk_full', detail: 'the disk of the peer is full' };
  if (peer.stopping) return { ok: false, code: 'stopping', detail: 'the peer is stopping' };
  if (peer.status === 'suspect')
    return { ok: false, code: 'suspect', detail: 'the peer is not heard of' };
  if (!peer.self && !peer.reachable)
    return { ok: false, code: 'unreachable', detail: 'no connection to the peer' };
  const refusal = refused.get(peer.peerId);
  if (refusal !== undefined) return { ok: false, ...refusal };
  const parts = demandParts(demand);
  if (parts === undefined) return { ok: false, code: 'unknown_demand', detail: demand };
  if (peer.isLoadUnknown === true && (peer.execEnabled || parts.kind === 'worker'))
    return { ok: true, code: 'unheard', detail: 'how busy it is is not known here: it is asked' };
  if (parts.kind === 'exec') {
    if (!peer.execEnabled || peer.load.slots === 0) {
      return { ok: false, code: 'exec_disabled', detail: 'the peer runs no commands' };
    }
    return peer.load.slotsFree > 0
      ? {
          ok: true,
          code: 'free',
          detail: `${peer.load.slotsFree} of ${peer.load.slots} slots free`,
        }
      : { ok: false, code: 'no_free_slot', detail: `all ${peer.load.slots} slots are taken` };
  }
  // A type may be called `constructor`.
  const workers = Object.hasOwn(peer.load.workers, parts.type)
    ? peer.load.workers[parts.type]
    : undefined;
  if (workers === undefined || workers.total === 0) {
    return {
      ok: false,
      code: 'no_worker',
      detail: `no worker for '${parts.type}' is connected there`,
    };
  }
  return workers.free > 0
    ? { ok: true, code: 'free', detail: `${workers.free} of ${workers.total} workers free` }
    : { ok: false, code: 'no_free_slot', detail: `all ${workers.total} workers are busy` };
}

export function place(
  demand: string,
  peers: readonly PeerSight[],
  refused: ReadonlyMap<string, { code: string; detail: string }>,
): Placement {
  const because = peers.map((peer) => ({
    peer: peer.peerId,
    name: peer.name,
    ...verdict(peer, demand, refused),
  }));
  const codes = new Set(because.map((item) => item.code));
  const candidates = peers
    .filter((_, i) => because[i]?.ok === true)
    .sort((a, b) => Number(b.self) - Number(a.self) || b.load.slotsFree - a.load.slotsFree);
  if (candidates.length > 0) return { candidates, reason: undefined, because };
  if (codes.has('no_free_slot')) return { candidates, reason: 'no_free_slot', because };
  const reason =
    demand.startsWith('worker:') && codes.has('no_worker') ? 'no_worker' : 'no_eligible_peer';
  return { candidates, reason, because };
}
