/**
 * A stranger who knows where a member listens and which mesh it is: it says hello without ever having been admitted,
 * with a mesh of its own (merge-intruder.ts), after a member has revoked it, and once more as another one that it has
 * admitted itself.
 */
import { toHex } from '../base/hash.ts';
import type { Random } from '../base/random.ts';
import { signFact, toWire } from '../membership/fact.ts';
import { encodeAdmit, type Hello } from '../membership/hello.ts';
import { sleep } from '../ports/clock.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Network, NetworkHandlers } from '../ports/network.ts';
import type { WireValue } from '../wire/codec.ts';
import { encodeEnvelope } from '../wire/envelope.ts';
import { WIRE_VERSION_MAX, WIRE_VERSION_MIN } from '../wire/versions.ts';
import { createSimIdentity } from './identity.ts';
import { bringMesh } from './merge-intruder.ts';
import type { World } from './world.ts';

const CALL_MS_MAX = 5_000;
/** News that is not lost has come by then. */
const NEWS_MS = 1_000;
const HOST = '127.77.9.9';

const DEAF: NetworkHandlers = {
  opened: () => undefined,
  closed: () => undefined,
  frame: () => undefined,
  news: () => undefined,
  admitRequest: () => Promise.resolve(undefined),
};

/** At one member; once more after another has told all that it is revoked; and again under a name that it made up. */
export async function intrude(world: World, random: Random, at: number, by: number): Promise<void> {
  const { membership } = world.peer(at);
  const { addresses, peerId } = membership.self();
  const { meshId } = membership;
  const identity = createSimIdentity(`intruder ${toHex(random.bytes(8))}`);
  const port = 1_024 + (random.uint32() % 60_000);
  const id = toHex(random.bytes(16));
  const say = async (network: Network, chain: readonly WireValue[]): Promise<void> => {
    const hello = encodeAdmit({ type: 'hello', hello: { ...helloOf(meshId, id), chain } });
    const dialed = await network.dial(peerId, addresses[0] ?? '', CALL_MS_MAX);
    if (dialed.ok) await network.admitCall(peerId, hello, CALL_MS_MAX);
  };
  const network = world.hub.createNetwork(identity);
  const listening = await network.start(DEAF, { host: HOST, port });
  if (!listening.ok) return;
  await say(network, []);
  const victim = world.host(by).peerId;
  await bringMesh(membership, network, identity, { victim, meshId: id });
  revoke(world, by, identity.peerId);
  await sleep(world.clock, NEWS_MS);
  await say(network, []);
  await network.stop();
  const friend = createSimIdentity(`friend of ${identity.peerId}`);
  const entry = { kind: 'entry', peerId: friend.peerId, name: 'friend', admittedAtMs: 0 } as const;
  const another = world.hub.createNetwork(friend);
  if (!(await another.start(DEAF, { host: HOST, port })).ok) return;
  await say(another, [toWire(signFact(identity, meshId, entry))]);
  await another.stop();
}

function revoke(world: World, by: number, peerId: PeerId): void {
  const { name, peer } = world.host(by);
  if (peer === undefined || !world.isMember(by)) return;
  const identity = createSimIdentity(`${name} ${world.seed}`);
  const revokedAtMs = Math.floor(world.clock.wallMs());
  const revocation = signFact(identity, peer.membership.meshId, {
    kind: 'revocation',
    peerId,
    revokedAtMs,
    keeps: [],
  });
  const body = { facts: [toWire(revocation)] };
  peer.ports.network.publish(encodeEnvelope({ kind: 'message', type: 'news', body }));
}

const helloOf = (meshId: string, id: string): Hello => ({
  meshId,
  storeId: id,
  bootCount: 1,
  bootId: id,
  bootIds: [id],
  seq: 0,
  spans: [],
  versions: { min: WIRE_VERSION_MIN, max: WIRE_VERSION_MAX },
  features: [],
  record: null,
  chain: [],
  merges: [],
  known: undefined,
  away: undefined,
});
