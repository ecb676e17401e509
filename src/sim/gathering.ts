/** How the hosts of a world become one mesh, and whether they are one now. */
import type { Peer } from '../peer/peer.ts';
import type { SimHost } from './host.ts';
import type { World } from './world.ts';

const INVITE_TTL_MS = 60_000;
const JOIN_LIMIT_MS = 30_000;

/** Starts every host; the first of each mesh invites, the others of it join by its tokens. */
export async function gather(world: World, meshes: readonly (readonly number[])[]): Promise<void> {
  for (const host of world.hosts)
    if (host.state === 'down') await world.until(host.start(), JOIN_LIMIT_MS);
  for (const [first = 0, ...others] of meshes)
    for (const other of others) await joinBy(world, first, other);
  const sizes = new Map(meshes.flatMap((mesh) => mesh.map((i) => [i, mesh.length])));
  const areWhole = () => world.hosts.every((host, i) => seesAll(host, sizes.get(i) ?? 0));
  if (!(await world.runUntil(areWhole, JOIN_LIMIT_MS)))
    throw new Error('the mesh did not come together');
}

async function joinBy(world: World, inviter: number, newcomer: number): Promise<void> {
  const invited = await world.until(
    world.peer(inviter).membership.invite(INVITE_TTL_MS),
    JOIN_LIMIT_MS,
  );
  if (!invited.ok) throw new Error(invited.error.message);
  const joined = await world.until(
    world.peer(newcomer).membership.join(invited.value.token),
    JOIN_LIMIT_MS,
  );
  if (!joined.ok) throw new Error(joined.error.message);
}

/** Linked, where a link is to be: in a partial mesh most have none. */
export const isTied = ({ membership }: Peer, peerId: string): boolean =>
  peerId === membership.self().peerId ||
  membership.linked(peerId) ||
  !membership.mesh.expects(peerId);

/** Its daemon runs and sees so many members, itself among them, all alive and linked. */
function seesAll({ peer }: SimHost, count: number): boolean {
  const members = peer?.membership.members() ?? [];
  return (
    members.length === count &&
    members.every(
      ({ status, stopping, peerId }) =>
        status === 'alive' && !stopping && peer !== undefined && isTied(peer, peerId),
    )
  );
}

/** Every daemon runs and sees every other alive and linked. */
export const isWhole = ({ hosts }: World): boolean =>
  hosts.every((host) => seesAll(host, hosts.length));
