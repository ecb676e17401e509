/** What every queue must offer to be measured: submit and acknowledge, and say when the submitter knows the result. */

/** 100 bytes each, quotes included. */
export const PAYLOAD = 'p'.repeat(98);
export const RESULT = 'r'.repeat(98);
/** Name of the task type, queue or stream. */
export const NAME = 'bench';

export interface Submitted {
  /** Resolves when this program has the result; rejects when the task did not end well. */
  readonly done: Promise<void>;
}

/** Of a submitting program. Both resolve at the acknowledgement. */
export interface Client {
  submit(): Promise<Submitted>;
  submitBulk(count: number): Promise<readonly Submitted[]>;
}

export type SystemName = 'covey' | 'bullmq' | 'nats';

/** Where the servers are, for the programs that use them. */
export type Where =
  | { readonly system: 'covey'; readonly socket: string; readonly concurrency: number }
  | {
      readonly system: 'bullmq';
      readonly packages: string;
      readonly socket: string;
      readonly concurrency: number;
    }
  | {
      readonly system: 'nats';
      readonly packages: string;
      readonly port: number;
      readonly fetch: number;
    };

/** Of a phase: so many tasks submitted and not yet known to be done, one by one or `bulk` at a time. */
export interface Phase {
  readonly name: string;
  readonly inFlight: number;
  readonly bulk: number | undefined;
  readonly warmMs: number;
  readonly ms: number;
}

/** Ends that are waited for by an id of the submitter's own, since an end may be heard before the acknowledgement. */
export class Ends {
  readonly #waiting = new Map<string, () => void>();

  expect(id: string): Submitted {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(id, resolve);
    return { done: promise };
  }

  heard(id: string): void {
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }
}
