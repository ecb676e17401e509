/**
 * How frames lie on a stream: each is its length as an unsigned LEB128 varint, then its bytes. That is libp2p's
 * own length prefix, so any libp2p library can read it. Hand-written here because it runs for every frame: all
 * frames of one turn leave in few large chunks, and a chunk that holds many frames is taken apart in one pass.
 */

/** Four bytes of varint reach 256 MiB, more than any frame may have; a fifth is a protocol error. */
const VARINT_BYTES_MAX = 4;

export const varintLength = (value: number): number => {
  let length = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) length++;
  return length;
};

/** Writes the varint at `offset` and returns the offset behind it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** Frames that wait to be written, cut into chunks of a given size on demand. */
export class FrameQueue {
  readonly #frames: Uint8Array[] = [];
  /** Frames before this index are gone; shifting an array for each frame would be quadratic. */
  #head = 0;
  /** Bytes of the head frame, its prefix included, that have already been taken. */
  #taken = 0;
  #bytes = 0;

  /** Bytes that wait, prefixes included. */
  get bytes(): number {
    return this.#bytes;
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#bytes += varintLength(frame.length) + frame.length;
  }

  /** The next bytes, at most `bytesMax`; undefined when nothing waits. */
  take(bytesMax: number): Uint8Array | undefined {
    if (this.#bytes === 0) return undefined;
    const chunk = new Uint8Array(Math.min(bytesMax, this.#bytes));
    let filled = 0;
    while (filled < chunk.length) filled = this.#takeFromHead(chunk, filled);
    this.#bytes -= chunk.length;
    return chunk;
  }

  #takeFromHead(chunk: Uint8Array, filled: number): number {
    const frame = this.#frames[this.#head];
    if (frame === undefined) throw new Error('frame queue: its byte count is wrong');
    const prefix = new Uint8Array(varintLength(frame.length));
    writeVarint(prefix, 0, frame.length);
    let at = filled;
    if (this.#taken < prefix.length) {
      const part = prefix.subarray(this.#taken, this.#taken + chunk.length - at);
      chunk.set(part, at);
      at += part.length;
      this.#taken += part.length;
    }
    const from = this.#taken - prefix.length;
    if (from >= 0) {
      const part = frame.subarray(from, from + chunk.length - at);
      chunk.set(part, at);
      at += part.length;
      this.#taken += part.length;
    }
    if (this.#taken === prefix.length + frame.length) this.#dropHead();
    return at;
  }

  #dropHead(): void {
    this.#head++;
    this.#taken = 0;
    if (this.#head === this.#frames.length || this.#head > 1_024) {
      this.#frames.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /**
   * The stream that had the first part of the head frame is gone: begin it anew on the next one. Nobody has got
   * it whole, so it is still delivered at most once.
   */
  rewind(): void {
    this.#bytes += this.#taken;
    this.#taken = 0;
  }

  clear(): void {
    this.#frames.length = 0;
    this.#head = 0;
    this.#taken = 0;
    this.#bytes = 0;
  }
}

const EMPTY = new Uint8Array(0);

export type Decoded =
  /** `taken`: bytes of the chunk; fewer than it has when there were more frames than asked for. */
  | { readonly ok: true; readonly frames: Uint8Array[]; readonly taken: number }
  /** The frames before the error are good; after it the decoder takes nothing more. */
  | { readonly ok: false; readonly frames: Uint8Array[]; readonly error: string };

/** Takes bytes cut anywhere, gives whole frames. The length is checked before a byte is set aside for it. */
export class FrameDecoder {
  readonly #bytesMax: number;
  #length = 0;
  #lengthBytes = 0;
  /** Of the frame being read: its length, and what has come of it, in a buffer that grows with it. */
  #bodyLength: number | undefined;
  #body = EMPTY;
  #filled = 0;
  #error: string | undefined;

  constructor(frameBytesMax: number) {
    this.#bytesMax = frameBytesMax;
  }

  /** Set aside for the frame that is not whole yet. */
  get heldBytes(): number {
    return this.#body.length;
  }

  push(chunk: Uint8Array, framesMax = Number.POSITIVE_INFINITY): Decoded {
    const frames: Uint8Array[] = [];
    let at = 0;
    while (at < chunk.length && frames.length < framesMax && this.#error === undefined) {
      if (this.#bodyLength === undefined) at = this.#readLength(chunk, at);
      else at = this.#readBody(chunk, at, this.#bodyLength);
      // A frame is complete also when it is empty and the chunk ends with its prefix.
      if (this.#filled === this.#bodyLength) {
        frames.push(this.#body);
        this.#body = EMPTY;
        this.#bodyLength = undefined;
        this.#filled = 0;
      }
    }
    return this.#error === undefined
      ? { ok: true, frames, taken: at }
      : { ok: false, frames, error: this.#error };
  }

  #readLength(chunk: Uint8Array, from: number): number {
    let at = from;
    while (at < chunk.length) {
      const byte = chunk[at++] ?? 0;
      this.#length += (byte & 0x7f) * 2 ** (7 * this.#lengthBytes++);
      if ((byte & 0x80) === 0) {
        if (this.#length > this.#bytesMax) {
          this.#error = `a frame of ${this.#length} bytes; the most is ${this.#bytesMax}`;
          return at;
        }
        this.#bodyLength = this.#length;
        this.#length = 0;
        this.#lengthBytes = 0;
        return at;
      }
      if (this.#lengthBytes === VARINT_BYTES_MAX) {
        this.#error = `a frame length of more than ${VARINT_BYTES_MAX} bytes`;
        return at;
      }
    }
    return at;
  }

  /**
   * Copies: a view would keep the whole chunk in memory for as long as one small record of it lives. Never sets the
   * length that was announced aside at once: 8 MiB for four bytes, on each of a hundred streams, would be a weapon.
   */
  #readBody(chunk: Uint8Array, from: number, length: number): number {
    const part = chunk.subarray(from, from + length - this.#filled);
    const needed = this.#filled + part.length;
    if (needed > this.#body.length) {
      const grown = new Uint8Array(Math.min(length, Math.max(needed, 2 * this.#body.length)));
      grown.set(this.#body.subarray(0, this.#filled));
      this.#body = grown;
    }
    this.#body.set(part, this.#filled);
    this.#filled = needed;
    return from + part.length;
  }
}
