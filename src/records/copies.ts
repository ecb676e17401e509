/** Copies of records as they come from other stores, and what becomes of them. */
import type { WireValue } from '../wire/codec.ts';
import { isWireMap } from '../wire/envelope.ts';
import { decodeRecord, type RecordState } from './record.ts';

export interface Incoming {
  readonly record: RecordState;
  readonly blob: Uint8Array | undefined;
  /** A client's creation, not a copy: another request under the same id is refused. */
  readonly fresh: boolean;
  /** Of a creation: the id was never given to any store before. Not so for a client's repeated request. */
  readonly isFirst?: boolean;
  readonly standIn: boolean;
}

export type Accepted =
  | { readonly outcome: 'stored'; readonly record: RecordState; readonly existed: boolean }
  | { readonly outcome: 'tombstone'; readonly final: string; readonly digest: string };

export interface Copy {
  readonly record: RecordState;
  readonly blob: Uint8Array | undefined;
}

/** What an answer to `rec.ask` carries; what cannot be read is left out. */
export const readCopies = (value: WireValue | undefined): Copy[] =>
  (Array.isArray(value) ? (value as readonly WireValue[]) : []).flatMap((item) => {
    if (!isWireMap(item)) return [];
    const record = decodeRecord(item.record);
    const blob = item.blob instanceof Uint8Array ? item.blob : undefined;
    return record === undefined ? [] : [{ record, blob }];
  });
