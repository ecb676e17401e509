/**
 * The last output and progress of running attempts, kept by every home store so that it can be read after the
 * runner died. Best effort: never counted, never a result. The newest attempt wins, then the later boot of its
 * runner, which counts anew for a worker that resumed, then the higher seq.
 */
import { LOG_TAIL_BYTES } from '../api/limits.ts';
import type { Store } from '../ports/store.ts';
import { decodeValue, encodeValue, type WireValue } from '../wire/codec.ts';
import { isWireMap, type WireMap } from '../wire/envelope.ts';

export interface Tail {
  readonly n: number;
  readonly run_id: string;
  /** Of the runner's daemon; 0 from one of an earlier version. */
  readonly boot: number;
  readonly seq: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly progress?: WireValue;
}

/** The last LOG_TAIL_BYTES of what was written so far. */
export function appendTail(tail: Uint8Array, bytes: Uint8Array): Uint8Array {
  const kept = tail.subarray(Math.max(0, tail.length + bytes.length - LOG_TAIL_BYTES));
  const added = bytes.subarray(Math.max(0, bytes.length - LOG_TAIL_BYTES));
  const joined = new Uint8Array(kept.length + added.length);
  joined.set(kept);
  joined.set(added, kept.length);
  return joined;
}

const keyOf = (id: string): string => `l/${id}`;

export class Tails {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  get(id: string): Tail | undefined {
    const bytes = this.#store.get(keyOf(id));
    if (bytes === undefined) return undefined;
    const decoded = decodeValue(bytes);
    return decoded.ok && isWireMap(decoded.value) ? readTail(decoded.value) : undefined;
  }

  /** A disk with little room loses tails, and nothing else: what the Store answers is not looked at. */
  async put(id: string, body: WireMap): Promise<void> {
    const tail = readTail(body);
    if (tail === undefined) return;
    const known = this.get(id);
    if (known !== undefined && isOlder(tail, known)) return;
    await this.#store.append([{ put: keyOf(id), value: encodeValue({ ...tail }) }], 'create');
  }

  async drop(ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#store.append(ids.map((id) => ({ del: keyOf(id) })));
  }
}

function isOlder(tail: Tail, known: Tail): boolean {
  if (tail.n !== known.n) return tail.n < known.n;
  if (tail.run_id !== known.run_id) return false;
  return tail.boot === known.boot ? tail.seq <= known.seq : tail.boot < known.boot;
}

function readTail(body: WireMap): Tail | undefined {
  const { n, run_id: runId, boot = 0, seq, stdout, stderr, progress } = body;
  if (typeof n !== 'number' || typeof runId !== 'string' || typeof seq !== 'number')
    return undefined;
  if (typeof boot !== 'number') return undefined;
  if (!(stdout instanceof Uint8Array) || !(stderr instanceof Uint8Array)) return undefined;
  const said = progress === undefined ? {} : { progress };
  return { n, run_id: runId, boot, seq, stdout, stderr, ...said };
}
