/** The Random port in the simulator: a stream of the world's seed, each call of it in the trace. */
import { type Random, SeededRandom } from '../base/random.ts';
import type { Trace } from './clock.ts';

export class SimRandom implements Random {
  readonly #source: Random;
  readonly #trace: Trace | undefined;

  /** `seed` names the stream: the world's seed and whom it is for. */
  constructor(seed: string, trace?: Trace) {
    this.#source = new SeededRandom(seed);
    this.#trace = trace;
  }

  uint32(): number {
    const value = this.#source.uint32();
    this.#trace?.('random.uint32', value);
    return value;
  }

  bytes(length: number): Uint8Array {
    const value = this.#source.bytes(length);
    this.#trace?.('random.bytes', value);
    return value;
  }
}
