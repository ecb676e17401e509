/**
 * Copies of bytes: short ones out of one slab, since an array of its own costs more than its bytes do (memory outside
 * the heap, and a finalizer). A slab lives as long as any copy in it: hence short, and slabs that are small.
 */
const SLAB_BYTES = 16 * 1_024;
/** A longer one is worth its own memory, and would keep a slab alive for itself. */
const SHORT_BYTES_MAX = 1_024;
/** A call of the platform costs more than to copy so few. */
const LOOP_BYTES_MAX = 48;

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;

/** Of `bytes` from `from` to `to`, which must lie in it. */
export function copyOf(bytes: Uint8Array, from = 0, to = bytes.length): Uint8Array {
  const length = to - from;
  if (length > SHORT_BYTES_MAX) return new Uint8Array(bytes.subarray(from, to));
  if (used + length > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  const copy = new Uint8Array(slab.buffer, used, length);
  used += length;
  if (length > LOOP_BYTES_MAX)
    copy.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  else for (let i = 0; i < length; i++) copy[i] = bytes[from + i] ?? 0;
  return copy;
}
