/** What peers showed of the ends of tasks, one after the other. */
import { fingerprintOf, parseTaskId } from '../base/task-id.ts';
import type { Task } from '../tasks/task.ts';
import { short } from './copies.ts';
import type { Evidence, Violation } from './evidence.ts';

/** A final that was shown stays, or its change is a counted conflict; a shown final is never taken back. */
export function judgeFinals(
  evidence: Evidence,
  tasks: ReadonlyMap<string, Task>,
  strict: boolean,
): Violation[] {
  const storeOf = new Map(
    [...evidence.replicas.values()].flat().map(({ host, storeId }) => [host, storeId]),
  );
  /**
   * Others may have held a stand-in copy, given it up, and be sent an old one by a peer that was away. The id names the
   * home, not the record: who knew nobody of it when the request came again took the next best, perhaps in the name of
   * the store that its own was copied from.
   */
  const isHome = (host: string, id: string): boolean =>
    parseTaskId(id)?.fingerprints.includes(fingerprintOf(storeOf.get(host) ?? '')) === true;
  const violations: Violation[] = [];
  const first = new Map<string, string>();
  const byHost = new Map<string, string>();
  for (const { id, host, final, atMs } of evidence.told) {
    const key = `${host} ${id}`;
    if (final === undefined) {
      const before = byHost.get(key);
      // Such a store does not know what it had shown, before others tell it. One that finds a copy damaged does.
      const isReplaced = evidence.replaced.get(id)?.has(host) === true;
      if (before !== undefined && isHome(host, id) && !isReplaced) {
        const detail = `${host} showed ${short(id)} as ${before} and at ${atMs} as not final`;
        violations.push({ rule: 'final_taken_back', detail });
      }
      continue;
    }
    const text = `${final.state} ${final.runId} ${final.digest}`;
    byHost.set(key, text);
    const before = first.get(id);
    if (before === undefined) first.set(id, text);
    else if (before !== text && (strict || (tasks.get(id)?.conflicts ?? 0) === 0)) {
      const detail = `${short(id)} was shown as ${before}, then by ${host} at ${atMs} as ${text}`;
      violations.push({ rule: 'final_changed', detail });
    }
  }
  return violations;
}
