/**
 * Removing a member: an operator says that its store does not come back. Only then does its part in old homes end;
 * a death alone may be a partition. Of one that lives nothing is removed here. Should it live all the same, on a side
 * that this peer does not see, it is told, its store becomes another one, and what lies in it is joined.
 */
import { type CoveyError, coveyError } from '../base/errors.ts';
import { err, ok, type Result } from '../base/result.ts';
import type { PeerId } from '../ports/identity.ts';
import type { Core } from './core.ts';
import { type Fact, type Removal, signFact } from './fact.ts';
import { REMOVALS_MAX } from './limits.ts';
import { statusOf } from './member.ts';

export interface Removed {
  readonly name: string;
  readonly storeId: string;
}

/** Durable here before anybody hears of it. A second time it changes nothing. */
export async function removeMember(
  core: Core,
  peerId: PeerId,
  announce: (fact: Fact) => void,
): Promise<Result<Removed, CoveyError>> {
  const facts = core.view.get(peerId);
  if (facts === undefined) return err(coveyError('NOT_FOUND', { what: `member ${peerId}` }));
  const { name, storeId } = facts.record.statement;
  const refusal = refusalOf(core, peerId, name);
  if (refusal !== undefined) return err(refusal);
  if (statusOf(facts).status === 'removed') return ok({ name, storeId });
  if (core.view.removalCount >= REMOVALS_MAX)
    return err(coveyError('NOT_REMOVABLE', { name, why: `${REMOVALS_MAX} stores were removed` }));
  const { identity, clock } = core.deps;
  const removedAtMs = Math.round(clock.wallMs());
  const statement: Removal = { kind: 'removal', peerId, storeId, removedAtMs };
  const removal = signFact(identity, core.view.meshId, statement);
  const saved = await core.book.saveFacts([removal]);
  if (!saved.ok) return err(coveyError('STORE_FULL', { peer: core.peerId }));
  // It may have come back while that was written: the removal stands, and it hears of it.
  core.accept([removal], 'own');
  announce(removal);
  return ok({ name, storeId });
}

function refusalOf(core: Core, peerId: PeerId, name: string): CoveyError | undefined {
  if (peerId === core.peerId) return coveyError('NOT_REMOVABLE', { name, why: 'it is this peer' });
  const status = core.roster.statusOf(peerId);
  return status === 'alive' || status === 'suspect'
    ? coveyError('NOT_REMOVABLE', { name, why: `it is ${status}` })
    : undefined;
}
