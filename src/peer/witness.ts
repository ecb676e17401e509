/** What this peer notes of every change of a record: finals that met concurrent ones, and how far others have counted. */
import type { Logger } from '../base/telemetry.ts';
import type { Membership } from '../membership/membership.ts';
import { clockOf, factsBeyond, type RecordState } from '../records/record.ts';
import type { Replica } from '../records/replica.ts';
import type { StoreIdentity } from '../records/store-identity.ts';
import { taskOf } from '../tasks/task.ts';

export class Witness {
  /** Finals that met a concurrent final here, since the start. */
  conflicts = 0;
  readonly #log: Logger;

  /** `onCopied`: another store bears the name of this one. */
  constructor(
    replica: Replica,
    membership: Pick<Membership, 'sawSeq'>,
    {
      identity,
      log,
      onCopied,
    }: {
      readonly identity: StoreIdentity;
      readonly log: Logger;
      readonly onCopied: (why: string) => void;
    },
  ) {
    this.#log = log;
    replica.onVisible((after, before) => {
      this.#countConflicts(after, before);
      // What others must not see a later boot of these stores forget.
      const known = before === undefined ? {} : clockOf(before);
      for (const { store, seq } of factsBeyond(after, known))
        if (store !== replica.storeId) membership.sawSeq(store, seq);
        // What is written here would count as known to whoever has seen that change.
        else if (seq > identity.lastSeq)
          onCopied(`change ${seq} under the name of this store is not its own: a copy of it lives`);
    });
  }

  #countConflicts(after: RecordState, before: RecordState | undefined): void {
    if (after.kind !== 'task') return;
    const known = before === undefined ? 0 : taskOf(before).conflicts;
    const now = taskOf(after).conflicts;
    if (now <= known) return;
    this.conflicts += now - known;
    this.#log.log('warn', 'concurrent finals of one task were joined', { id: after.id });
  }
}
