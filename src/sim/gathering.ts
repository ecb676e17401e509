/** How the hosts of a world become one mesh, and whether they are one now. */
import type { Peer } from '../peer/peer.ts';
import type { World } from './world.ts';

const INVITE_TTL_MS = 60_000;
const JOIN_LIMIT_MS = 30_000;

/** Starts every host; the first invites, the others join by its tokens. */
export async function gather(world: World): Promise<void> {
  for (const host of world.hosts)
    if (host.state === 'down') await world.until(host.start(), JOIN_LIMIT_MS);
  for (let i = 1; i < world.hosts.length; i++) {
    const invited = await world.until(
      world.peer(0).membership.invite(INVITE_TTL_MS),
      JOIN_LIMIT_MS,
    );
    if (!invited.ok) throw new Error(invited.error.message);
    const joined = await world.until(
      world.peer(i).membership.join(invited.value.token),
      JOIN_LIMIT_MS,
    );
    if (!joined.ok) throw new Error(joined.error.message);
  }
  if (!(await world.runUntil(() => isWhole(world), JOIN_LIMIT_MS)))
    throw new Error('the mesh did not come together');
}

/** Linked, where a link is to be: in a partial mesh most have none. */
export const isTied = ({ membership }: Peer, peerId: string): boolean =>
  peerId === membership.self().peerId ||
  membership.linked(peerId) ||
  !membership.mesh.expects(peerId);

/** Every daemon runs and sees every other alive and linked. */
export const isWhole = ({ hosts }: World): boolean =>
  hosts.every(({ peer }) => {
    const members = peer?.membership.members() ?? [];
    return (
      members.length === hosts.length &&
      members.every(
        ({ status, stopping, peerId }) =>
          status === 'alive' && !stopping && peer !== undefined && isTied(peer, peerId),
      )
    );
  });
