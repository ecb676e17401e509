/**
 * The Spool port in memory. Logs are no result: a crash may lose all of them, and the checkers
 * never read them.
 */
import { err, ok, type Result } from '../base/result.ts';
import {
  type OutputStream,
  RUN_ID_PATTERN,
  SPOOL_RUN_BYTES_MAX,
  SPOOL_TOTAL_BYTES_MAX,
  type Spool,
  type SpoolPart,
} from '../ports/processes.ts';
import type { Trace } from './clock.ts';

interface Run {
  readonly stdout: number[];
  readonly stderr: number[];
  truncated: boolean;
}

export class SimSpool implements Spool {
  readonly #runs = new Map<string, Run>();
  readonly #broken = new Set<string>();
  readonly #trace: Trace | undefined;
  readonly #limits: { readonly runBytesMax: number; readonly totalBytesMax: number };
  /** Nothing of it can be read or deleted. */
  isBroken = false;
  #totalBytes = 0;

  constructor(
    trace?: Trace,
    limits = { runBytesMax: SPOOL_RUN_BYTES_MAX, totalBytesMax: SPOOL_TOTAL_BYTES_MAX },
  ) {
    this.#trace = trace;
    this.#limits = limits;
  }

  append(runId: string, stream: OutputStream, bytes: Uint8Array): void {
    this.#trace?.('spool.append', runId, stream, bytes);
    if (!RUN_ID_PATTERN.test(runId)) throw new RangeError(`not a run id: ${JSON.stringify(runId)}`);
    const run = this.#runs.get(runId) ?? { stdout: [], stderr: [], truncated: false };
    this.#runs.set(runId, run);
    const room = this.#limits.runBytesMax - run.stdout.length - run.stderr.length;
    const taken = run.truncated ? new Uint8Array() : bytes.subarray(0, Math.max(0, room));
    if (taken.length < bytes.length) run.truncated = true;
    for (const byte of taken) run[stream].push(byte);
    this.#totalBytes += taken.length;
    for (const oldest of [...this.#runs.keys()]) {
      if (this.#totalBytes <= this.#limits.totalBytesMax) return;
      if (oldest !== runId) this.#drop(oldest);
    }
  }

  read(
    runId: string,
    stream: OutputStream,
    offset: number,
    limit: number,
  ): Promise<Result<SpoolPart | undefined, string>> {
    this.#trace?.('spool.read', runId, stream, offset, limit);
    const run = this.#runs.get(runId);
    if (!run) return Promise.resolve(ok(undefined));
    if (this.isBroken || this.#broken.has(runId))
      return Promise.resolve(err(`${runId} cannot be read`));
    const bytes = Uint8Array.from(run[stream].slice(offset, offset + Math.max(0, limit)));
    const { truncated } = run;
    return Promise.resolve(ok({ bytes, endBytes: run[stream].length, truncated }));
  }

  remove(runId: string): Promise<Result<void, string>> {
    this.#trace?.('spool.remove', runId);
    const isBroken = (this.isBroken || this.#broken.has(runId)) && this.#runs.has(runId);
    this.#drop(runId);
    return Promise.resolve(isBroken ? err(`${runId} cannot be deleted`) : ok(undefined));
  }

  /** From now on reading and deleting the output of this run fails. */
  breakRun(runId: string): void {
    this.#broken.add(runId);
  }

  list(): Promise<string[]> {
    this.#trace?.('spool.list');
    return Promise.resolve([...this.#runs.keys()]);
  }

  #drop(runId: string): void {
    const run = this.#runs.get(runId);
    if (!run) return;
    this.#totalBytes -= run.stdout.length + run.stderr.length;
    this.#runs.delete(runId);
  }
}
