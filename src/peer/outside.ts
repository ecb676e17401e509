/**
 * A peer that is no member of its mesh any more: revoked, or admitted by one that was. It shows what it holds, and
 * neither takes nor runs anything: its tasks have other homes, and would run twice.
 */
import { err, ok, type Result } from '../base/result.ts';
import type { Membership } from '../membership/membership.ts';
import type { PeerOptions, StartError } from './options.ts';

/**
 * Nobody of the mesh has a word for a revoked peer, so it does not even listen. One whose admission became void is in
 * again as soon as a member has admitted it: it goes on to dial them.
 */
export async function startOutside(
  { membership, options }: { readonly membership: Membership; readonly options: PeerOptions },
  listen: { readonly host: string; readonly port: number },
  advertise: readonly string[],
): Promise<Result<number, StartError>> {
  options.log.log('error', 'this peer is no member of its mesh: it takes and runs nothing', {
    why: membership.expelledText ?? '',
  });
  if (membership.expelled?.kind === 'revoked') return ok(listen.port);
  const listening = await membership.start(listen, [...advertise]);
  if (listening.ok) return ok(listening.port);
  return err({ code: listening.code, detail: listening.detail });
}
