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
  readonly stdout: Output;
  readonly stderr: Output;
  truncated: boolean;
}

/** Bytes that grow at their end: a flood of output is megabytes. */
class Output {
  #buffer = new Uint8Array(0);
  length = 0;

  push(bytes: Uint8Array): void {
    const length = this.length + bytes.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.length));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.length);
    this.length = length;
  }

  slice(from: number, to: number): Uint8Array {
    return this.#buffer.slice(from, Math.min(to, this.length));
  }
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
    const run = this.#runs.get(runId) ?? {
      stdout: new Output(),
      stderr: new Output(),
      truncated: false,
    };
    this.#runs.set(runId, run);
    const room = this.#limits.runBytesMax - run.stdout.length - run.stderr.length;
    const taken = run.truncated ? new Uint8Array() : bytes.subarray(0, Math.max(0, room));
    if (taken.length < bytes.length) run.truncated = true;
    run[stream].push(taken);
    this.#totalBytes += taken.length;
    for (const oldest of this.#runs.keys()) {
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
    const bytes = run[stream].slice(offset, offset + Math.max(0, limit));
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
