/**
 * What the bytes of a record say, for those read or written last: the final ones, which are not kept in memory. Asked
 * with the bytes that lie on the disk now, so it knows nothing that the disk does not say, and a damaged or
 * replaced value is seen as ever; what it spares is decoding, and all that is derived from a record once (its task,
 * its hash).
 */
import { bytesEqual } from '../base/hash.ts';
import type { StoreOp } from '../ports/store.ts';
import { decodeRecord, type RecordState } from './record.ts';

const RECORDS_MAX = 512;
/** Longer ones are rare, and would make eight megabytes of these into many. */
const RECORD_BYTES_MAX = 16 * 1_024;

export class RecordCache {
  /** The one used longest ago first. */
  readonly #entries = new Map<string, { bytes: Uint8Array; readonly record: RecordState }>();

  read(id: string, bytes: Uint8Array): RecordState | undefined {
    const known = this.#entries.get(id);
    if (known !== undefined && bytesEqual(known.bytes, bytes)) {
      // A store in memory gives the same piece of it every time: the next look need not compare.
      known.bytes = bytes;
      this.#entries.delete(id);
      this.#entries.set(id, known);
      return known.record;
    }
    const record = decodeRecord(bytes);
    if (record !== undefined) this.put(id, bytes, record);
    return record;
  }

  /** These bytes, which nobody changes any more, say this. */
  put(id: string, bytes: Uint8Array, record: RecordState): void {
    this.#entries.delete(id);
    if (bytes.length > RECORD_BYTES_MAX) return;
    this.#entries.set(id, { bytes, record });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= RECORDS_MAX) break;
      this.#entries.delete(oldest);
    }
  }

  /** The record of this id is written in this batch. */
  written(record: RecordState, batch: readonly StoreOp[]): void {
    const op = batch.find((item) => 'put' in item && item.put === `r/${record.id}`);
    if (op !== undefined && 'put' in op) this.put(record.id, op.value, record);
  }

  delete(id: string): void {
    this.#entries.delete(id);
  }
}
