/**
 * `covey access allow` and `revoke`. A revocation is for good: whoever hears of it ends every link to that PeerId, and
 * nothing that it says counts any more. Its store has no part in any home, as if it had been removed.
 *
 * What the revoked peer had said of others and its revoker knew must not be lost with it (a member that it found dead
 * would come to life), so the revoker says it again in its own name, in the same write and the same message.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import { type Entry, type Fact, type Revocation, signFact } from './fact.ts';
import { KEEPS_MAX, MERGES_MAX } from './limits.ts';

export interface Revoked {
  readonly name: string;
  /** Undefined: nobody has seen it in the mesh yet. */
  readonly storeId: string | undefined;
  /** It was revoked before: by whom. */
  readonly already: string | undefined;
}

/** Durable here before anybody hears of it. */
export async function revokePeer(
  core: Core,
  peerId: PeerId,
  announce: (facts: readonly Fact[]) => void,
): Promise<Result<Revoked, CoveyError>> {
  const { access } = core.view;
  if (!access.isKnown(peerId)) return err(coveyError('NOT_FOUND', { what: `Peer ${peerId}` }));
  const name = core.nameOf(peerId);
  const refuse = (why: string) => err(coveyError('NOT_REVOCABLE', { name, why }));
  if (peerId === core.peerId) return refuse('it is this peer');
  const storeId = core.view.get(peerId)?.record.statement.storeId;
  const bar = access.barOf(peerId);
  if (bar?.kind === 'revoked') return ok({ name, storeId, already: core.nameOf(bar.by.signed.by) });
  const facts = sayAgain(core, peerId);
  const saved = await core.book.saveFacts(facts);
  if (!saved.ok) return err(coveyError('STORE_FULL', { peer: core.peerId }));
  core.accept(facts, 'own');
  announce(facts);
  // While it was written: the others read nothing from this peer any more.
  if (core.expelled()) return err(core.refusalOf(core.peerId));
  return ok({ name, storeId, already: undefined });
}

/** The revocation, and what the revoked peer had stated of others. */
function sayAgain(core: Core, peerId: PeerId): Fact[] {
  const { clock, identity } = core.deps;
  const { view } = core;
  const sign = <S extends Fact['statement']>(statement: S) =>
    signFact(identity, view.meshId, statement);
  const admitted = view.access.admittedBy(peerId);
  const keeps = admitted.slice(0, KEEPS_MAX).map(({ statement }) => statement.peerId);
  const revokedAtMs = Math.round(clock.wallMs());
  const keepsMeshes = view.access.acceptedBy(peerId).slice(0, MERGES_MAX);
  const revocation: Revocation = { kind: 'revocation', peerId, revokedAtMs, keeps, keepsMeshes };
  const repeated = [...admitted.slice(KEEPS_MAX), ...view.saidBy(peerId)];
  return [sign(revocation), ...repeated.map(({ statement }) => sign(statement))];
}

/** An entry without a token; false: it was allowed before. */
export async function allowPeer(
  core: Core,
  peerId: PeerId,
  name: string,
  announce: (facts: readonly Fact[]) => void,
): Promise<Result<boolean, CoveyError>> {
  const { clock, identity } = core.deps;
  const { access, meshId } = core.view;
  const bar = access.barOf(peerId);
  if (bar?.kind === 'revoked') return err(core.revokedError(peerId));
  if (access.isAllowed(peerId)) return ok(false);
  const full = core.fullError(peerId);
  if (full) return err(full);
  const admittedAtMs = Math.round(clock.wallMs());
  const statement: Entry = { kind: 'entry', peerId, name, admittedAtMs };
  const entry = signFact(identity, meshId, statement);
  const saved = await core.book.saveFacts([entry]);
  if (!saved.ok) return err(coveyError('STORE_FULL', { peer: core.peerId }));
  core.accept([entry], 'own');
  // Others may have filled the list while it was written.
  const lost = core.fullError(peerId);
  if (lost) return err(lost);
  announce([entry]);
  if (core.expelled()) return err(core.refusalOf(core.peerId));
  return ok(true);
}
