/** Copies of bytes for the simulated disks and wires: short ones out of one slab, since every array of its own costs more than its bytes. */

const SLAB_BYTES = 64 * 1_024;
/** A longer one is worth its own memory, and would keep a slab alive for itself. */
const SHORT_BYTES_MAX = 2 * 1_024;

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;

export function copyOf(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length > SHORT_BYTES_MAX) return new Uint8Array(bytes);
  if (used + length > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  const copy = slab.subarray(used, used + length);
  used += length;
  copy.set(bytes);
  return copy;
}
