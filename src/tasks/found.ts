/** What was found of a task at some store: its record, and what that store alone could say of it. */
import { decodeRecord, joinRecords, type RecordState } from '../records/record.ts';
import type { WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';
import type { TaskBlob } from './facts.ts';
import { isTaskRecord } from './task.ts';
import type { ViewExtras } from './view.ts';

export interface Found {
  readonly record: RecordState;
  readonly extras: ViewExtras;
}

/** Both together; what both set aside, both did. */
export function joinFound(a: Found | undefined, b: Found | undefined): Found | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const by = new Set([...(a.extras.setAsideBy ?? []), ...(b.extras.setAsideBy ?? [])]);
  const aside = by.size === 0 ? {} : { setAsideBy: [...by] };
  return {
    record: joinRecords(a.record, b.record),
    extras: { ...a.extras, ...b.extras, ...aside },
  };
}

/** The first item of a list, read as what it should be. */
export function firstOf<T>(
  list: WireValue | undefined,
  read: (item: WireMap) => T | undefined,
): T | undefined {
  const [item] = Array.isArray(list) ? (list as readonly WireValue[]) : [];
  return isWireMap(item) ? read(item) : undefined;
}

export function readFound(item: WireMap): Found | undefined {
  const record = decodeRecord(item.record);
  if (record === undefined || !isTaskRecord(record)) return undefined;
  const { waiting_reason: waitingReason, owner, progress, blob, set_aside_by: by } = item;
  return {
    record,
    extras: {
      ...(typeof waitingReason === 'string' ? { waitingReason } : {}),
      ...(typeof owner === 'string' ? { owner } : {}),
      ...(progress === undefined ? {} : { progress }),
      ...(isWireMap(blob) ? { blob: blob as unknown as TaskBlob } : {}),
      ...(Array.isArray(by) ? { setAsideBy: by.map(String) } : {}),
    },
  };
}
