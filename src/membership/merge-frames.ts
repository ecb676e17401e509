/**
 * The frames of a merge on `/covey/admit/1`. A member of the one mesh asks a member of the other twice: for its terms,
 * which changes nothing, and then to do it.
 *
 *   merge    a token's secret, who asks, for which mesh    → terms | merged | refuse
 */
import type { WireValue } from '../wire/codec.ts';
import type { WireMap } from '../wire/envelope.ts';
import { CHAIN_MAX, HELLO_MERGES_MAX, MERGE_CUTS_MAX, MERGE_REVOKED_MAX } from './limits.ts';
import { readId, readInt, readList, readTexts } from './read.ts';

/** What each side says of its mesh. */
export interface MergeSide {
  readonly meshId: string;
  readonly root: string;
  readonly members: number;
  /** PeerIds that were revoked there: they are out of the whole. */
  readonly revoked: readonly string[];
}

export type MergeFrame =
  | {
      readonly type: 'merge';
      readonly secret: Uint8Array;
      readonly side: MergeSide;
      /** Facts, not yet judged, that lead from the founder of that mesh to who asks. */
      readonly facts: readonly WireValue[];
      /** Do it now. */
      readonly isAgreed: boolean;
      /** Also if it cuts members off. */
      readonly withCuts: boolean;
    }
  | {
      readonly type: 'terms';
      readonly side: MergeSide;
      /** Names of members of this side that the other side's revocations cut off. */
      readonly cuts: readonly string[];
    }
  | {
      readonly type: 'merged';
      readonly meshId: string;
      readonly root: string;
      readonly facts: readonly WireValue[];
    };

/** Merges with the entries of their authors, the chain of who speaks, and its record. */
const FACTS_MAX = HELLO_MERGES_MAX + CHAIN_MAX + 1;

const sideMap = ({ meshId, root, members, revoked }: MergeSide): WireMap => ({
  mesh_id: meshId,
  root,
  members,
  revoked,
});

export function mergeMap(frame: MergeFrame): WireMap {
  switch (frame.type) {
    case 'merge': {
      const { type, secret, side, facts, isAgreed, withCuts } = frame;
      return { type, secret, ...sideMap(side), facts, agreed: isAgreed, with_cuts: withCuts };
    }
    case 'terms':
      return { type: frame.type, ...sideMap(frame.side), cuts: frame.cuts };
    case 'merged': {
      const { type, meshId, root, facts } = frame;
      return { type, mesh_id: meshId, root, facts };
    }
  }
}

function readSide(map: WireMap): MergeSide | undefined {
  const meshId = readId(map.mesh_id);
  const root = readId(map.root);
  const members = readInt(map.members);
  const revoked = readTexts(map.revoked, MERGE_REVOKED_MAX);
  if (!meshId || !root || members === undefined || !revoked) return undefined;
  return { meshId, root, members, revoked };
}

export function readMergeFrame(type: MergeFrame['type'], map: WireMap): MergeFrame | undefined {
  if (type === 'terms') {
    const side = readSide(map);
    const cuts = readTexts(map.cuts, MERGE_CUTS_MAX);
    return side && cuts && { type, side, cuts };
  }
  const facts = readList(map.facts, FACTS_MAX);
  if (type === 'merged') {
    const meshId = readId(map.mesh_id);
    const root = readId(map.root);
    return meshId && root && facts ? { type, meshId, root, facts } : undefined;
  }
  const side = readSide(map);
  const { secret } = map;
  if (!side || !facts || !(secret instanceof Uint8Array)) return undefined;
  const [isAgreed, withCuts] = [map.agreed === true, map.with_cuts === true];
  return { type, secret, side, facts, isAgreed, withCuts };
}
