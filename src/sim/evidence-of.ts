/** What a world has noted from outside, gathered at the end for the checkers. */
import type { Evidence, MemberSeen } from './evidence.ts';
import type { World } from './world.ts';

export function evidenceOf(world: World): Evidence {
  const members = world.hosts.flatMap(({ name, peer }): MemberSeen[] =>
    (peer?.membership.members() ?? []).map((member) => ({
      by: name,
      name: member.name,
      status: member.status,
      linked: member.name === name || peer?.membership.linked(member.peerId) === true,
    })),
  );
  return {
    submits: world.submits,
    runs: world.runs,
    told: world.told,
    knownSince: world.knownSince,
    replicas: world.replicas(),
    stores: world.stores(),
    viewHashes: world.hosts.map(({ peer }) => peer?.membership.viewHash() ?? 'down'),
    members,
    fatals: world.fatals,
    steps: world.steps.violations,
    cuts: world.cuts,
    replaced: world.losses.replaced,
    lost: world.losses.lost,
    endMs: world.clock.nowMs(),
  };
}
