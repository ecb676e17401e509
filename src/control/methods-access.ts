/** Methods about who may be in the mesh. */
import { coveyError } from '../base/errors.ts';
import { err, ok } from '../base/result.ts';
import { toRfc3339 } from '../base/rfc3339.ts';
import { isWildcard } from '../base/wildcard.ts';
import { hostOf } from '../membership/roster.ts';
import type { Peer } from '../peer/peer.ts';
import type { ControlBackend } from './backend.ts';

export type AccessMethods = Pick<
  ControlBackend,
  'access.invite' | 'access.list' | 'access.allow' | 'access.revoke' | 'mesh.merge'
>;

/** An Ed25519 key as libp2p writes it: the only kind that Covey makes. */
const isPeerId = (text: string): boolean => /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(text);
const NO_PEER_ID = "A PeerId is wanted, as 'covey status' shows it on the host in question";

export function accessMethods(peer: Peer): AccessMethods {
  return {
    'access.invite': async ({ ttl_ms: ttlMs, merge }) => {
      // A token that names a wildcard would send its bearer to himself.
      const { addresses } = peer.membership.self();
      const bind = addresses.find((address) => isWildcard(hostOf(address)));
      if (bind !== undefined) return err(coveyError('NO_ADDRESS', { bind }));
      const invited = await peer.membership.invite(ttlMs, merge);
      if (!invited.ok) return invited;
      return ok({ token: invited.value.token, expires_at: toRfc3339(invited.value.expiresAtMs) });
    },
    'access.list': async () =>
      ok({
        entries: peer.membership.accessList().map((entry) => ({
          peer_id: entry.peerId,
          name: entry.name,
          admitted_by: entry.admittedBy,
          admitted_at: toRfc3339(entry.admittedAtMs),
          revoked: entry.revoked,
          ...(entry.isVoid ? { void: true } : {}),
          ...(entry.barredBy === undefined ? {} : { barred_by: entry.barredBy }),
          ...(entry.barredAtMs === undefined ? {} : { barred_at: toRfc3339(entry.barredAtMs) }),
        })),
      }),
    'access.allow': async ({ peer: peerId, name }) => {
      if (!isPeerId(peerId)) return err(coveyError('INVALID_PARAMS', { why: NO_PEER_ID }));
      const allowed = await peer.membership.allow(peerId, name ?? peerId.slice(-8));
      if (!allowed.ok) return allowed;
      return ok({ peer_id: peerId, token: allowed.value.token, is_new: allowed.value.isNew });
    },
    'mesh.merge': async ({ token, yes }) => {
      const merged = await peer.membership.merge(token, yes);
      if (!merged.ok) return merged;
      const { meshId, members, cutOff, isOld } = merged.value;
      return ok({ mesh_id: meshId, members, cut_off: [...cutOff], already: isOld });
    },
    'access.revoke': async ({ peer: peerId }) => {
      const revoked = await peer.membership.revoke(peerId);
      if (!revoked.ok) return revoked;
      const { name, storeId, already } = revoked.value;
      return ok({
        peer_id: peerId,
        name,
        ...(storeId === undefined ? {} : { store_id: storeId }),
        ...(already === undefined ? {} : { already_by: already }),
      });
    },
  };
}
