/** What a world has noted from outside, gathered at the end for the checkers. */
import type { Evidence, MemberSeen } from './evidence.ts';
import { isTied } from './gathering.ts';
import type { World } from './world.ts';

export function evidenceOf(world: World): Evidence {
  const members = world.hosts.flatMap(({ name, peer }): MemberSeen[] =>
    (peer?.membership.members() ?? []).map((member) => ({
      by: name,
      name: member.name,
      status: member.status,
      linked: member.name === name || (peer !== undefined && isTied(peer, member.peerId)),
    })),
  );
  return {
    submits: world.submits,
    runs: world.runs,
    told: world.told,
    knowledge: world.knowledge,
    replicas: world.replicas(),
    stores: world.stores(),
    viewHashes: world.hosts.map(({ peer }) => peer?.membership.viewHash() ?? 'down'),
    members,
    fatals: world.fatals,
    steps: world.steps.violations,
    cuts: world.cuts,
    replaced: world.losses.replaced,
    lost: lostIn(world),
    dropped: world.steps.notes.allDropped,
    laterFacts: world.steps.notes.laterFacts,
    aside: asideOf(world),
    destroyed: world.losses.destroyed,
    endMs: world.clock.nowMs(),
    endWallMs: world.clock.wallMs(),
  };
}

/** Destroyed by a fault, or overtaken by a tombstone. */
function lostIn({ losses, steps }: World): Map<string, ReadonlySet<string>> {
  const lost = new Map<string, ReadonlySet<string>>(losses.lost);
  for (const [id, names] of steps.notes.overtaken)
    lost.set(id, new Set([...(lost.get(id) ?? []), ...names]));
  return lost;
}

function asideOf({ hosts }: World): Map<string, string[]> {
  const aside = new Map<string, string[]>();
  for (const { name, peer } of hosts)
    for (const id of peer?.replica.aside.ids() ?? [])
      aside.set(id, [...(aside.get(id) ?? []), name]);
  return aside;
}
