/** The allow-list as an operator sees it: everybody who was ever admitted, and why some are out. */
import type { PeerId } from '../ports/identity.ts';
import type { AllowList } from './allow-list.ts';
import type { Entry, Fact } from './fact.ts';
import type { AccessEntry } from './types.ts';

export function rowsOf(
  entries: ReadonlyMap<PeerId, Fact<Entry>>,
  access: Pick<AllowList, 'barOf' | 'isRevoked'>,
): AccessEntry[] {
  const rows = [...entries].map(([peerId, { signed, statement }]): AccessEntry => {
    const { name, admittedAtMs } = statement;
    const bar = access.barOf(peerId);
    const revoked = access.isRevoked(peerId);
    const admitted = { peerId, name, admittedBy: signed.by, admittedAtMs, revoked };
    const barred = bar && {
      barredBy: bar.by.signed.by,
      barredAtMs: bar.by.statement.revokedAtMs,
    };
    return { ...admitted, isVoid: bar?.kind === 'void', ...barred };
  });
  return rows.sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
}
