/** What the other observers of a member say of it, those that can be asked: pure. */
import type { PeerId } from '../ports/identity.ts';
import type { Others } from './conviction.ts';
import type { Turn } from './fact.ts';
import { OPINION_TTL_MS } from './limits.ts';
import { compareTurns } from './member.ts';
import type { Watch } from './watch.ts';

export interface Court {
  readonly self: PeerId;
  observersOf(peerId: PeerId): readonly PeerId[];
  /** It can be asked now, or will be in a moment: who is merely not linked yet must not be taken for absent. */
  isReachable(observer: PeerId): boolean;
}

export function othersOn(
  court: Court,
  accused: Turn & { readonly peerId: PeerId },
  { opinions }: Pick<Watch, 'opinions'>,
  nowMs: number,
): Others & { readonly accusers: PeerId[] } {
  const accusers: PeerId[] = [];
  const others = { reachable: 0, accusing: 0, objecting: 0, accusers };
  for (const observer of court.observersOf(accused.peerId)) {
    if (observer === court.self || !court.isReachable(observer)) continue;
    others.reachable += 1;
    const said = opinions.get(observer);
    if (!said || nowMs - said.atMs > OPINION_TTL_MS) continue;
    if (compareTurns(said.turn, accused) !== 0) continue;
    if (said.says === 'hears') others.objecting += 1;
    else if (said.says !== 'suspect') accusers.push(observer);
  }
  others.accusing = accusers.length;
  return others;
}
