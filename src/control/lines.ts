/**
 * Cuts a byte stream into lines, in memory bounded by the longest line allowed. The rest of a line is copied into
 * one growing buffer: a list of the chunks would cost a client's one-byte writes a hundred times their size here.
 */
import { LINE_BUFFER_KEPT_BYTES } from './limits.ts';

const LINE_FEED = 0x0a;
const FIRST_BUFFER_BYTES = 1_024;

export interface LineHandlers {
  /** A line without its line feed. The bytes are valid only during the call. */
  line(bytes: Uint8Array): void;
  /** A line passed the limit; called once for it, as soon as it is known. */
  tooLong(): void;
}

export class LineSplitter {
  readonly #bytesMax: number;
  readonly #handlers: LineHandlers;
  #buffer = new Uint8Array(0);
  #length = 0;
  #skipping = false;

  constructor(bytesMax: number, handlers: LineHandlers) {
    this.#bytesMax = bytesMax;
    this.#handlers = handlers;
  }

  push(chunk: Uint8Array): void {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from);
      if (end < 0) break;
      this.#finish(chunk.subarray(from, end));
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
  }

  #finish(tail: Uint8Array): void {
    if (this.#skipping) {
      this.#skipping = false;
      return;
    }
    if (this.#length === 0) {
      if (tail.length > this.#bytesMax) this.#handlers.tooLong();
      else this.#handlers.line(tail);
      return;
    }
    this.#keep(tail);
    // The tail may have passed the limit, and its line ends here.
    if (this.#skipping) {
      this.#skipping = false;
      return;
    }
    const line = this.#buffer.subarray(0, this.#length);
    this.#length = 0;
    this.#handlers.line(line);
    if (this.#buffer.length > LINE_BUFFER_KEPT_BYTES) this.#buffer = new Uint8Array(0);
  }

  #keep(part: Uint8Array): void {
    if (this.#skipping || part.length === 0) return;
    const needed = this.#length + part.length;
    if (needed > this.#bytesMax) {
      this.#skipping = true;
      this.#length = 0;
      this.#buffer = new Uint8Array(0);
      this.#handlers.tooLong();
      return;
    }
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(
        Math.min(this.#bytesMax, Math.max(needed, 2 * this.#buffer.length, FIRST_BUFFER_BYTES)),
      );
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(part, this.#length);
    this.#length = needed;
  }
}
