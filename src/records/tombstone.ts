/**
 * What is left of a dropped record: its id, its final state and the digest of its result. A copy of the record that
 * comes late must not be taken for a new task, and whoever waits for it is told how it ended.
 */
import { prefixEnd, type Store, type StoreOp } from '../ports/store.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';

export interface Tombstone {
  readonly final: string;
  readonly digest: string;
  readonly droppedWallMs: number;
}

/** A tombstone as it lies in the store and travels. */
export const encodeTombstone = ({ final, digest, droppedWallMs }: Tombstone): WireMap => ({
  final,
  digest,
  at: droppedWallMs,
});

export function decodeTombstone(value: WireValue | undefined): Tombstone | undefined {
  if (!isWireMap(value)) return undefined;
  const { final, digest, at } = value;
  if (typeof final !== 'string' || typeof digest !== 'string' || typeof at !== 'number')
    return undefined;
  return { final, digest, droppedWallMs: at };
}

/** `runningMs`: when it was written here, in the running time of this store (absence.ts). */
export const stoneOp = (id: string, tombstone: Tombstone, runningMs: number): StoreOp => ({
  put: `t/${id}`,
  value: encodeValue({ ...encodeTombstone(tombstone), run: Math.floor(runningMs) }),
});

/** The tombstones of one store, under `t/ID`. */
export class Tombstones {
  readonly #store: Store;
  /** Where the last sweep ended: young stones must not hide the old ones behind them. */
  #after = 't/';

  constructor(store: Store) {
    this.#store = store;
  }

  get(id: string): Tombstone | undefined {
    const bytes = this.#store.get(`t/${id}`);
    return bytes === undefined ? undefined : readStone(bytes);
  }

  /** Looks at the next `limit` of them and forgets those written before `beforeRunningMs`; answers how many. */
  async sweep(beforeRunningMs: number, limit: number): Promise<number> {
    const page = this.#store.range({ from: this.#after, to: prefixEnd('t/'), limit });
    const last = page.length < limit ? undefined : page.at(-1);
    this.#after = last === undefined ? 't/' : `${last.key}\x00`;
    const old = page.filter(({ value }) => writtenAt(value) < beforeRunningMs);
    if (old.length > 0) await this.#store.append(old.map((entry) => ({ del: entry.key })));
    return old.length;
  }
}

function readStone(bytes: Uint8Array): Tombstone | undefined {
  const decoded = decodeValue(bytes);
  return decoded.ok ? decodeTombstone(decoded.value) : undefined;
}

/** Of an earlier Covey, which counted wall time: from the first run of this one on. */
function writtenAt(bytes: Uint8Array): number {
  const decoded = decodeValue(bytes);
  const run = decoded.ok && isWireMap(decoded.value) ? decoded.value.run : undefined;
  return typeof run === 'number' ? run : 0;
}
