/** Cuts a byte stream into blocks at record ends, for `--pipe`; a pure machine, fed in chunks of any size. */

export type Block =
  | { readonly kind: 'block'; readonly bytes: Buffer }
  /** A record longer than any block may be; it was skipped whole, for half a record would be a wrong input. */
  | { readonly kind: 'too_long'; readonly bytes: number };

/**
 * A block ends at the last record end within `blockBytes`, or, where one record is longer, at that record's end.
 * The blocks together are the input, byte for byte, except for what `too_long` says.
 */
export class BlockCutter {
  readonly #separator: number;
  readonly #blockBytes: number;
  readonly #bytesMax: number;
  #buffer: Buffer = Buffer.alloc(0);
  /** Bytes of an over-long record dropped so far; undefined while none is being skipped. */
  #skipped: number | undefined;

  constructor(separator: number, blockBytes: number, bytesMax: number) {
    this.#separator = separator;
    this.#blockBytes = blockBytes;
    this.#bytesMax = bytesMax;
  }

  push(chunk: Buffer): Block[] {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    const blocks: Block[] = [];
    while (this.#step(blocks));
    // A copy once cut: otherwise a rest of a few bytes would hold the memory of all blocks before it.
    if (blocks.length > 0) this.#buffer = Buffer.from(this.#buffer);
    return blocks;
  }

  end(): Block[] {
    const rest = this.#buffer;
    this.#buffer = Buffer.alloc(0);
    if (this.#skipped !== undefined)
      return [{ kind: 'too_long', bytes: this.#skipped + rest.length }];
    return rest.length === 0 ? [] : [{ kind: 'block', bytes: rest }];
  }

  /** True when something was cut and more may follow. */
  #step(blocks: Block[]): boolean {
    if (this.#skipped !== undefined) return this.#skip(blocks);
    if (this.#buffer.length < this.#blockBytes) return false;
    const within = this.#buffer.lastIndexOf(this.#separator, this.#blockBytes - 1);
    const at = within >= 0 ? within : this.#buffer.indexOf(this.#separator, this.#blockBytes);
    if (at >= 0 && at < this.#bytesMax) {
      blocks.push({ kind: 'block', bytes: Buffer.from(this.#buffer.subarray(0, at + 1)) });
      this.#buffer = this.#buffer.subarray(at + 1);
      return true;
    }
    if (at < 0 && this.#buffer.length <= this.#bytesMax) return false;
    this.#skipped = 0;
    return true;
  }

  #skip(blocks: Block[]): boolean {
    const dropped = this.#skipped ?? 0;
    const at = this.#buffer.indexOf(this.#separator);
    if (at < 0) {
      this.#skipped = dropped + this.#buffer.length;
      this.#buffer = Buffer.alloc(0);
      return false;
    }
    blocks.push({ kind: 'too_long', bytes: dropped + at + 1 });
    this.#buffer = this.#buffer.subarray(at + 1);
    this.#skipped = undefined;
    return true;
  }
}
