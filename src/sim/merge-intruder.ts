/**
 * A stranger with tokens that were not meant so: it brings a mesh of its own to a member, by a token for one host, with more
 * members than there may be, and with one that has revoked a member here; and it tries a token for a merge to come in alone.
 */
import { signFact, toWire } from '../membership/fact.ts';
import { encodeAdmit } from '../membership/hello.ts';
import { MEMBERS_MAX } from '../membership/limits.ts';
import type { Membership } from '../membership/membership.ts';
import { decodeToken } from '../membership/token.ts';
import type { Identity, PeerId } from '../ports/identity.ts';
import type { Network } from '../ports/network.ts';

const INVITE_TTL_MS = 60_000;
const CALL_MS_MAX = 5_000;

/** At the member with which its network has a connection; `victim` is another one. */
export async function bringMesh(
  membership: Membership,
  network: Network,
  identity: Identity,
  { victim, meshId }: { readonly victim: PeerId; readonly meshId: string },
): Promise<void> {
  const { peerId: inviter } = membership.self();
  const secretOf = async (forMerge: boolean): Promise<Uint8Array | undefined> => {
    const invited = await membership.invite(INVITE_TTL_MS, forMerge);
    const token = invited.ok ? decodeToken(invited.value.token) : invited;
    return token.ok ? token.value.secret : undefined;
  };
  const [alone, whole] = [await secretOf(false), await secretOf(true)];
  if (alone === undefined || whole === undefined) return;
  const { peerId } = identity;
  const founder = { kind: 'entry', peerId, name: 'x', admittedAtMs: 0 } as const;
  const facts = [toWire(signFact(identity, meshId, founder))];
  const ask = async (secret: Uint8Array, members: number, revoked: PeerId[]): Promise<void> => {
    const side = { meshId, root: peerId, members, revoked };
    const agreed = { isAgreed: true, withCuts: false };
    const frame = encodeAdmit({ type: 'merge', secret, side, facts, ...agreed });
    await network.admitCall(inviter, frame, CALL_MS_MAX);
  };
  await ask(alone, 2, []);
  await ask(whole, MEMBERS_MAX, []);
  await ask(whole, 2, [victim]);
  const redeem = encodeAdmit({ type: 'redeem', secret: whole, name: 'x' });
  await network.admitCall(inviter, redeem, CALL_MS_MAX);
}
