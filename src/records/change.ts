/** What passes a record's queue: what a decision is given, and what it may answer. */
import type { Purpose } from '../ports/room.ts';
import type { StoreOp } from '../ports/store.ts';
import type { WireMap } from '../wire/envelope.ts';
import type { Fact, RecordState } from './record.ts';
import type { Tombstone } from './tombstone.ts';

/** What the replica must know of a kind. */
export interface KindRules {
  /** Whether the rules can read it at all: what another version or a broken peer sent may be anything. */
  isReadable(record: RecordState): boolean;
  isFinal(record: RecordState): boolean;
  /** Wall milliseconds from which a final record may be dropped. */
  dropAtMs(record: RecordState): number | undefined;
  /** The value of a fact that makes the drop time as early as this; none for a kind without such facts. */
  earlierDrop(atMs: number): WireMap | undefined;
}

export interface Change {
  readonly current: RecordState | undefined;
  readonly tombstone: Tombstone | undefined;
  /** A fact under this store's next dot; it must go into the record that the decision returns. */
  fact(value: WireMap): Fact;
}

export interface Decision<T> {
  readonly value: T;
  /** The new version; absent: nothing changes. */
  readonly next?: RecordState;
  /** The record is forgotten; `extra` may leave a mark of it. */
  readonly forget?: boolean;
  readonly blob?: Uint8Array;
  readonly extra?: readonly StoreOp[];
  /** What it is for, when room is scarce; absent: it settles something. */
  readonly purpose?: Purpose;
}
