/** Cuts a byte stream into records at a separator; a pure machine, fed in chunks of any size. */

export type SplitRecord =
  | { readonly kind: 'record'; readonly bytes: Buffer }
  /** Longer than allowed: its beginning only. The rest was skipped up to the next separator. */
  | { readonly kind: 'too_long'; readonly beginning: Buffer };

const BEGINNING_BYTES = 256;

/**
 * The last record needs no separator, and a separator at the end begins no further record. Nothing else is
 * interpreted: no quotes, no blanks, no carriage returns, and an empty line is an empty item.
 */
export class RecordSplitter {
  readonly #separator: number;
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #partBytes = 0;
  #skipping = false;

  constructor(separator: number, bytesMax: number) {
    this.#separator = separator;
    this.#bytesMax = bytesMax;
  }

  push(chunk: Buffer): SplitRecord[] {
    const records: SplitRecord[] = [];
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(this.#separator, from);
      if (at < 0) break;
      this.#append(chunk.subarray(from, at), records);
      this.#finish(records);
      from = at + 1;
    }
    if (from < chunk.length) this.#append(chunk.subarray(from), records);
    return records;
  }

  end(): SplitRecord[] {
    const records: SplitRecord[] = [];
    if (this.#partBytes > 0) this.#finish(records);
    return records;
  }

  #append(part: Buffer, records: SplitRecord[]): void {
    if (this.#skipping) return;
    // A copy: the stream may reuse the chunk's memory, and a small part would hold the whole chunk.
    this.#parts.push(Buffer.from(part));
    this.#partBytes += part.length;
    if (this.#partBytes <= this.#bytesMax) return;
    const beginning = Buffer.concat(this.#parts).subarray(0, BEGINNING_BYTES);
    records.push({ kind: 'too_long', beginning: Buffer.from(beginning) });
    this.#reset();
    this.#skipping = true;
  }

  #finish(records: SplitRecord[]): void {
    if (this.#skipping) {
      this.#skipping = false;
      return;
    }
    const [first, ...more] = this.#parts;
    const bytes = first !== undefined && more.length === 0 ? first : Buffer.concat(this.#parts);
    records.push({ kind: 'record', bytes });
    this.#reset();
  }

  #reset(): void {
    this.#parts = [];
    this.#partBytes = 0;
  }
}
